"""A batch of frames drawn on a device in one call, as `WarpRenderer.render` and `make_patch` do it one frame
after the other on the CPU; the pictures are equal within a level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..composite import LEAST_ALPHA, PatchArea, patch_area
from ..covers.cover import FREE as UNCOVERED
from ..covers.cover import Cover
from ..prepared import PreparedFrame
from ..square.reading import read_at
from .batch import Batch, Borrowed
from .surroundings import move_surroundings
from .warp import levels
from .windows import applied, on

if TYPE_CHECKING:
    from ...media.patch import Patch


@torch.inference_mode()
def draw(
    crops: np.ndarray,
    frames: Sequence[PreparedFrame],
    borrowed: Borrowed,
    device: torch.device,
    lips: Callable[[Batch], Tensor],
) -> DeviceRendering:
    """The crops uint8 (B,S,S,3), those of the prepared frames with new lips.

    borrowed: these frames' references; lips: the new ones float32 (D,3,h,w) of the batch's cores, levels.
    """
    pictures = on(crops[[frame.row for frame in frames]], device).movedim(-1, 1).float().contiguous()
    if not frames:
        return DeviceRendering(crops, (), pictures, pictures[:, 0])
    batch = Batch(frames, pictures, borrowed)
    moved = move_surroundings(batch)
    made, alpha, cores = lips(batch), _alpha(batch, moved), batch.cores
    mask = applied(batch.on_pixels(cores, batch.size), batch.of_masks("lips"))
    # Undivided by alpha, compositing would feather the lips twice.
    ratio = (mask / cores.cut(alpha).clamp_min(1e-6)).clamp(max=1)
    mixed = cores.cut(pictures)
    cores.put(levels(mixed + ratio * (made - mixed)), pictures)
    return DeviceRendering(crops, tuple(frame.row for frame in frames), pictures, alpha[:, 0])


def _alpha(batch: Batch, moved: Tensor) -> Tensor:
    """How much of each pixel is new, float32 (B,1,S,S)."""
    windows, size = batch.windows, batch.size
    alpha = batch.crops.new_zeros(len(batch.frames), 1, size, size)
    new = torch.maximum(batch.of_masks("lips"), moved)
    windows.put(applied(batch.on_pixels(windows, size), new), alpha)
    return alpha


@dataclass(frozen=True, eq=False)
class DeviceRendering:
    """B frames of which those of `rows` were drawn; see `Rendering`.

    given: uint8 (B,S,S,3), the frames' crops; pictures: float32 (D,3,S,S), levels 0..255, and new: (D,S,S) in
    0..1, of the drawn ones, on the device.
    """

    given: np.ndarray
    rows: tuple[int, ...]
    pictures: Tensor
    new: Tensor

    @property
    def crops(self) -> np.ndarray:
        """See `Rendering.crops`."""
        crops = np.array(self.given)
        if self.rows:
            crops[list(self.rows)] = _bytes(self.pictures)
        return crops

    @property
    def alpha(self) -> np.ndarray:
        """See `Rendering.alpha`."""
        alpha = np.zeros(self.given.shape[:3], np.float32)
        if self.rows:
            alpha[list(self.rows)] = self.new.cpu().numpy()
        return alpha

    @torch.inference_mode()
    def patches(
        self, shape: tuple[int, int], similarity: np.ndarray, covers: Sequence[Cover], shares: Sequence[float]
    ) -> list[Patch | None]:
        """See `Rendering.patches`: only what is pasted comes back from the device."""
        made: list[Patch | None] = [None] * len(self.given)
        if not self.rows:
            return made
        new = self._left([covers[row] for row in self.rows], [shares[row] for row in self.rows])
        sides = torch.cat([(new > 0).any(2), (new > 0).any(1)], dim=1).cpu().numpy()
        size = new.shape[-1]
        areas = [
            patch_area(side[:size], side[size:], similarity[row], shape)
            for row, side in zip(self.rows, sides, strict=True)
        ]
        found = [(number, one) for number, one in enumerate(areas) if one is not None]
        for shrink in {one.shrink(size) for _, one in found}:
            numbers, own = zip(*(pair for pair in found if pair[1].shrink(size) == shrink), strict=True)
            for number, patch in zip(numbers, self._cut(new, numbers, own, shrink), strict=True):
                made[self.rows[number]] = patch
        return made

    def _left(self, covers: Sequence[Cover], shares: Sequence[float]) -> Tensor:
        """How much of each pixel may be new: (D,S,S)."""
        if all(cover is UNCOVERED for cover in covers) and all(share == 1 for share in shares):
            return self.new
        whole = np.ones(self.new.shape[1:], np.float32)
        kept = [cover.left(whole) * np.float32(share) for cover, share in zip(covers, shares, strict=True)]
        return self.new * on(np.stack(kept), self.new.device)

    def _cut(
        self, new: Tensor, numbers: Sequence[int], areas: Sequence[PatchArea], shrink: int
    ) -> list[Patch]:
        """The patches of the drawn frames of those numbers, in their areas, all of which shrink as much."""
        from ...media.patch import Patch

        device = new.device
        height, width = max(one.height for one in areas), max(one.width for one in areas)
        matrix = on(np.stack([one.matrix for one in areas]), device)[..., None, None]
        x = torch.arange(width, device=device, dtype=torch.float32)
        y = torch.arange(height, device=device, dtype=torch.float32)[:, None]
        at = matrix[:, :, 0] * x + matrix[:, :, 1] * y + matrix[:, :, 2]
        which = on(np.array(numbers), device)
        pictures, averaged = self.pictures[which], at
        if shrink > 1:
            # Halves become the larger level, as OpenCV has it.
            pictures = (avg_pool2d(pictures, shrink) + 0.5).floor()
            averaged = (at + 0.5) / shrink - 0.5
        rgb = _bytes(levels(read_at(pictures, averaged)))
        alpha = read_at(new[which][:, None], at, "bilinear", "zeros")[:, 0].clamp(0, 1)
        shown = torch.where(alpha < LEAST_ALPHA, 0.0, alpha).cpu().numpy()
        return [
            Patch(one.top, one.left, own[: one.height, : one.width], mask[: one.height, : one.width])
            for one, own, mask in zip(areas, rgb, shown, strict=True)
        ]


def _bytes(pictures: Tensor) -> np.ndarray:
    """Levels (B,3,h,w) -> uint8 (B,h,w,3)."""
    return pictures.to(torch.uint8).movedim(1, -1).contiguous().cpu().numpy()
