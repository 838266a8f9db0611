"""Frames that are drawn together: what of them and of their references is on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...face.alignment import UNITS
from ..prepared import PreparedFrame
from ..references.references import References
from ..square.frame_edge import FADE, KNOWN, UNKNOWN, WHOLE, well_inside
from ..square.mask import MouthMask
from ..square.raster import Triangulation
from ..square.reading import read_each_at
from .mouth import Mouths
from .raster import cover
from .warp import MeshWarps, pixel_maps, triangle_maps
from .windows import Matrices, Windows, applied, averaging, enlarging, on, smoothing_and_enlarging

# Of the masks.
PARTS = ("lips", "reach", "ring", "mouth")


class Lenders:
    """A pool of K references, brought to the device where frames are drawn for the first of them."""

    def __init__(self, references: References) -> None:
        self.landmarks = references.landmarks
        self._references, self._lock = references, Lock()
        self._there: dict[tuple[str, str], Tensor] = {}

    def crops(self, device: torch.device) -> Tensor:
        """uint8 (K,3,S,S)."""
        # The device turns them sooner than NumPy does.
        return self._brought(
            "crops", device, lambda: on(self._references.crops, device).movedim(-1, 1).contiguous()
        )

    def seen(self, device: torch.device) -> Tensor | None:
        """What of each lay inside its frame: float32 (K,1,256,256), 0 or 1; None where all of all."""
        return self._inside("seen", self._references.seen, device)

    def own(self, device: torch.device) -> Tensor | None:
        """What of each shows the person, in the same way."""
        if self._references.free is None:
            return self.seen(device)
        return self._inside("own", self._references.free, device)

    @cached_property
    def partial(self) -> np.ndarray:
        """Which of them show less than all of the person: bool (K,)."""
        own = self._references.own
        return np.array([own is not None and not own[row].all() for row in range(len(self._references))])

    def _inside(self, name: str, parts: np.ndarray | None, device: torch.device) -> Tensor | None:
        if parts is None:
            return None

        def bring() -> Tensor:
            return on(np.stack([well_inside(part) for part in parts])[:, None], device)

        return self._brought(name, device, bring)

    def _brought(self, name: str, device: torch.device, bring: Callable[[], Tensor]) -> Tensor:
        key = name, device.type
        with self._lock:
            if key not in self._there:
                self._there[key] = bring()
            return self._there[key]


@dataclass(frozen=True)
class Borrowed:
    """R references of each of B frames.

    chosen: int (B,R) positions in the pool; who has fewer repeats the first; used: bool (B,R), false there;
    weights: float (B,R), 0 there.
    """

    lenders: Lenders
    chosen: np.ndarray
    used: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, lenders: Lenders, chosen: Sequence[tuple[np.ndarray, np.ndarray]]) -> Borrowed:
        """The references of some frames.

        chosen: of each frame the positions (R,) and weights (R,).
        """
        count = max((len(positions) for positions, _ in chosen), default=0)
        rows = [np.r_[positions, np.repeat(positions[:1], count - len(positions))] for positions, _ in chosen]
        weights = [np.r_[own, np.zeros(count - len(own))] for _, own in chosen]
        used = [np.arange(count) < len(positions) for positions, _ in chosen]
        shape = len(rows), count
        positions = np.reshape(rows, shape).astype(np.int64)
        return cls(lenders, positions, np.reshape(used, shape), np.reshape(weights, shape))

    @property
    def landmarks(self) -> np.ndarray:
        """float32 (B,R,N,2) canonical units."""
        return self.lenders.landmarks[self.chosen]

    def __len__(self) -> int:
        """R."""
        return self.chosen.shape[1]


@dataclass(frozen=True, eq=False)
class Batch:
    """B frames of one clip, and their crops float32 (B,3,S,S) of levels 0..255, on the device."""

    frames: Sequence[PreparedFrame]
    crops: Tensor
    borrowed: Borrowed

    def with_crops(self, crops: Tensor) -> Batch:
        """The same frames with other crops; itself with its own."""
        return self if crops is self.crops else replace(self, crops=crops)

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

    @property
    def triangulation(self) -> Triangulation:
        """Of the warps."""
        return self.frames[0].warps.coarse.triangulation

    @cached_property
    def vertices(self) -> np.ndarray:
        """Of the targets: float32 (B,V,2) canonical units."""
        return np.stack([frame.warps.coarse.target for frame in self.frames])

    @cached_property
    def covers(self) -> list[Tensor]:
        """The triangles that cover the units of the windows and the pixels of the cores: see `cover`."""
        return cover(self.vertices, self.triangulation, [(self.windows, UNITS), (self.cores, self.size)])

    @cached_property
    def coarse(self) -> MeshWarps:
        """The warps to the targets on the unit grids of the windows."""
        return MeshWarps.of(self.covers[0], self.windows, UNITS)

    def coarse_part(self, parts: Windows) -> Tensor:
        """The triangles of `coarse` on parts of the windows, int64 (B,h,w); beyond a part its last row and
        column repeat."""
        x, y = parts.pixels(UNITS)
        at = ((y - self.coarse.y[:, :1]) * self.windows.shape[1] + (x - self.coarse.x[..., :1])).long()
        return self.coarse.triangle.flatten(1).gather(1, at.flatten(1)).view(at.shape)

    @cached_property
    def maps(self) -> Tensor:
        """The triangles' maps, in units, by each frame's own landmarks and then by its references': float32
        (B,1+R,F,6)."""
        own = np.stack([frame.source for frame in self.frames])[:, None]
        sources = self.triangulation.vertices(np.concatenate([own, self.borrowed.landmarks], axis=1))
        return triangle_maps(self.triangulation, self.vertices, sources, self.device)

    @cached_property
    def unit_maps(self) -> Tensor:
        """`maps` from and to pixel indices of the unit grid."""
        return pixel_maps(self.maps, UNITS)

    @cached_property
    def units(self) -> Tensor:
        """Where the units of the windows come from in each reference: float32 (B,R,2,h,w), see
        `ReferenceWarps.units`."""
        return self.coarse.coordinates(self.unit_maps[:, 1:])

    def parted(
        self, coordinates: Tensor, how: np.ndarray | None, windows: Windows, size: int
    ) -> tuple[Tensor, Tensor | None]:
        """The references' warps (B,R,2,h,w) of windows in crops of `size` with teeth of their own size, and
        how dark it is between their parts, (B,R,h,w) 0..1, or None; how: see `ReferenceMouths.partings`."""
        if how is None:
            return coordinates, None
        return Mouths.of(self.targets, self.triangulation.layout, windows, size).parted(coordinates, how)

    def reference_pixels(self, warps: MeshWarps, parts: Windows, size: int) -> Tensor:
        """Where the pixels of parts of the windows, in crops of `size`, come from in each reference: float32
        (B,R,2,h,w), see `ReferenceWarps.pixels`; warps: those of the parts."""
        exact = applied(self.on_pixels(parts, size), self.of_masks("mouth"))[:, None]
        smooth = self.windows.to_part(
            parts, lambda *axis: smoothing_and_enlarging(*axis, size), parts.canvas(size)
        )
        moved = applied(smooth, self.units - self.coarse.pixels()[:, None]) * (size / UNITS)
        moved += warps.pixels()[:, None]
        return moved + (warps.coordinates(pixel_maps(self.maps[:, 1:], size)) - moved) * exact

    @cached_property
    def chosen(self) -> Tensor:
        """The references' positions in the pool: int64 (B,R)."""
        return on(self.borrowed.chosen, self.device)

    def lenders(self, pool: Lenders | None = None) -> Iterator[Tensor]:
        """The references' crops float32 (B,3,S,S) by rank; pool: they in another size."""
        crops = (pool or self.borrowed.lenders).crops(self.device)
        return (crops[which].float() for which in self.chosen.unbind(1))

    @cached_property
    def used(self) -> Tensor:
        """Which references are some: bool (B,R)."""
        return on(self.borrowed.used, self.device)

    @cached_property
    def lent(self) -> Tensor | None:
        """What each reference lends once warped, float32 (B,R,h,w) 0..1 on the windows' unit grids, see
        `lent_part`; None where all of all."""
        if not self.borrowed.lenders.partial[self.borrowed.chosen].any():
            return None
        return self._lent_of(self.borrowed.lenders.own(self.device))

    @cached_property
    def known(self) -> Tensor | None:
        """What any reference has seen once warped, behind something or not: float32 (B,1,h,w); None where
        all."""
        lenders, device = self.borrowed.lenders, self.device
        if self.lent is None:
            return None
        own, seen = lenders.own(device), lenders.seen(device)
        lent = self.lent if seen is own else self._lent_of(seen)
        return None if lent is None else lent.amax(1, keepdim=True)

    def _drawable(self, known: Tensor) -> Tensor:
        """Of which frames the lips, old and new, are known well enough: bool (B,1,1,1)."""
        lips = [frame.lips(self.triangulation.layout) for frame in self.frames]
        on_lips = self.windows.packed([own.astype(np.float32) for own in lips], "constant")[:, None]
        unknown = on_lips * (known < KNOWN)
        whole = (1, 2, 3)
        return unknown.sum(whole, keepdim=True) <= UNKNOWN * on_lips.sum(whole, keepdim=True)

    def _lent_of(self, parts: Tensor | None) -> Tensor | None:
        """What the references lend of parts (K,1,256,256) of the pool's crops."""
        if parts is None:
            return None
        read = read_each_at(
            (parts[which] for which in self.chosen.unbind(1)), self.units, "bilinear", "zeros"
        )
        whole = (read[:, :, 0] > WHOLE).float()
        box = 2 * FADE + 1
        narrow = -F.max_pool2d(-whole, box, 1, FADE)
        return applied(self.windows.matrices(lambda side: averaging(side, box), self.windows.shape), narrow)

    def of_masks(self, name: str) -> Tensor:
        """A part of the masks on the windows' unit grids, 0 beyond and where no reference has seen what would
        be needed: float32 (B,1,h,w)."""
        return self._masks[:, PARTS.index(name), None]

    @cached_property
    def _masks(self) -> Tensor:
        grids = [np.dstack([getattr(mask, name) for name in PARTS]) for mask in self.masks]
        masks = self.windows.packed(grids, "constant").movedim(-1, 1).contiguous()
        if self.known is None:
            return masks
        masks[:, PARTS.index("lips"), None] *= self.known
        return masks * self._drawable(self.known)

    def on_pixels(self, parts: Windows, size: int, cell: int = 1) -> Matrices:
        """What enlarges grids of the windows, one sample every `cell` units, to the pixels of parts of them
        in crops of `size`."""
        return self.windows.to_part(
            parts,
            lambda whole, start, length: enlarging(
                whole // cell, start // cell, length // cell, length * size // UNITS
            ),
            parts.canvas(size),
        )
