"""Measuring what was made: pictures, lip sync, identity."""
