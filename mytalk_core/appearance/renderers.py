"""Which renderers there are, and how each is made: a new one is a class like `Renderer` and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..checkpoint.pretrained import PretrainedModel
from ..face.layout import LandmarkLayout
from .generator import AppearanceGenerator
from .generator_renderer import GeneratorRenderer
from .network_renderer import NetworkRenderer
from .references import References
from .refiner import MouthRefiner
from .renderer import Renderer, WarpRenderer, WarpSettings

# By renderer: the part of a model that it needs, its class, and what draws with it.
NETWORKS = {
    "generator": ("appearance", AppearanceGenerator, GeneratorRenderer),
    "network": ("refiner", MouthRefiner, NetworkRenderer),
}
RENDERERS = ("auto", *NETWORKS, "warp")


@dataclass(frozen=True)
class LoadedRenderer:
    """A renderer that is ready to be made for any clip. name: of RENDERERS, never "auto"; network: the
    model's, None for `warp`."""

    name: str = "warp"
    network: PretrainedModel | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the model that it reads."""
        return () if self.network is None else (NETWORKS[self.name][0],)

    def make(
        self,
        references: References,
        targets: np.ndarray,
        layout: LandmarkLayout,
        shots: np.ndarray | None = None,
        settings: WarpSettings | None = None,
    ) -> Renderer:
        """The renderer of one clip; the arguments are `WarpRenderer`'s."""
        if self.network is None:
            return WarpRenderer(references, targets, layout, shots, settings=settings)
        draws = NETWORKS[self.name][2]
        return draws(self.network, references, targets, layout, shots, settings=settings)


def load_renderer(
    name: str, model: str | Path, revision: str | None = None, device: torch.device | str = "cpu"
) -> LoadedRenderer:
    """The renderer of that name with its network from a model (a bundled name, a folder, hub:OWNER/NAME).

    warp: no network; network: the model's refiner mends what `warp` makes; generator: the lips are drawn by
    the model's appearance generator, the paper's; auto: `network` if the model brings a refiner that its
    makers prefer, else `warp`.
    Raises ValueError for another name, FileNotFoundError if the model has not what the renderer needs.
    """
    if name not in RENDERERS:
        raise ValueError(f"a renderer is one of {', '.join(RENDERERS)}; got {name!r}")
    if name == "warp":
        return LoadedRenderer()
    wanted = "network" if name == "auto" else name
    part, kind, _ = NETWORKS[wanted]
    try:
        network = kind.from_pretrained(model, part, revision, device).eval()
    except FileNotFoundError as error:
        if name == "auto":
            return LoadedRenderer()
        raise FileNotFoundError(
            f"the renderer {name} needs a model with the part {part}, {model} has none: take another model, "
            f"or the renderer warp, which needs no network ({error})"
        ) from error
    if name == "auto" and not network.config.preferred:
        return LoadedRenderer()
    return LoadedRenderer(wanted, network)
