"""The networks that metrics need."""
