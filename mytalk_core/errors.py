"""The errors a user can cause: each message says what was required, what arrived and what to do."""

from __future__ import annotations


class MediaError(ValueError):
    """A file of a video, sound, landmarks or results that cannot be read or written."""


class NoFaceError(ValueError):
    """No usable face where one is needed; the message names the frames."""


class WeightsError(ValueError):
    """Weights of another version, with another hash, or with other tensors than the model's."""


class DoubtError(ValueError):
    """A run that was to be strict, and found what a run usually only warns of; the message says what."""
