"""The smallest sizes of the motion model, for tests that build one."""

from __future__ import annotations

TINY_MOTION = {
    "audio_width": 8,
    "audio_layers": 1,
    "audio_heads": 2,
    "audio_ffn_width": 8,
    "audio_kernel": 3,
    "width": 8,
    "layers": 1,
    "heads": 2,
    "ffn_width": 8,
    "kernel": 3,
    "time_width": 8,
}
