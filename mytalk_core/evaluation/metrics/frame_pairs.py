"""Which frame of a generated video belongs to which frame of the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...media.clip import Clip


@dataclass(frozen=True)
class FramePairs:
    """Which frames of two videos show the same moment.

    reference, generated: int64 (n,) frame numbers that belong together, both increasing or equal; notes:
    a line for each way in which the videos differ.
    """

    reference: np.ndarray
    generated: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.reference)


def pair_frames(reference: Clip, generated: Clip) -> FramePairs:
    """By number where both have as many frames, else by time stamp, each frame with the nearest.

    Reference frames without a generated one within half a frame are left out; the first has one always.
    """
    notes = []
    if (generated.height, generated.width) != (reference.height, reference.width):
        notes.append(
            f"size {generated.width}x{generated.height}, the reference has {reference.width}x"
            f"{reference.height}: frames were resized to the reference's"
        )
    if len(reference) == len(generated):
        number = np.arange(len(reference))
        drift = float(np.abs(reference.times_s - generated.times_s).max())
        if drift > 0.5 / float(reference.fps):
            notes.append(
                f"{len(generated)} frames as in the reference, but time stamps up to {drift:.2f} s apart: "
                "frames were compared by number"
            )
        return FramePairs(number, number, tuple(notes))
    times, others = reference.times_s, generated.times_s
    after = np.searchsorted(others, times).clip(0, len(others) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(np.abs(others[before] - times) <= np.abs(others[after] - times), before, after)
    near = np.abs(others[nearest] - times) <= 0.5 / min(float(reference.fps), float(generated.fps)) + 1e-6
    notes.append(
        f"{len(generated)} frames, the reference has {len(reference)}: {int(near.sum())} were compared, by "
        "time stamp"
    )
    return FramePairs(np.flatnonzero(near), nearest[near], tuple(notes))
