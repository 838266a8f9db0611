"""Checkpoints: everything that a run changes, in one file that is there whole or not at all.

OUT/checkpoints/step_00000500.pt holds the step and, for each network, its weights, optimizer and moving
average, gathered where they are sharded: a run may go on with other processes than it began with. There is no
state of random generators in it, since all random numbers follow from the seed and the step (see order.py).
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from mytalk_core.checkpoint.pretrained import PretrainedModel
from mytalk_core.files import replacing

from .ema import MovingAverage

Model = TypeVar("Model", bound=nn.Module)

# Gathered on the main process, in its own memory.
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
LONGEST_CAUSE = 240  # characters of another library's message


@dataclass
class Network:
    """A network in training, with what trains it. module: as Accelerate wrapped it; average: of its
    parameters, under their names without the wrapping; peak_lr: what the schedule scales; clip_norm: the
    longest gradient."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage
    peak_lr: float
    clip_norm: float


@dataclass(kw_only=True)
class TrainingState:
    """Everything that training changes; a program's own State adds what its step needs beside."""

    networks: dict[str, Network] = field(default_factory=dict)
    step: int = 0


def start_from(network: PretrainedModel, source: str | Path, part: str, may_differ: tuple[str, ...]) -> None:
    """Give a network the weights and buffers of a part of a whole model.

    Raises ValueError where their configs differ in more than `may_differ`.
    """
    other = type(network).from_pretrained(source, part)
    found, wanted = (
        {key: value for key, value in vars(model.config).items() if key not in may_differ}
        for model in (other, network)
    )
    differ = [f"{key} {found[key]}, not {wanted[key]}" for key in wanted if found[key] != wanted[key]]
    if differ:
        raise ValueError(f"{source} cannot be trained on as this model: its {part} has {'; '.join(differ)}")
    network.load_state_dict(other.state_dict())


def save_checkpoint(
    state: TrainingState, folder: Path, keep: int, settings: dict[str, Any], accelerator: Accelerator
) -> None:
    """Write step_N.pt and remove all but the newest `keep`; every process must call."""
    networks = {name: _network_state(network) for name, network in state.networks.items()}
    if not accelerator.is_main_process:
        return
    content = {"step": state.step, "networks": networks, "settings": settings}
    if accelerator.scaler is not None:
        content["scaler"] = accelerator.scaler.state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    _save(content, folder / f"step_{state.step:08d}.pt")
    for old in checkpoints(folder)[:-keep]:
        old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step_*.pt"))


def load_checkpoint(state: TrainingState, path: Path, accelerator: Accelerator) -> dict[str, Any]:
    """Bring a state to where a checkpoint stands; the settings of the run that wrote it.

    Raises ValueError if it is damaged, or of a run with other networks.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        networks, settings = content["networks"], content["settings"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint: remove it, and the run goes on from the one before "
            f"({_brief(error)})"
        ) from error
    if set(networks) != set(state.networks):
        raise ValueError(
            f"{path} holds {', '.join(networks)}; this program trains "
            f"{', '.join(state.networks)}: give each program its own --out"
        )
    for name, network in state.networks.items():
        saved = networks[name]
        try:
            set_model_state_dict(network.module, saved["module"], options=WHOLE)
        except RuntimeError as error:
            raise ValueError(
                f"{path} holds a {name} of other sizes; go on with the flags and the dataset it was begun "
                f"with, or give another --out ({_brief(error)})"
            ) from error
        optimizer = getattr(network.optimizer, "optimizer", network.optimizer)
        set_optimizer_state_dict(network.module, optimizer, saved["optimizer"], options=WHOLE)
        network.average.load_state_dict(saved["average"])
    if accelerator.scaler is not None and "scaler" in content:
        accelerator.scaler.load_state_dict(content["scaler"])
    state.step = content["step"]
    return settings


def dump_state(state: TrainingState, batch: Any, samples: list[int], path: Path) -> None:
    """What a step failed on: step, samples, batch and the weights before it, as this process holds them."""
    networks = {
        name: {key: _local(value) for key, value in network.module.state_dict().items()}
        for name, network in state.networks.items()
    }
    _save({"step": state.step, "samples": samples, "batch": _plain(batch), "networks": networks}, path)


def averaged(network: Network, model: Model, prefix: str = "") -> Model | None:
    """A fresh `model` with a network's moving average and its buffers, for evaluation.

    prefix: what the model's names have in front in the network, such as "denoiser.". Every process must call;
    the main process, which gathers, gets the model, others None.
    """
    weights = get_model_state_dict(network.module, options=WHOLE)
    average = network.average.state_dict()["tensors"]
    if not weights:
        return None
    weights |= average
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    model.load_state_dict(own, strict=True)
    return model.eval()


def _save(content: dict[str, Any], path: Path) -> None:
    """torch.save, whole or not at all, and on the disk before it takes its name."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def _network_state(network: Network) -> dict[str, Any]:
    optimizer = getattr(network.optimizer, "optimizer", network.optimizer)
    return {
        "module": get_model_state_dict(network.module, options=WHOLE),
        "optimizer": get_optimizer_state_dict(network.module, optimizer, options=WHOLE),
        "average": network.average.state_dict(),
    }


def _brief(error: Exception) -> str:
    """The beginning of what torch says of a file, which may go on for every weight."""
    return " ".join(str(error).split())[:LONGEST_CAUSE]


def _plain(batch: Any) -> Any:
    """Dataclasses as dicts, which torch.load opens without trusting the file."""
    if is_dataclass(batch):
        return {key: _plain(value) for key, value in vars(batch).items()}
    return batch


def _local(value: torch.Tensor) -> torch.Tensor:
    return value.to_local() if isinstance(value, DTensor) else value
