"""The protocols of section 4.1, generated and evaluated."""
