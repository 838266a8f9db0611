"""The loop that all training programs share. A program is parse -> build -> step -> save:

    def parse():                    # its own flags, and the loop's
        parser = Parser(...)
        add_arguments(parser, steps=20000, batch=32, lr=1e-4)
        return parser.parse_args()

    @dataclass(kw_only=True)
    class State(TrainingState):     # networks by name and the step; what else `step` needs
        data: ...

    def build(run, args) -> State:  # every network through run.network: optimizer, DDP or FSDP, average
        return State(networks={"denoiser": run.network(model)}, data=...)

    def step(state, batch, draws, accelerator) -> dict[str, Tensor]:
        terms = losses(...)         # scalars, means over samples; "total" is what --overfit looks at
        descend(state.networks["denoiser"], terms["total"], accelerator)
        return terms

    def save(run, state) -> dict[str, float]:      # every process; figures of validation from the main one
        model = averaged(state.networks["denoiser"], Model(config))
        if model is None:           # not the main process
            return {}
        model.save_pretrained(run.out)
        run.show(...)               # a picture
        return validate(model)

    def main():
        args = parse()
        run = Run.of(args)
        state = build(run, args)
        train(run, state, draw, step, save)

`draw(samples)` gives the batch of samples by number: a dataclass with `.to(device)`. It is a function of
those numbers only (order.Draws has their random numbers) and may run in other processes. `step` takes its
random numbers from `draws`, a stream apart from the data's. With two networks, as in a GAN, freeze the other
(requires_grad_(False)) while one descends. OUT gets checkpoints/, from which the next start goes on,
log.jsonl, tensorboard/ and, of whom `run.learn_from` was told, people.json.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.tensorboard import SummaryWriter

from mytalk_core.arguments import at_least
from mytalk_core.files import alone, write_text

from .checkpoints import Network, TrainingState, checkpoints, dump_state, load_checkpoint, save_checkpoint
from .ema import MovingAverage
from .order import NOISE, MicroBatch, Order, SampleRandom, load
from .people import PEOPLE_NAME, VALIDATED, AnyClip, choose_few, read_people, write_people
from .precision import choose_precision
from .processes import check_launcher

PRECISIONS = ("auto", "no", "bf16", "fp16")
SCHEDULES = ("inverse-sqrt", "cosine", "constant")
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
# Flags that a resumed run may have otherwise without a word; not the steps where the rate falls towards them.
FREE = {"out", "dataset", "features", "steps", "workers", "save_every", "log_every", "keep", "accumulate"}

Module = TypeVar("Module", bound=nn.Module)
Step = Callable[[Any, Any, SampleRandom, Accelerator], dict[str, Tensor]]


def add_arguments(parser: argparse.ArgumentParser, made_by: str = "dataset.prepare", **defaults: Any) -> None:
    """The flags that the loop reads; `defaults` sets a program's own. made_by: the program whose folder is
    learned from."""
    add = parser.add_argument
    add("dataset", type=Path, help=f"folder that mytalk_training.{made_by} wrote")
    add("-o", "--out", type=Path, required=True, help="a run that has checkpoints there goes on")
    add("--steps", type=at_least(1), default=20000, help="of the optimizer, in all")
    add("--batch", type=at_least(1), default=32, help="samples a step, over all processes and micro-batches")
    add("--accumulate", type=at_least(1), default=1, help="micro-batches a process adds up for a step")
    add("--lr", type=float, default=1e-4, help="peak rate")
    add("--schedule", choices=SCHEDULES, default="inverse-sqrt", help="of the rate, after --warmup")
    add("--warmup", type=at_least(0), default=500, help="steps over which the rate rises to its peak")
    add("--optimizer", choices=[*OPTIMIZERS], default="adam", help="the rule of a step")
    add("--weight-decay", type=float, default=0.0, help="the optimizer's")
    add("--clip-norm", type=float, default=1.0, help="longest gradient")
    add("--ema", type=float, default=0.999, help="decay of the moving average, which is what is saved")
    add("--mixed-precision", choices=PRECISIONS, default="no", help="what layers compute in")
    add("--fsdp", action="store_true", help="shard weights and optimizer over the processes")
    add(
        "--overfit", type=at_least(1), metavar="N", help="N clips only, nothing varied: does the loss vanish?"
    )
    add("--overfit-loss", type=float, default=0.05, help="the mean total that --overfit is to reach")
    add("--workers", type=at_least(0), default=0, help="processes that draw batches ahead")
    add(
        "--save-every",
        type=at_least(1),
        default=500,
        help="steps between checkpoints, each with a validation",
    )
    add("--keep", type=at_least(1), default=3, help="checkpoints that stay")
    add("--log-every", type=at_least(1), default=50, help="steps between lines of the log")
    add("--seed", type=at_least(0), default=0, help="of first weights, order and noise")
    parser.set_defaults(**defaults)


@dataclass(frozen=True)
class LoopOptions:
    """What the loop reads of the flags that `add_arguments` describes."""

    out: Path
    steps: int
    batch: int
    accumulate: int
    lr: float
    schedule: str
    warmup: int
    optimizer: str
    weight_decay: float
    clip_norm: float
    ema: float
    mixed_precision: str
    fsdp: bool
    overfit: int | None
    overfit_loss: float
    workers: int
    save_every: int
    keep: int
    log_every: int
    seed: int

    @staticmethod
    def of(args: argparse.Namespace) -> LoopOptions:
        """From the flags of a program, the loop's among them."""
        return LoopOptions(**{field.name: getattr(args, field.name) for field in fields(LoopOptions)})


class Run:
    """What a run has besides its state: options, accelerator, folder and, on the main process, logs.

    settings: the flags that decide what the run computes, as plain values; board: TensorBoard's writer, None
    on other processes.
    """

    def __init__(self, options: LoopOptions, settings: dict[str, Any]) -> None:
        check_launcher()
        cpu = not torch.cuda.is_available()
        precision, reason = choose_precision(options.mixed_precision, cpu)
        if options.fsdp and precision == "fp16":
            raise ValueError("--fsdp needs --mixed-precision bf16 or no: fp16's loss scale is not shared")
        # What was taken is what the run computes: going on with another is said.
        self.options, self.settings = options, settings | {"mixed_precision": precision}
        self.out = options.out
        self.accelerator = Accelerator(
            cpu=cpu, mixed_precision=precision, gradient_accumulation_steps=options.accumulate
        )
        count = self.accelerator.num_processes
        self.print(f"{count} {'process' if count == 1 else 'processes'}, {self.accelerator.device}")
        self.print(f"mixed precision {precision}: {reason}")
        self.out.mkdir(parents=True, exist_ok=True)
        self.board: SummaryWriter | None = None
        self.people: frozenset[str] = frozenset()
        set_seed(options.seed)

    @staticmethod
    def of(args: argparse.Namespace) -> Run:
        """The run that a program's flags, the loop's among them, ask for."""
        free = FREE - {"steps"} if args.schedule == "cosine" else FREE
        settings = {key: value for key, value in vars(args).items() if key not in free}
        plain = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
        return Run(LoopOptions.of(args), plain)

    def print(self, text: str) -> None:
        """Print on the main process."""
        if self.accelerator.is_main_process:
            print(text, flush=True)

    def alone(self) -> AbstractContextManager[None]:
        """A block in which no other run trains into this one's folder; the main process sees to it."""
        if not self.accelerator.is_main_process:
            return nullcontext()
        return alone(self.out / "lock", f"trains into {self.out}")

    def network(
        self,
        module: nn.Module,
        betas: tuple[float, float] = (0.9, 0.999),
        shard: tuple[type[nn.Module], ...] | None = (),
    ) -> Network:
        """Give a module its optimizer, its copies or shards on all processes, and its moving average.

        shard: with --fsdp, layers of these classes are gathered one at a time, the rest at once; None copies
        the module all the same, for one that is small or frozen now and then, which shards cannot be.
        """
        options, module = self.options, module.to(self.accelerator.device)
        layers = shard if options.fsdp else None
        if layers is not None:
            _shard(module, layers, self.accelerator)
        optimizer = OPTIMIZERS[options.optimizer](
            module.parameters(), lr=options.lr, betas=betas, weight_decay=options.weight_decay
        )
        if layers is not None:
            optimizer = self.accelerator.prepare(optimizer)
            average = MovingAverage(module, options.ema)
            return Network(module, optimizer, average, options.lr, options.clip_norm)
        average = MovingAverage(module, options.ema)
        module, optimizer = self.accelerator.prepare(module, optimizer)
        return Network(module, optimizer, average, options.lr, options.clip_norm)

    def learn_from(self, known: list[AnyClip], held: list[AnyClip]) -> list[AnyClip]:
        """Note the people of the clips that are learned from, for the folder's people.json; of clips kept
        from training, up to VALIDATED of people that this run never learned from. Who is kept depends on who
        is there, and more people may have joined since the run was begun."""
        now = frozenset(clip.identity for clip in known)
        goes_on = checkpoints(self.out / "checkpoints") and (self.out / PEOPLE_NAME).is_file()
        before = read_people(self.out) - now if goes_on else frozenset()
        self.people = now | before
        apart = [clip for clip in held if clip.identity not in before]
        if len(apart) < len(held):
            people = sorted({clip.identity for clip in held} & before)
            self.print(f"learned from before, so not kept from training: {', '.join(people)}")
        return choose_few(apart, VALIDATED) if len(apart) > VALIDATED else apart

    def resume(self, state: TrainingState) -> None:
        """Go on from the newest checkpoint, if there is one, and open the logs.

        Raises ValueError, on every process, where they do not all find the same one.
        """
        found = checkpoints(self.out / "checkpoints")
        names = gather_object([found[-1].name if found else "none"])
        if len({*names}) > 1:
            raise ValueError(
                f"all processes need the same checkpoints, but found {', '.join(names)}: give --out a folder "
                "that every machine sees"
            )
        if found:
            settings = load_checkpoint(state, found[-1], self.accelerator)
            now = self.settings
            other = [f"--{k}: {v}, now {now.get(k)}" for k, v in settings.items() if now.get(k) != v]
            self.print(f"{found[-1]}: going on at step {state.step}")
            if other:
                self.print(f"flags are not those the run was begun with: {'; '.join(other)}")
        if self.accelerator.is_main_process:
            _forget_after(self.out / "log.jsonl", state.step)
            self.board = SummaryWriter(str(self.out / "tensorboard"), purge_step=state.step + 1)

    def log(self, step: int, kind: str, figures: dict[str, float]) -> None:
        """A line in log.jsonl and on the screen, and TensorBoard's curves; kind is "train" or "valid"."""
        if self.board is None or not figures:
            return
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "kind": kind, **figures}) + "\n")
        for key, value in figures.items():
            self.board.add_scalar(f"{kind}/{key}", value, step)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        self.print(f"step {step} {kind}: {shown}")

    def show(self, name: str, picture: np.ndarray | Tensor, step: int, axes: str = "HWC") -> None:
        """A picture for TensorBoard, of uint8 or 0 ... 1, its axes HWC or HW."""
        if self.board is not None:
            self.board.add_image(name, picture, step, dataformats=axes)


def descend(network: Network, loss: Tensor, accelerator: Accelerator) -> None:
    """Backward pass of `loss`; with the last micro-batch of a step, the optimizer's step.

    Raises FloatingPointError, before any weight changes, if the loss or the gradient is not finite (with
    fp16, whose gradients overflow now and then, the scaler leaves such a step out).
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()}")
    accelerator.backward(loss)
    if not accelerator.sync_gradients:
        return
    accelerator.unscale_gradients(network.optimizer)
    norm = nn.utils.clip_grad_norm_(network.module.parameters(), network.clip_norm)
    if accelerator.scaler is None and not torch.isfinite(norm):
        raise FloatingPointError(f"the gradient's length is {norm.item()}")
    network.optimizer.step()
    network.optimizer.zero_grad()


def learning_rate(step: int, options: LoopOptions) -> float:
    """Share of the peak rate at a step: linear warm-up, then the inverse square root (the paper's), half a
    cosine down to 0 at the last step, or none."""
    warmup = max(1, options.warmup)
    if step < warmup:
        return (step + 1) / warmup
    if options.schedule == "inverse-sqrt":
        return math.sqrt(warmup / (step + 1))
    if options.schedule == "cosine":
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - warmup) / max(1, options.steps - warmup)))
    return 1.0


def train(
    run: Run,
    state: TrainingState,
    draw: Callable[[list[int]], Any],
    step: Step,
    save: Callable[[Run, Any], dict[str, float]],
) -> None:
    """Train until the last step, from the newest checkpoint; the module's docstring says what the parts are.

    Raises FloatingPointError, naming a file with batch and weights, if a loss or a gradient is not finite;
    MediaError while another run trains into the same folder.
    """
    options, accelerator = run.options, run.accelerator
    with run.alone():
        run.resume(state)
        processes, process = accelerator.num_processes, accelerator.process_index
        order = Order(options.batch, options.accumulate, processes, process, state.step, options.steps)
        batches, meter, reached = load(draw, order, options.workers), Meter(), False
        while state.step < options.steps and not reached:
            _advance(run, state, batches, step, meter)
            last = state.step == options.steps
            if state.step % options.log_every == 0 or last:
                figures = meter.read(accelerator)
                run.log(state.step, "train", figures)
                reached = options.overfit is not None and figures["total"] < options.overfit_loss
            if state.step % options.save_every == 0 or last or reached:
                # The checkpoint last: a run that is killed in between saves its model again.
                if run.people and accelerator.is_main_process:
                    write_people(run.out, run.people)
                run.log(state.step, "valid", save(run, state))
                save_checkpoint(state, run.out / "checkpoints", options.keep, run.settings, accelerator)
                accelerator.wait_for_everyone()
    if run.board is not None:
        run.board.close()
    if options.overfit is not None:
        verdict = f"{'below' if reached else 'NOT below'} {options.overfit_loss} after {state.step} steps"
        run.print(f"overfit on {options.overfit} clips: the mean total is {verdict}")
        if not reached:
            raise SystemExit(1)


def _advance(
    run: Run, state: TrainingState, batches: Iterator[tuple[MicroBatch, Any]], step: Step, meter: Meter
) -> None:
    """One step: its micro-batches, the networks' averages, and what it took."""
    began = time.perf_counter()
    for network in state.networks.values():
        for group in network.optimizer.param_groups:
            group["lr"] = network.peak_lr * learning_rate(state.step, run.options)
    for _ in range(run.options.accumulate):
        asked = time.perf_counter()
        micro, batch = next(batches)
        batch = batch.to(run.accelerator.device)
        meter.waited_s += time.perf_counter() - asked
        meter.add(_forward(run, state, micro, batch, step), len(micro.samples))
    for network in state.networks.values():
        network.average.update(run.accelerator.unwrap_model(network.module))
    state.step += 1
    meter.spent_s += time.perf_counter() - began


def _forward(run: Run, state: TrainingState, micro: MicroBatch, batch: Any, step: Step) -> dict[str, Tensor]:
    """A program's step on one micro-batch; what it fails on is written down."""
    accelerator, seed = run.accelerator, run.options.seed
    micro.seed_network(seed)
    try:
        with accelerator.accumulate(*(network.module for network in state.networks.values())):
            terms = step(state, batch, SampleRandom(seed, NOISE, micro.samples), accelerator)
    except FloatingPointError as error:
        path = run.out / f"not_finite_step_{state.step:08d}_process_{accelerator.process_index}.pt"
        dump_state(state, batch, micro.samples, path)
        raise FloatingPointError(
            f"step {state.step}: {error}; batch and weights are in {path}: lower --lr, or look there for bad "
            "data"
        ) from error
    return {key: value.detach() for key, value in terms.items()}


class Meter:
    """Means of the losses, samples a second and the share of time spent waiting for data, since last read."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = self.samples = 0
        self.waited_s = self.spent_s = 0.0

    def add(self, terms: dict[str, Tensor], samples: int) -> None:
        """Count a micro-batch."""
        for key, value in terms.items():
            self.sums[key] = self.sums.get(key, 0.0) + value.double()
        self.count += 1
        self.samples += samples

    def read(self, accelerator: Accelerator) -> dict[str, float]:
        """The figures over all processes, which must all call; counting starts anew."""
        means = torch.stack([*self.sums.values()]) / self.count
        means = accelerator.reduce(means, "mean").tolist()
        figures = dict(zip(self.sums, means, strict=True))
        figures["samples_per_s"] = self.samples * accelerator.num_processes / self.spent_s
        figures["waiting"] = self.waited_s / self.spent_s
        self._reset()
        return figures


def channels_last(module: Module) -> Module:
    """A network with channels last in memory: convolutions are several times faster so."""
    # torch's own types leave this argument out.
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _shard(module: nn.Module, layers: tuple[type[nn.Module], ...], accelerator: Accelerator) -> None:
    if accelerator.num_processes == 1:
        raise ValueError("--fsdp needs more than one process: start with accelerate launch or torchrun")
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for part in [*module.modules()]:
        if isinstance(part, layers):
            fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)


def _forget_after(log: Path, step: int) -> None:
    """Drop lines of steps that a killed run took behind its last checkpoint: they are taken again."""
    if log.exists():
        lines = log.read_text().splitlines()
        write_text(log, "".join(f"{line}\n" for line in lines if _is_of(line, step)))


def _is_of(line: str, step: int) -> bool:
    """Whether a line of the log is of no later step, and whole: a kill or a full disk cuts the last one."""
    try:
        return json.loads(line)["step"] <= step
    except ValueError:
        return False
