"""Inputs that several nodes have."""

from __future__ import annotations

from comfy_api.latest import io

from ..mytalk_core.media.timeline import SYNC_MODES
from .clips import DEFAULT_RATE
from .host import rare


def rate_input(tooltip: str) -> io.Float.Input:
    """Frames a second of an IMAGE."""
    return io.Float.Input(
        "frame_rate", default=DEFAULT_RATE, min=1.0, max=1000.0, step=0.001, tooltip=tooltip
    )


def sampling_inputs(**settings: bool) -> list[io.Int.Input | io.Float.Input | io.Combo.Input]:
    """How the motion is sampled; settings: of each input, as `optional`."""
    return [
        io.Int.Input(
            "steps",
            default=10,
            min=1,
            max=1000,
            tooltip="Sampling steps; 5 to 20 are enough for dpmpp_2m, ddpm wants more.",
            **settings,
        ),
        io.Float.Input(
            "guidance",
            default=1.0,
            min=0.0,
            max=10.0,
            step=0.05,
            tooltip="How hard the motion follows the speech: 1 is the model's own, 1.2 to 2 is crisper.",
            **settings,
        ),
        rare(
            io.Combo.Input,
            "sampler",
            options=["dpmpp_2m", "ddim", "ddpm"],
            default="dpmpp_2m",
            tooltip="The method of sampling: dpmpp_2m needs the fewest steps.",
            **settings,
        ),
        rare(
            io.Float.Input,
            "temperature",
            default=0.3,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="Variety: 0 is the most likely motion, 1 the full range of what people do.",
            **settings,
        ),
    ]


def emotion_strength_input(whose: str) -> io.Float.Input:
    """The share of an emotional reference, which comes as the input of that name."""
    return io.Float.Input(
        "emotion_strength",
        default=1.0,
        min=0.0,
        max=2.0,
        step=0.05,
        optional=True,
        tooltip=f"How much of the {whose}'s expression the face takes on: 0 none, 1 as much as is seen "
        "there.",
    )


def sync_mode_input() -> io.Combo.Input:
    """How speech and video of different lengths meet."""
    return io.Combo.Input(
        "sync_mode",
        options=list(SYNC_MODES),
        default="silence",
        tooltip="Where speech and video differ in length. silence: exactly the video, longer speech is cut; "
        "cut_off: ends with the shorter; loop, bounce: the video runs again, or back and forth; remap: it is "
        "slowed or sped up to the speech.",
    )


def expression_input() -> io.Float.Input:
    """The scale of a movement."""
    return io.Float.Input(
        "expression",
        default=1.0,
        min=0.0,
        max=3.0,
        step=0.05,
        tooltip="Scale of the whole movement: below 1 calmer, above 1 livelier.",
    )
