"""Train the lip-sync expert on a dataset that dataset.prepare wrote.

    accelerate launch -m mytalk_training.expert.train DATASET -o FOLDER [--space RUN/model/space]

parse -> build -> step -> save. At every save FOLDER gets the expert and, in FOLDER/space, the landmark space
whose channels it reads; the log says how often the offset of people kept from training is found.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from mytalk_core.arguments import DefaultsHelpFormatter, Parser, at_least
from mytalk_core.expert.sync_expert import ExpertConfig, SyncExpert
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig
from mytalk_core.program import in_one_line
from mytalk_core.speech.features import SpeechEncoder

from ..loop.checkpoints import TrainingState, averaged
from ..loop.loop import Run, add_arguments, descend, train
from ..loop.order import SampleRandom
from ..loop.people import choose_few, hold_out
from ..motion.data import TEMPI, MotionBatch, MotionData, RawClip, fit_space, read_clips, with_features
from ..motion.kept_features import keeping
from ..motion.models import feature_statistics, open_space

WINDOW_FRAMES = 80


class ExpertObjective(nn.Module):
    """The expert's loss as one forward pass, the only one whose gradients are synchronised."""

    def __init__(self, expert: SyncExpert) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, batch: MotionBatch) -> Tensor:
        """Of true pairs, in nats, a scalar."""
        return self.expert.loss(batch.x0, batch.features, batch.valid)


@dataclass(kw_only=True)
class State(TrainingState):
    """The expert's network as `ExpertObjective`; held: clips kept from training, with features (2F,L,Ds)."""

    config: ExpertConfig
    space: LandmarkSpace
    held: list[tuple[RawClip, Tensor]]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    add_arguments(
        parser,
        steps=2000,
        lr=1e-3,
        schedule="cosine",
        warmup=300,
        optimizer="adamw",
        weight_decay=0.01,
        ema=0.99,
        overfit_loss=0.1,
    )
    add = parser.add_argument
    add("--space", type=Path, help="folder of a motion model's LandmarkSpace; else fitted")
    add("--speech-encoder", default="mini", help="bundled name, folder or hub:OWNER/NAME")
    add("--features", type=Path, help="folder in which speech features are kept for other runs")
    add("--frames", type=at_least(2), default=75, help="length of a window at 25 Hz")
    add("--plain", action="store_true", help="no copies at other tempi: quicker, less robust")
    return parser.parse_args(argv)


def build(run: Run, args: argparse.Namespace) -> tuple[State, MotionData]:
    """Data and model of a run."""
    overfit = args.overfit is not None
    clips = read_clips(args.dataset)
    known, held = hold_out(clips)
    if overfit:
        known = held = choose_few(known, args.overfit)
    held = run.learn_from(known, held)
    space = open_space(
        run.out,
        "space",
        lambda: LandmarkSpace.from_pretrained(args.space) if args.space else fit_space(known, SpaceConfig()),
    )
    encoder = keeping(args.features, SpeechEncoder.from_pretrained(args.speech_encoder))
    tempi = (1.0,) if args.plain or overfit else TEMPI
    data = MotionData(known, space, encoder, args.seed, tempi, mirror=not overfit)
    config = ExpertConfig(
        motion=space.config.lower,
        landmark_layout=space.config.layout,
        speech_width=encoder.dim,
        speech_layers=encoder.layers,
        dropout=0.0 if overfit else ExpertConfig.dropout,
    )
    expert = SyncExpert(config)
    expert.set_feature_statistics(*feature_statistics(data))
    network = run.network(ExpertObjective(expert))
    held_clips = with_features(held, encoder)
    return State(networks={"expert": network}, config=config, space=space, held=held_clips), data


def step(
    state: State, batch: MotionBatch, draws: SampleRandom, accelerator: Accelerator
) -> dict[str, Tensor]:
    """One step on true pairs; its loss in nats. Raises FloatingPointError as `descend` does."""
    network = state.networks["expert"]
    network.module.train()
    with accelerator.autocast():
        loss = network.module(batch).float()
    descend(network, loss, accelerator)
    return {"total": loss}


def save(run: Run, state: State) -> dict[str, float]:
    """The averaged expert as it is loaded later, and its figures on clips kept from training."""
    expert = averaged(state.networks["expert"], SyncExpert(state.config), "expert.")
    if expert is None:
        return {}
    expert.save_pretrained(run.out)
    state.space.save_pretrained(run.out / "space")
    return validate(expert, state.space, state.held)


def validate(
    expert: SyncExpert, space: LandmarkSpace, clips: list[tuple[RawClip, Tensor]]
) -> dict[str, float]:
    """Over windows of `WINDOW_FRAMES`: share with the offset within one frame, mean confidence of true and
    of foreign pairs (another clip's speech), where there is another."""
    expert.eval()
    offsets: list[float] = []
    own: list[float] = []
    foreign: list[float] = []
    for number, (clip, features) in enumerate(clips):
        channels = space.encode_lower(clip.displacement)
        other = clips[number - 1][1] if len(clips) > 1 else features[:0]
        for start in range(0, len(channels) - WINDOW_FRAMES + 1, WINDOW_FRAMES):
            frames, spoken = channels[start : start + WINDOW_FRAMES], slice(2 * start, None)
            score = expert.score(frames, features[spoken][: 2 * WINDOW_FRAMES])
            offsets.append(float(abs(score.offset_frames) <= 1))
            own.append(score.confidence)
            if len(other[spoken]) >= 2 * WINDOW_FRAMES:
                foreign.append(expert.score(frames, other[spoken][: 2 * WINDOW_FRAMES]).confidence)
    figures = {"in_sync": offsets, "confidence": own, "foreign": foreign}
    means = {key: round(float(np.mean(values)), 4) for key, values in figures.items() if values}
    return means | {"windows": len(offsets)}


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, data = build(run, args)
    train(run, state, partial(data.draw, frames=args.frames, seed=args.seed), step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.expert.train"))
