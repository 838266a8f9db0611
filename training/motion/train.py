"""Train the speech-to-landmark diffusion model (paper section 3.3) on a dataset that dataset.prepare wrote.

    accelerate launch -m mytalk_training.motion.train DATASET -o RUN --identity IDENTITY_FOLDER

parse -> build -> step -> save. At every save RUN gets model/motion and model/space, the moving average as
`MotionDenoiser` and `LandmarkSpace`, and samples/, a video of real and generated landmarks; people.json says
whom it learns from, so that it can be one of another run's --teachers. The paper's own
training: --preset paper --frames 250 --lr 1e-4 --optimizer adam --weight-decay 0 --velocity-weight 0
--drop-speech 0 --drop-identity 0, with --fsdp where a device cannot hold 213 million parameters' training.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from mytalk_core.arguments import DefaultsHelpFormatter, Parser, at_least
from mytalk_core.models.preset import Preset
from mytalk_core.motion.conformer import ConformerLayer
from mytalk_core.motion.denoiser import CONDITIONING, MotionConfig, MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.identity import IdentityExtractor
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig
from mytalk_core.program import in_one_line
from mytalk_core.speech.features import SpeechEncoder

from ..dataset.filters import Limits
from ..dataset.sync_check import load_expert
from ..loop.checkpoints import TrainingState, averaged, start_from
from ..loop.loop import Run, add_arguments, descend, train
from ..loop.order import SampleRandom
from ..loop.people import choose_few, hold_out
from .data import TEMPI, MotionBatch, MotionData, RawClip, fit_space, read_clips, with_features
from .kept_features import Encoder, keeping
from .lags import in_sync
from .losses import PENALTIES, LossOptions, Objective, losses
from .models import (
    HEADS,
    SpokenDenoiser,
    feature_statistics,
    motion_config,
    open_expert,
    open_space,
    preset_config,
)
from .pictures import show_motion
from .teachers import Teachers
from .validation import validate

# Of a model that is trained on.
MAY_DIFFER = ("process", "dropout", "attention_dropout")


@dataclass(kw_only=True)
class State(TrainingState):
    """The denoiser's network as `SpokenDenoiser`, and what its step and its validation need.

    held: clips of people kept from training, with their features (2F,L,Ds).
    """

    config: MotionConfig
    objective: Objective
    held: list[tuple[RawClip, Tensor]]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    add_arguments(
        parser, lr=4e-4, optimizer="adamw", weight_decay=0.01, mixed_precision="auto", overfit_loss=0.25
    )
    add = parser.add_argument
    add("--identity", type=Path, required=True, help="folder of the trained IdentityExtractor")
    add("--init", help="a whole model (mini, a folder, hub:OWNER/NAME) whose motion model is trained on")
    add(
        "--space", type=Path, help="folder of the landmark space; --init's by default, or fitted to the clips"
    )
    add("--preset", help="paper: all sizes are the preset's, --width and --layers are not read")
    add("--speech-encoder", help="bundled name, folder or hub:OWNER/NAME; by default the preset's, or mini")
    add("--features", type=Path, help="folder in which speech features are kept for other runs")
    add("--frames", type=at_least(2), default=100, help="length of a window at 25 Hz (the paper: 250)")
    add("--width", type=at_least(1), default=192, help="channels of the denoiser, without --preset")
    add("--layers", type=at_least(1), default=4, help="Conformer layers of the denoiser, without --preset")
    add("--dropout", type=float, default=0.15, help="share of the denoiser's values dropped")
    add("--velocity-weight", type=float, default=1.0, help="of the differences from frame to frame")
    add("--identity-weight", type=float, default=1.0, help="0, 1 and 2 are the paper's Tab. 6")
    add("--expert", type=Path, help="folder that expert.train wrote: adds its loss")
    add("--drop-speech", type=float, default=0.1, help="share of windows not told of the speech")
    add(
        "--hide-speech", type=at_least(0), default=0, help="stretches of each window's speech that are hidden"
    )
    add("--drop-identity", type=float, default=0.3, help="share not told of the person, or of the upper face")
    add("--own-guess", type=float, default=0.0, help="share whose x_t holds the model's guess, not the truth")
    add("--time-power", type=float, default=1.0, help="below 1: more of the noisy time steps")
    add(
        "--lags-by", help="an expert (mini, a folder) that says how late lips are, finer than a frame, or not"
    )
    add("--least-confidence", type=float, default=Limits.min_confidence, help="of --lags-by; the rest is out")
    add("--plain", action="store_true", help="no copies at other tempi: quicker, less robust")
    add("--tempi", type=float, nargs="+", default=list(TEMPI), help="of copies, other voices but the first")
    add(
        "--fold", type=int, nargs=2, metavar=("K", "N"), help="part K of N of the people, from 0, is kept out"
    )
    add("--teachers", nargs="+", metavar="RUN", help="of other --folds each: they say what is likeliest, too")
    add("--truth", type=float, default=0.6, help="share of the truth beside the --teachers' word")
    add("--validate-on", type=Path, metavar="DATASET", help="of other people; or every 16th person is kept")
    add(
        "--process",
        default="diffusion",
        choices=[*PROCESSES],
        help="flow: rectified flow; regression: no noise, one pass: the baseline",
    )
    add("--penalty", choices=PENALTIES, help="of differences: l2 (eq. 4), or l1, the default of a regression")
    add(
        "--conditioning",
        default="id-cross-attention",
        choices=CONDITIONING,
        help="how the denoiser is told of the person: the paper's Tab. 5",
    )
    args = parser.parse_args(argv)
    check(parser, args)
    if args.penalty is None:
        args.penalty = "l1" if args.process == "regression" else "l2"
    if args.overfit is not None:
        args.drop_speech = args.drop_identity = 0.0
        args.hide_speech = 0
    return args


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the program, as argparse does, where a flag is outside its range."""
    if min(args.tempi) <= 0:
        parser.error(f"--tempi must be above 0, 1 for a copy as fast as the clip; got {min(args.tempi)}")
    if args.width % HEADS:
        parser.error(f"--width must be a multiple of {HEADS}, the heads of attention; got {args.width}")
    if args.fold is not None and not 0 <= args.fold[0] < args.fold[1] > 1:
        given = " ".join(map(str, args.fold))
        parser.error(f"--fold must be a part, 0 ... N - 1, and their number N, 2 or more; got {given}")
    if not 0 <= args.truth <= 1:
        parser.error(f"--truth is a share, 0 ... 1; got {args.truth}")


def read_people(args: argparse.Namespace, layout: str | None) -> tuple[list[RawClip], list[RawClip]]:
    """The clips to learn from, and those of people kept from training; errors as in `read_clips`."""
    clips = read_clips(args.dataset, layout)
    apart = None if args.validate_on is None else read_clips(args.validate_on, layout)
    if args.lags_by is not None:
        expert = load_expert(args.lags_by, "cpu")
        clips = in_sync(clips, expert, args.least_confidence)
        apart = None if apart is None else in_sync(apart, expert, args.least_confidence)
    if args.fold is not None:
        part, parts = args.fold
        clips, left_out = hold_out(clips, parts, part)
        if not clips:
            raise ValueError(
                f"--fold {part} {parts} keeps out everybody that {args.dataset} has: prepare clips of more "
                "people"
            )
        return clips, left_out if apart is None else apart
    return hold_out(clips) if apart is None else (clips, apart)


def given_space(args: argparse.Namespace, clips: list[RawClip], preset: Preset | None) -> LandmarkSpace:
    """The landmark space that the flags name, or that is fitted to the clips."""
    if args.space is not None:
        return LandmarkSpace.from_pretrained(args.space)
    if args.init is not None:
        return LandmarkSpace.from_pretrained(args.init, "space")
    return fit_space(clips, preset.space if preset else SpaceConfig())


def speech_source(args: argparse.Namespace, preset: Preset | None) -> tuple[str, str]:
    """Where the speech encoder comes from, and by which name the model will find it: "speech" is a part of
    the model itself."""
    wanted = preset.motion.speech_encoder if preset else "speech"
    if wanted == "speech":
        return args.speech_encoder or "mini", "speech"
    source = args.speech_encoder or wanted
    return source, source


def motion_data(
    args: argparse.Namespace,
    clips: list[RawClip],
    space: LandmarkSpace,
    encoder: Encoder,
    identity: IdentityExtractor,
    device: torch.device,
) -> MotionData:
    """The clips to learn from, in copies as the flags want them."""
    plain = args.plain or args.overfit is not None
    return MotionData(
        clips,
        space,
        encoder,
        args.seed,
        tempi=(1.0,) if plain else tuple(args.tempi),
        mirror=args.overfit is None,
        hidden=args.hide_speech,
        # Workers are other processes, which get the clips by value.
        device="cpu" if args.workers else device,
        teachers=Teachers(args.teachers, space, encoder, identity) if args.teachers else None,
        truth=args.truth,
    )


def denoiser_config(
    args: argparse.Namespace,
    preset: Preset | None,
    space: LandmarkSpace,
    encoder: Encoder,
    identity: IdentityExtractor,
) -> MotionConfig:
    """The sizes that the flags or the preset name."""
    config = motion_config(
        space,
        encoder,
        identity,
        width=args.width,
        layers=args.layers,
        dropout=args.dropout,
        conditioning=args.conditioning,
        process=args.process,
    )
    if preset is not None:
        config = preset_config(preset, config, speech_source(args, preset)[1])
    if args.overfit is not None:
        config = replace(config, dropout=0.0, attention_dropout=0.0)
    return config


def loss_options(args: argparse.Namespace) -> LossOptions:
    """What the flags say of the loss."""
    return LossOptions(
        velocity=args.velocity_weight,
        identity=args.identity_weight,
        penalty=args.penalty,
        drop_speech=args.drop_speech,
        drop_identity=args.drop_identity,
        own_guess=args.own_guess,
        time_power=args.time_power,
    )


def build(run: Run, args: argparse.Namespace) -> tuple[State, MotionData]:
    """Data and models of a run."""
    device = run.accelerator.device
    preset = Preset.load(args.preset) if args.preset else None
    known, held = read_people(args, preset.space.layout if preset else None)
    if args.overfit is not None:
        known = held = choose_few(known, args.overfit)
    held = run.learn_from(known, held)
    space = open_space(run.out, "model/space", partial(given_space, args, known, preset))
    source, _ = speech_source(args, preset)
    layers = preset.motion.speech_layers if preset else None
    encoder = keeping(args.features, SpeechEncoder.from_pretrained(source, layers=layers, device=device))
    identity = IdentityExtractor.from_pretrained(args.identity, device=device).requires_grad_(False)
    data = motion_data(args, known, space, encoder, identity, device)
    config = denoiser_config(args, preset, space, encoder, identity)
    denoiser = MotionDenoiser(config)
    denoiser.set_feature_statistics(*feature_statistics(data))
    if args.init is not None:
        start_from(denoiser, args.init, "motion", MAY_DIFFER)
    expert, process = open_expert(args.expert, space, encoder, device), PROCESSES[args.process]()
    options = loss_options(args)
    state = State(
        networks={"denoiser": run.network(SpokenDenoiser(denoiser), (0.9, 0.98), (ConformerLayer,))},
        config=config,
        objective=Objective(space.to(device), identity, options, process, config.conditioning, expert),
        held=with_features(held, encoder),
    )
    return state, data


def step(
    state: State, batch: MotionBatch, draws: SampleRandom, accelerator: Accelerator
) -> dict[str, Tensor]:
    """One step on one micro-batch: the losses. Raises FloatingPointError as `descend` does."""
    network = state.networks["denoiser"]
    network.module.train()
    with accelerator.autocast():
        terms = losses(network.module, batch, state.objective, draws)
    descend(network, terms["total"], accelerator)
    return terms


def save(run: Run, state: State) -> dict[str, float]:
    """The averaged model as it is loaded later, its figures on clips kept from training, a sample of it."""
    denoiser = averaged(state.networks["denoiser"], MotionDenoiser(state.config), "denoiser.")
    if denoiser is None:
        return {}
    space, identity = state.objective.space, state.objective.identity
    denoiser.save_pretrained(run.out / "model" / "motion", torch.float16)
    space.save_pretrained(run.out / "model" / "space")
    if not state.held:
        return {}
    denoiser.to(run.accelerator.device)
    picture = show_motion(
        denoiser, space, identity, *state.held[0], run.out / "samples" / f"step_{state.step:08d}.mp4"
    )
    run.show("landmarks", picture, state.step)
    return validate(denoiser, space, identity, state.held)


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, data = build(run, args)
    train(run, state, partial(data.draw, frames=args.frames, seed=args.seed), step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.motion.train"))
