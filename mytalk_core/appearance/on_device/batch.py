"""Frames that are drawn together: what of them and of their references is on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..mask import MouthMask
from ..prepared import Prepared
from ..references import References
from .warp import MeshWarps
from .windows import Matrices, Windows, enlarging, on


@dataclass(frozen=True)
class Borrowed:
    """R references of each of B frames.

    chosen: int (B,R) positions in the pool; who has fewer repeats the first; used: bool (B,R), false there;
    weights: float (B,R), 0 there.
    """

    pool: References
    chosen: np.ndarray
    used: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, pool: References, chosen: Sequence[tuple[np.ndarray, np.ndarray]]) -> Borrowed:
        """chosen: of each frame the positions (R,) and weights (R,)."""
        count = max((len(positions) for positions, _ in chosen), default=0)
        rows = [np.r_[positions, np.repeat(positions[:1], count - len(positions))] for positions, _ in chosen]
        weights = [np.r_[own, np.zeros(count - len(own))] for _, own in chosen]
        used = [np.arange(count) < len(positions) for positions, _ in chosen]
        shape = len(rows), count
        return cls(pool, *(np.reshape(part, shape) for part in (rows, used, weights)))

    def __len__(self) -> int:
        """R."""
        return self.chosen.shape[1]

    def landmarks(self, rank: int) -> np.ndarray:
        """Of each frame's reference of that rank, (B,N,2) canonical units."""
        landmarks: np.ndarray = self.pool.landmarks[self.chosen[:, rank]]
        return landmarks

    def crops(self, device: torch.device, pool: References | None = None) -> Callable[[int], Tensor]:
        """What gives the crops float32 (B,3,S,S) of a rank, once those of all ranks are on the device; pool:
        the same references in another size."""
        unique, numbers = np.unique(self.chosen, return_inverse=True)
        pictures = on((pool or self.pool).crops[unique], device)
        which = on(numbers.reshape(self.chosen.shape), device)
        return lambda rank: pictures[which[:, rank]].movedim(-1, 1).float()


@dataclass(frozen=True, eq=False)
class Batch:
    """B frames of one clip, and their crops float32 (B,3,S,S) of levels 0..255, on the device."""

    frames: Sequence[Prepared]
    crops: Tensor
    borrowed: Borrowed

    @property
    def size(self) -> int:
        """S."""
        return self.crops.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where it all is."""
        return self.crops.device

    @property
    def masks(self) -> list[MouthMask]:
        """Of each frame."""
        return [frame.mask for frame in self.frames]

    @property
    def targets(self) -> list[np.ndarray]:
        """Of each frame, (N,2) canonical units."""
        return [frame.target for frame in self.frames]

    @cached_property
    def windows(self) -> Windows:
        """Of the masks."""
        return Windows([mask.window for mask in self.masks], self.device)

    @cached_property
    def cores(self) -> Windows:
        """Of the masks' lips."""
        return Windows([mask.core for mask in self.masks], self.device)

    @cached_property
    def coarse(self) -> MeshWarps:
        """The warps to the targets on the unit grids of the windows."""
        return MeshWarps.of([frame.coarse for frame in self.frames], self.windows, 256)

    @cached_property
    def lenders(self) -> Callable[[int], Tensor]:
        """The references' crops float32 (B,3,S,S) by rank."""
        return self.borrowed.crops(self.device)

    @cached_property
    def used(self) -> Tensor:
        """Which references are some: bool (B,R)."""
        return on(self.borrowed.used, self.device)

    @cached_property
    def lent(self) -> Tensor | None:
        """What each reference has seen once warped, float32 (B,R,h,w) 0..1 on the windows' unit grids; None
        where all of all."""
        if all(part is None for frame in self.frames for part in frame.lent):
            return None
        ranks = []
        for rank in range(len(self.borrowed)):
            parts = [frame.lent[rank] if rank < len(frame.lent) else None for frame in self.frames]
            whole = [
                np.ones(mask.window.shape, np.float32) if part is None else part
                for part, mask in zip(parts, self.masks, strict=True)
            ]
            ranks.append(self.windows.packed(whole))
        return torch.stack(ranks, dim=1)

    def of_masks(self, name: str) -> Tensor:
        """A part of the masks on the windows' unit grids, 0 beyond: float32 (B,1,h,w)."""
        grids = [getattr(mask, name) for mask in self.masks]
        return self.windows.packed(grids, "constant")[:, None]

    def on_pixels(self, parts: Windows, size: int, cell: int = 1) -> Matrices:
        """What enlarges grids of the windows, one sample every `cell` units, to the pixels of parts of them
        in crops of `size`."""
        return self.windows.to_part(
            parts,
            lambda whole, start, length: enlarging(
                whole // cell, start // cell, length // cell, length * size // 256
            ),
            parts.canvas(size),
        )
