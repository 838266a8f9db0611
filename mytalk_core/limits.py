"""How much a file or a Hub may ask for; each limit can be raised by an environment variable."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """The most of something. variable: the environment variable that sets another; usual: without it."""

    variable: str
    usual: float
    unit: str

    @property
    def value(self) -> float:
        """The limit that holds now. Raises ValueError where the variable holds no number above 0."""
        text = os.environ.get(self.variable, "")
        if not text.strip():
            return self.usual
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not value > 0:
            raise ValueError(f"{self.variable} must be a number of {self.unit} above 0; got {text!r}")
        return value

    @property
    def remedy(self) -> str:
        """What a message ends with: how to raise it."""
        return f"if this is meant, set {self.variable} higher (now {self.value:.15g} {self.unit})"


# Memory is about 14 bytes a pixel: this is 8192 x 8192, or 0.9 GB.
PICTURE_PIXELS = Limit("MYTALK_MAX_PIXELS", 2**26, "pixels")
# The sound for the models takes 64 kB a second, the landmarks of a face 3 kB a frame.
MEDIA_SECONDS = Limit("MYTALK_MAX_SECONDS", 4 * 3600, "seconds")
GAP_SECONDS = Limit("MYTALK_MAX_GAP", 600, "seconds")
FRAMES = Limit("MYTALK_MAX_FRAMES", 1_000_000, "frames")
FRAME_RATE = Limit("MYTALK_MAX_FRAME_RATE", 1000, "frames a second")
# A Hub that brings less than a kilobyte a second over so long is given up.
HUB_SECONDS = Limit("MYTALK_HUB_TIMEOUT", 30, "seconds")
HUB_FILE_BYTES = Limit("MYTALK_HUB_MAX_BYTES", 20e9, "bytes")
HUB_LISTING_BYTES = Limit("MYTALK_HUB_MAX_LISTING", 4e6, "bytes")
