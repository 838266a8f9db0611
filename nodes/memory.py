"""Networks as ComfyUI's memory manager knows them: counted, moved to the device, freed and offloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import torch
from torch import nn

from ..mytalk_core.media.clip import Clip
from ..mytalk_core.pipeline import LipSync
from ..mytalk_core.pipeline.rendered import RenderedClip

BUNDLED = "mini"
# Bytes of activations, by part of a model: the largest published one on a window of 250 frames, float32; a
# batch of frames; the frames that are drawn in one call.
WORK_BYTES = {"motion": 1 << 30, "reader": 1 << 28, "renderer": 3 << 29}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """MYTALK_MODEL: a loaded model, and the patcher of each of its networks."""

    model: LipSync
    patchers: dict[str, comfy.model_patcher.ModelPatcher]
    renderers: dict[str, LoadedModel] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, source: str | Path, revision: str | None) -> LoadedModel:
        """Read the weights to where ComfyUI keeps models that do not run."""
        device = comfy.model_management.get_torch_device()
        dtype = torch.bfloat16 if comfy.model_management.should_use_bf16(device) else torch.float32
        model = LipSync.from_pretrained(
            source,
            renderer="warp",  # whoever draws says which renderer is wanted: see `with_renderer`
            device=comfy.model_management.unet_offload_device(),
            dtype="auto" if device.type == "cpu" else dtype,
            revision=revision,
        )
        return cls(model, patchers_of(model.networks))

    def with_renderer(self, renderer: str) -> LoadedModel:
        """The same with a renderer of that name, whose network is read once."""
        if renderer not in self.renderers:
            model = self.model.with_renderer(renderer)
            patchers = self.patchers | patchers_of(model.renderer.networks)
            self.renderers[renderer] = LoadedModel(model, patchers)
        return self.renderers[renderer]

    def ready(self, part: str) -> LipSync:
        """The model, its "reader", "motion" or "renderer" on the device, room for its work made there."""
        bring(self.patchers_of(part), WORK_BYTES[part])
        return self.model

    def all_ready(self) -> LipSync:
        """The model with every network on the device, for whoever goes through all stages at once."""
        bring(list(self.patchers.values()), max(WORK_BYTES.values()))
        return replace(self.model, device=comfy.model_management.get_torch_device())

    def patchers_of(self, part: str) -> list[comfy.model_patcher.ModelPatcher]:
        """Of the networks of a part."""
        return [self.patchers[name] for name in getattr(self.model, part).networks]


@dataclass(frozen=True, eq=False)
class DrawingNetworks:
    """Called, it brings the networks that a clip's pictures are drawn with.

    patchers: those of the clips it is made of, and of who reads the drawn lips again, too: frame by frame
    they work in turn, and what is brought alone may push out what another pass goes on with. None where
    nothing is drawn by a network.
    """

    patchers: list[comfy.model_patcher.ModelPatcher]

    @classmethod
    def of(cls, loaded: LoadedModel, clips: Iterable[Clip]) -> DrawingNetworks:
        """The model's renderer, and what the pictures of the clips below it are drawn with."""
        below = [clip.prepare for clip in clips if isinstance(clip, RenderedClip)]
        others = [patcher for one in below if isinstance(one, cls) for patcher in one.patchers]
        drawing = [*loaded.patchers_of("renderer"), *others]
        reading = bundled_model().patchers_of("reader") if drawing else []
        return cls(list(dict.fromkeys([*drawing, *reading])))

    def __call__(self) -> None:
        """Bring them."""
        bring(self.patchers, WORK_BYTES["renderer"])


@cache
def bundled_model() -> LoadedModel:
    """The model that comes with the pack, loaded once."""
    return LoadedModel.load(BUNDLED, None)


def patchers_of(networks: Mapping[str, nn.Module]) -> dict[str, comfy.model_patcher.ModelPatcher]:
    """A patcher for each network, by name; Cancel stops these networks between any two layers."""
    # Newer cores choose the patcher by the device.
    make = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    device = comfy.model_management.get_torch_device()
    offload = comfy.model_management.unet_offload_device()
    for layer in (layer for network in networks.values() for layer in network.modules()):
        layer.register_forward_pre_hook(stop_if_cancelled)
    return {
        name: make(network, load_device=device, offload_device=offload) for name, network in networks.items()
    }


def stop_if_cancelled(layer: nn.Module, inputs: tuple) -> None:
    """A hook before a layer: Cancel ends whatever its network works at."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def bring(patchers: list[comfy.model_patcher.ModelPatcher], work_bytes: int) -> None:
    """Move networks to the device, `work_bytes` beside them free."""
    if patchers:
        # Plain modules cannot run half on one device and half on another.
        comfy.model_management.load_models_gpu(patchers, memory_required=work_bytes, force_full_load=True)
