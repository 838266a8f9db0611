"""How much memory the process has needed, and how it asks for it."""

from __future__ import annotations

import ctypes
import sys

# glibc's name for the number of heaps, of malloc.h.
M_ARENA_MAX = -8


def share_heap() -> bool:
    """Let all threads take memory from one heap, before there are any; whether the system has such a choice.

    glibc gives each thread a heap of its own, which keeps what is freed in it: two threads that draw 1080p
    then need 80 MB more.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, 1))


def peak_memory_mb() -> float | None:
    """The process's largest resident size so far in MB; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
