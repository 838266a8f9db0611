"""Adapt a model to one person: its refiner learns to rebuild the mouths of a video of them.

    mytalk adapt VIDEO -o FOLDER
    mytalk sync VIDEO SPEECH -o OUT.mp4 --model FOLDER

parse -> read -> adapt -> write. Frames of the video are rebuilt from other moments of it, as in use, and the
network that does it best on frames that were left out is kept. FOLDER gets the whole model, with this refiner
in the place of its own; nothing is written where it is not surely better.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mytalk_core.appearance.networks.refiner import MouthRefiner
from mytalk_core.arguments import FACE_HELP, VIDEO_HELP, DefaultsHelpFormatter, Parser
from mytalk_core.checkpoint.pretrained import resolve_whole
from mytalk_core.errors import MediaError
from mytalk_core.expert.scorer import ExpertScorer
from mytalk_core.face.choice import check_choice, choice_files
from mytalk_core.face.reader import load_face_reader
from mytalk_core.files import check_outputs, replacing
from mytalk_core.media.arranged import part_of
from mytalk_core.media.source import clip_files, open_clip
from mytalk_core.models.parts import part_names
from mytalk_core.pipeline.choosing import choose
from mytalk_core.pipeline.device import choose_device
from mytalk_core.pipeline.stages import Progress, track
from mytalk_core.program import in_one_line
from mytalk_core.progress import bars

from ..loop.checkpoints import Network, averaged
from ..loop.ema import MovingAverage
from ..loop.loop import channels_last, descend
from ..loop.precision import choose_precision
from .data import MouthSamples
from .mixing_refiner import DETAIL, MixingRefiner, psnr
from .person import REGIMES, PersonFrames, read_person

LONGEST_S = 60.0
AT_ONCE = 8  # left-out frames that are looked at together
INNER_WEIGHT = 4.0  # what a pixel between the lips counts more: most of the error is there
SURE = 1.0  # standard errors: less is chance


@dataclass(frozen=True)
class AdaptationConfig:
    """How long and how fast is learned. rate: the highest, to which the first `warmup` steps rise; looks:
    steps between two looks at what was left out; patience: looks without a better one that end it; ema: decay
    of the average that is looked at and kept."""

    steps: int = 300
    batch: int = 4
    rate: float = 4e-4
    warmup: int = 30
    ema: float = 0.98
    looks: int = 30
    patience: int = 5

    def rate_at(self, step: int) -> float:
        """Of a step, counted from 1: up, then down to 0. A network that is good already is not to forget
        before Adam knows how large its gradients are."""
        return self.rate * min(1.0, step / self.warmup) * (1 - (step - 1) / self.steps)


@dataclass(frozen=True)
class Adapted:
    """The best refiner; before_db, after_db: PSNR inside the mask on the frames left out; steps: it took."""

    refiner: MouthRefiner
    before_db: float
    after_db: float
    steps: int


def parse(arguments: list[str] | None, program: str | None) -> argparse.Namespace:
    """The command line as a namespace; exits on a mistake as argparse does."""
    parser = Parser(
        prog=program,
        description="Adapt a model's drawing of lips to one person, on a video of them talking. Takes "
        "minutes on a CPU; the result is a model, for --model everywhere.",
        formatter_class=DefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("video", type=Path, help=f"{VIDEO_HELP}; up to {LONGEST_S:g} s of it are used")
    add("-o", "--output", type=Path, required=True, help="the folder of the new model, not there yet")
    add("--model", default="mini", help="what is adapted: mini, a folder, or hub:OWNER/NAME")
    add("--revision", help="branch, tag or commit of a Hub repository")
    add("--face", default="largest", help=FACE_HELP)
    add("--start", type=float, default=0.0, metavar="SECONDS", help="where in the video to begin")
    add("--seed", type=int, default=0, help="of the order in which frames are learned")
    return parser.parse_args(arguments)


def in_training() -> Accelerator:
    """What a refiner is adapted on: the device there is, in the precision that suits it."""
    cpu = not torch.cuda.is_available()
    return Accelerator(cpu=cpu, mixed_precision=choose_precision("auto", cpu)[0])


def adapt(
    person: PersonFrames,
    refiner: MouthRefiner,
    config: AdaptationConfig,
    accelerator: Accelerator,
    seed: int = 0,
    progress: Progress | None = None,
) -> Adapted:
    """The refiner as it was when, learning from a person's frames, it rebuilt those left out best.

    What comes back is surely better on them than what was given (`is_sure`), or that itself.
    Raises FloatingPointError if a loss or a gradient is not finite.
    """
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.arange(len(person.left_out)), -(-len(person.left_out) // AT_ONCE))
    held = [person.samples(person.left_out, rows, rng, {"full": 1.0}) for rows in parts]
    before = best_seen = look(refiner, held, accelerator)
    best, best_step = refiner, 0
    network = _network(refiner, config, accelerator)
    order = _shuffled(len(person.learned), rng)
    for step in range(1, config.steps + 1):
        rows = np.array([next(order) for _ in range(config.batch)])
        for group in network.optimizer.param_groups:
            group["lr"] = config.rate_at(step)
        learn(network, person.samples(person.learned, rows, rng, REGIMES), accelerator)
        if progress is not None:
            progress("adapt", step, config.steps)
        if step % config.looks and step < config.steps:
            continue
        found = averaged(network, MouthRefiner(refiner.config), "refiner.")
        assert found is not None  # there is one process
        seen = look(found, held, accelerator)
        if seen.mean() > best_seen.mean() and is_sure(seen - before):
            best, best_seen, best_step = found, seen, step
        elif step - best_step >= config.patience * config.looks:
            break
    return Adapted(best, float(before.mean()), float(best_seen.mean()), best_step)


def is_sure(gains: np.ndarray) -> bool:
    """Whether gains (K,) in dB on as many frames are more than chance: `SURE` standard errors above none."""
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return bool(gains.mean() > SURE * error)


def learn(network: Network, samples: MouthSamples, accelerator: Accelerator) -> Tensor:
    """One step down the mean absolute error inside the mask, more between the lips: the error."""
    samples = samples.to(accelerator.device)
    network.module.train()
    with accelerator.autocast():
        pictures = network.module(samples)
    inside = samples.made
    heavy = inside * (1 + INNER_WEIGHT * samples.inner) / (3 * inside.sum())
    loss = ((pictures.float() - samples.truth).abs() * heavy).sum()
    descend(network, loss, accelerator)
    network.average.update(accelerator.unwrap_model(network.module))
    return loss.detach()


@torch.no_grad()
def look(refiner: MouthRefiner, batches: list[MouthSamples], accelerator: Accelerator) -> np.ndarray:
    """PSNR (K,) in dB inside the masks of what a refiner makes of samples, K in all."""
    mixing_refiner = MixingRefiner(
        channels_last(copy.deepcopy(refiner).to(accelerator.device)), DETAIL
    ).eval()
    found: list[float] = []
    for samples in batches:
        samples = samples.to(accelerator.device)
        with accelerator.autocast():
            pictures = mixing_refiner(samples).float()
        found += psnr(pictures, samples.truth, samples.made)
    return np.array(found)


def _network(refiner: MouthRefiner, config: AdaptationConfig, accelerator: Accelerator) -> Network:
    """A copy of a refiner with its optimizer and its moving average."""
    module = MixingRefiner(channels_last(copy.deepcopy(refiner)), DETAIL).to(accelerator.device)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.rate, betas=(0.9, 0.99), weight_decay=0.0)
    average = MovingAverage(module, config.ema)
    module, optimizer = accelerator.prepare(module, optimizer)
    return Network(module, optimizer, average, config.rate, clip_norm=1.0)


def _shuffled(count: int, rng: np.random.Generator) -> Iterator[int]:
    """The numbers 0..count-1 without end, in a new order each time round."""
    while True:
        yield from rng.permutation(count).tolist()


def write_model(folder: Path, source: Path, refiner: MouthRefiner) -> None:
    """A model's folder as `source`, with another refiner that the renderer `auto` takes; whole or not at
    all."""
    with replacing(folder) as temporary:
        for part in part_names(source):
            if part != "refiner":
                shutil.copytree(source / part, temporary / part)
        refiner.save_pretrained(temporary / "refiner", torch.float16)


def main(arguments: list[str] | None = None, program: str | None = None) -> None:
    """Adapt, and say by how much the frames left out are closer. ValueError and OSError for a user's
    mistakes."""
    args = parse(arguments, program)
    check_choice(args.face)
    for name in ("start", "seed"):
        if not getattr(args, name) >= 0:
            raise ValueError(f"--{name} must be 0 or more; got {getattr(args, name)}")
    if args.output.is_dir():
        raise MediaError(
            f"-o: a folder that is not there yet was required, but {args.output} is: name another"
        )
    check_outputs({"-o": args.output}, [*clip_files(args.video), *choice_files(args.face)])
    source = resolve_whole(args.model, args.revision)
    refiner = MouthRefiner.from_pretrained(source, "refiner")
    clip = part_of(open_clip(args.video), args.start, LONGEST_S)
    with bars() as progress:
        reader = load_face_reader(choose_device("auto"))
        faces = track(reader, clip, progress)
        face = choose(reader, clip, faces, args.face, ExpertScorer.from_pretrained)
        person = read_person(clip, face, progress=progress)
        adapted = adapt(person, refiner, AdaptationConfig(), in_training(), args.seed, progress)
    if adapted.steps == 0:
        raise ValueError(
            f"frames left out came not surely closer than the {adapted.before_db:.2f} dB of {args.model}: "
            f"nothing was written; use {args.model} itself, or give another video of the person"
        )
    write_model(args.output, source, adapted.refiner)
    print(
        f"{args.output}: {adapted.after_db:.2f} dB on {len(person.left_out)} frames left out, before "
        f"{adapted.before_db:.2f}; learned from {len(person.learned)} of {clip.duration_s:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.refiner.adapt"))
