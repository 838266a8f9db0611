"""A card that is not there: tensors on it have device, shape and type only; what is copied back is zeros, of
a mask ones.

An operation that is given tensors of the card and of the CPU fails, as on a real one; and one that makes
float64 there, which Apple's cards do not have. These cannot be feigned themselves: a build of PyTorch without
their code refuses to index such a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

CARD = torch.device("cuda")
aten = torch.ops.aten
# What takes its operands from two devices, or indices from the CPU.
MOVING = {aten.copy_.default, aten._to_copy.default, aten.index.Tensor, aten.index_put_.default}


class FakeCard(TorchDispatchMode):
    """In its block operations on CUDA tensors are only told, those on the CPU are done.

    PyTorch's FakeTensorMode knows the shapes; by itself it lets a convolution read from another device.
    """

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        here = {tensor.device.type for tensor in tensors}
        if CARD.type not in here and torch.device(kwargs.get("device") or "cpu").type != CARD.type:
            with _disable_current_modes():
                return func(*args, **kwargs)
        # A single number goes along with any device.
        if len({tensor.device.type for tensor in tensors if tensor.dim()}) > 1 and func not in MOVING:
            raise RuntimeError(f"{func} was given tensors on the card and on the CPU")
        if func in (aten._local_scalar_dense.default, aten.item.default):
            return 0
        # What nobody knows without the numbers: of a mask all are chosen, of a search nothing is found.
        if func is aten.index.Tensor and any(
            part is not None and part.dtype == torch.bool for part in args[1]
        ):
            func, args = aten.flatten.using_ints, (args[0],)
        if func is aten.nonzero.default:
            func, args = aten.new_empty.default, (args[0], (0, args[0].dim()))
            kwargs = {"dtype": torch.int64}
        args, kwargs = tree_map(self._told, (args, kwargs))
        with self.fake:
            made = func(*args, **kwargs)
        if any(isinstance(leaf, Tensor) and _is_double(leaf) for leaf in tree_leaves(made)):
            raise RuntimeError(f"{func} made float64 on the card")
        with _disable_current_modes():
            return tree_map(_copied_back, made)

    def _told(self, value):
        """A tensor of the CPU as the fake mode knows it."""
        plain = isinstance(value, Tensor) and not isinstance(value, FakeTensor)
        return self.fake.from_tensor(value, static_shapes=True) if plain else value


def _is_double(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float64 and tensor.device.type == CARD.type


def _copied_back(made):
    on_cpu = isinstance(made, Tensor) and made.device.type == "cpu"
    return torch.full(tuple(made.shape), made.dtype == torch.bool, dtype=made.dtype) if on_cpu else made


def _apply(self: nn.Module, function, recurse: bool = True) -> nn.Module:
    """`nn.Module._apply` that puts new parameters in place of the old, of whatever kind."""
    for child in self.children():
        child._apply(function)
    for name, value in self._parameters.items():
        if value is not None:
            self._parameters[name] = nn.Parameter(function(value.detach()), requires_grad=False)
    for name, value in self._buffers.items():
        if value is not None:
            self._buffers[name] = function(value)
    return self


@contextmanager
def card_there() -> Iterator[None]:
    """Networks can be moved to the card, and used there, in this block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "_apply", _apply)
        # Else PyTorch computes in float32 where bfloat16 was asked for.
        patch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)
        # Memory that a card reads by itself is the driver's to give.
        patch.setattr(Tensor, "pin_memory", lambda self: self)
        # The card is there for this thread only.
        patch.setattr("mytalk_core.pipeline.ahead.MOST_THREADS", 1)
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        # It lets PyTorch believe that there is a card; of the work, `FakeCard` leaves it that on the card.
        with fake, FakeCard(fake):
            yield
