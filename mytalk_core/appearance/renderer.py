"""What a renderer is: it makes crops whose lips follow given landmarks."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .rendering import Rendering
from .square.window import Window


class Renderer(Protocol):
    """What the pipeline asks of every renderer, trained or not."""

    @property
    def together(self) -> int:
        """How many frames it draws best in one call."""

    @property
    def at_once(self) -> int | None:
        """On how many threads it draws best, at most; None on as many as there are."""

    def reads(self, source: np.ndarray, target: np.ndarray) -> Window:
        """Which part of a frame's canonical square it reads pixel by pixel, of the frame's landmarks (N, 2)
        and the wanted ones, canonical units."""

    def render(
        self,
        crops: np.ndarray,
        source_landmarks: np.ndarray,
        target_landmarks: np.ndarray,
        frame_index: np.ndarray,
        seen: np.ndarray | None = None,
    ) -> Rendering:
        """Crops uint8 (B, S, S, 3) with the lips of the target; alpha is 0 where no reference has seen what
        would be needed.

        Args:
            crops: uint8 (B, S, S, 3), the frames' canonical squares.
            source_landmarks, target_landmarks: float (B, N, 2) canonical units: the frames' own and the
            wanted ones.
            frame_index: int (B,), position in the sequence the renderer was made for.
            seen: bool (B, 256, 256), which units of the crops lie inside the frame; all where None.
        """
        ...
