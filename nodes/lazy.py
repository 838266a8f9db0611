"""IMAGE and MASK that are made when a node first looks at their values, and not at all where none does.

ComfyUI does not tell a node which of its outputs are linked, and keeps outputs for later runs with
other links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils._pytree import tree_map

from ..mytalk_core.media.clip import Clip
from ..mytalk_core.pipeline.rendered import RenderedClip
from .progress import NodeProgress
from .screen import plainly

# What can be told without the values.
DESCRIBING = {
    *(getattr(torch.Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "layout")),
    *(getattr(torch.Tensor, name).__get__ for name in ("is_cuda", "requires_grad")),
    torch.Tensor.size,
    torch.Tensor.dim,
    torch.Tensor.numel,
    torch.Tensor.nelement,
    torch.Tensor.element_size,
    torch.Tensor.__len__,
}


class LazyTensor(torch.Tensor):
    """A float32 CPU tensor of known shape whose values `make` returns when they are first needed."""

    @staticmethod
    def __new__(cls, shape: tuple[int, ...], make: Callable[[], torch.Tensor]) -> LazyTensor:
        """Nothing is allocated."""
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32)

    def __init__(self, shape: tuple[int, ...], make: Callable[[], torch.Tensor]) -> None:
        self._make = make
        self._made: torch.Tensor | None = None

    @plainly
    def values(self) -> torch.Tensor:
        """The plain tensor; kept, as ComfyUI keeps every output."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run any operation on the values."""
        if func in DESCRIBING:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        return func(*plain(args), **plain(kwargs or {}))

    # torch's own is a plain function of its types.
    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run any operation that came past `__torch_function__` on the values."""
        return func(*plain(args), **plain(kwargs or {}))


def plain(arguments: Any) -> Any:
    """Arguments with the values in place of lazy tensors."""
    return tree_map(lambda value: value.values() if isinstance(value, LazyTensor) else value, arguments)


def clip_images(clip: Clip) -> LazyTensor:
    """A clip's frames as IMAGE (T,H,W,3), 0..1."""
    shape = (len(clip), clip.height, clip.width, 3)
    return LazyTensor(shape, lambda: fill(shape, (picture.rgb for picture in clip.pictures())))


def clip_masks(clip: RenderedClip) -> LazyTensor:
    """A rendered clip's edited pixels as MASK (T,H,W), 0..1."""
    shape = (len(clip), clip.height, clip.width)
    return LazyTensor(shape, lambda: fill(shape, clip.masks()))


def fill(shape: tuple[int, ...], frames: Iterable[np.ndarray]) -> torch.Tensor:
    """uint8 frames as one float tensor 0..1, with progress. Raises MemoryError before the first frame."""
    check_memory(shape)
    tensor = torch.empty(shape)
    progress = NodeProgress()
    for done, frame in enumerate(frames, 1):
        tensor[done - 1] = torch.from_numpy(frame).float() / 255.0
        progress("frames", done, shape[0])
    return tensor


def check_memory(shape: tuple[int, ...]) -> None:
    """Raises MemoryError where a float32 tensor of that shape does not fit into the free memory."""
    needed, free = 4 * int(np.prod(shape)), psutil.virtual_memory().available
    if needed > 0.9 * free:
        raise MemoryError(
            f"{shape[0]} frames of {shape[2]} x {shape[1]} as IMAGE or MASK need {needed / 2**30:.1f} GB, "
            f"but {free / 2**30:.1f} GB are free: link the VIDEO output instead, which needs none of it, or "
            "take a shorter part"
        )
