"""How many threads a decoder or an encoder may take."""

from __future__ import annotations

import os

import cv2


def codec_threads() -> int:
    """What FFmpeg is told: OpenCV's number where that was set below the cores at hand, else 0, FFmpeg's own
    choice. So one setting, `cv2.setNumThreads`, holds for all that is done to pictures.
    """
    threads = cv2.getNumThreads()
    return threads if threads < available_cores() else 0


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
