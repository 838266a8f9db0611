"""Which renderers there are, and how each is made: a new one is a class like `Renderer` and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..checkpoint.pretrained import PretrainedModel
from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .generator_renderer import GeneratorRenderer
from .network_renderer import NetworkRenderer
from .networks.generator import AppearanceGenerator
from .networks.refiner import MouthRefiner
from .references.references import References
from .renderer import Renderer
from .warp_renderer import WarpRenderer, WarpSettings


@dataclass(frozen=True)
class NetworkKind:
    """What a renderer with a network needs. part: of a model; network: its class; renderer: what draws."""

    part: str
    network: type[PretrainedModel]
    renderer: Callable[..., Renderer]


NETWORKS = {
    "generator": NetworkKind("appearance", AppearanceGenerator, GeneratorRenderer),
    "network": NetworkKind("refiner", MouthRefiner, NetworkRenderer),
}
RENDERERS = ("auto", *NETWORKS, "warp")
AUTO = "network"


@dataclass(frozen=True)
class LoadedRenderer:
    """A renderer that is ready to be made for any clip. name: of RENDERERS, never "auto"; network: the
    model's, None for `warp`; dtype: what it computes in; device: where pictures are worked on without one."""

    name: str = "warp"
    network: PretrainedModel | None = None
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The network by name, if there is one."""
        return {} if self.network is None else {f"renderer {self.name}": self.network}

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the network's weights by the part of the model that it is."""
        return {} if self.network is None else {NETWORKS[self.name].part: self.network.sha256}

    def make(
        self,
        references: References,
        targets: Rows,
        layout: LandmarkLayout,
        shots: np.ndarray | None = None,
        settings: WarpSettings | None = None,
        light: np.ndarray | None = None,
    ) -> Renderer:
        """The renderer of one clip; the arguments are `WarpRenderer`'s."""
        given: dict[str, Any] = {"shots": shots, "settings": settings, "light": light}
        if self.network is None:
            return WarpRenderer(references, targets, layout, device=self.device, **given)
        make = NETWORKS[self.name].renderer
        return make(self.network, references, targets, layout, dtype=self.dtype, **given)


def load_renderer(
    name: str,
    model: str | Path,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LoadedRenderer:
    """The renderer of that name with its network from a model (a bundled name, a folder, hub:OWNER/NAME).

    warp: no network; network: one of the model mixes and mends what `warp` borrows; generator: the lips are
    drawn by the model's appearance generator, the paper's; auto: AUTO where the model brings it, else `warp`.
    dtype: what it computes in; its weights stay float32.
    Raises ValueError for another name, FileNotFoundError if the model has not what the renderer needs.
    """
    if name not in RENDERERS:
        raise ValueError(f"a renderer is one of {', '.join(RENDERERS)}; got {name!r}")
    if name == "warp":
        return LoadedRenderer(device=device)
    if name != "auto":
        return _with_network(name, model, revision, device, dtype)
    try:
        return _with_network(AUTO, model, revision, device, dtype)
    except FileNotFoundError:
        return LoadedRenderer(device=device)


def _with_network(
    name: str, model: str | Path, revision: str | None, device: torch.device | str, dtype: torch.dtype
) -> LoadedRenderer:
    """One of NETWORKS; see `load_renderer`."""
    kind = NETWORKS[name]
    try:
        network = kind.network.from_pretrained(model, kind.part, revision, device)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the renderer {name} needs a model with the part {kind.part}, {model} has none: take another "
            f"model, or the renderer warp, which needs no network ({error})"
        ) from error
    # Channels lie beside each other, as convolutions read them. PyTorch's types leave the argument out.
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return LoadedRenderer(name, network, dtype)
