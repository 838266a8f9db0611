"""Two-stage talking-video lip sync: speech to dense face landmarks, landmarks to lips."""

__version__ = "0.1.0"
