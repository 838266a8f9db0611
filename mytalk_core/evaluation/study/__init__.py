"""The user study: its site, and what its participants said."""
