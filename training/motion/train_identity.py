"""Train the identity extractor on landmarks with the ArcFace loss (paper section 3.3).

    accelerate launch -m mytalk_training.motion.train_identity DATASET -o OUT

parse -> build -> step -> save. Every frame of a prepared clip is a sample, its class the person. At every
save OUT gets config.json and model.safetensors.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mytalk_core.arguments import DefaultsHelpFormatter, Parser, at_least
from mytalk_core.models.preset import Preset
from mytalk_core.motion.identity import ArcFaceHead, IdentityConfig, IdentityExtractor
from mytalk_core.motion.person import identity_channels
from mytalk_core.program import in_one_line

from ..loop.checkpoints import TrainingState, averaged
from ..loop.loop import Run, add_arguments, descend, train
from ..loop.order import DATA, SampleRandom
from ..loop.people import choose_few, hold_out
from .data import RawClip, read_clips

# As large as the face mesh's own noise, canonical units.
JITTER_UNITS = 0.4
# Frames whose similarities are compared in validation.
COMPARED = 1000


@dataclass(frozen=True)
class LabelledFaces:
    """Frontal landmarks (B,N,2) canonical units, and their person's number (B,)."""

    landmarks: Tensor
    people: Tensor

    def draw(self, samples: list[int], seed: int) -> LabelledFaces:
        """The frames that a seed gives these sample numbers."""
        position = SampleRandom(seed, DATA, samples).uniform() * len(self.people)
        rows = position.long().clamp(max=len(self.people) - 1)
        return LabelledFaces(self.landmarks[rows], self.people[rows])

    def to(self, device: torch.device | str) -> LabelledFaces:
        """The frames on a device."""
        return LabelledFaces(self.landmarks.to(device), self.people.to(device))


class Recogniser(nn.Module):
    """The extractor and its training head: ArcFace's loss as one forward pass."""

    def __init__(self, extractor: IdentityExtractor, head: ArcFaceHead) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head

    def forward(self, landmarks: Tensor, people: Tensor) -> Tensor:
        """Landmarks (B,N,2) canonical units of people (B,) -> a scalar."""
        return self.head(self.extractor(identity_channels(landmarks)), people)


@dataclass(kw_only=True)
class State(TrainingState):
    """The extractor's network as `Recogniser`; jitter: noise on landmarks, units; held: clips kept from
    training."""

    config: IdentityConfig
    jitter: float
    held: list[RawClip]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    # The paper's rate, 1e-6, is for 100 epochs of 148 hours.
    add_arguments(
        parser, steps=3000, batch=256, lr=1e-3, schedule="cosine", warmup=100, ema=0.99, overfit_loss=0.1
    )
    add = parser.add_argument
    add("--preset", help="paper: sizes and landmark layout are the preset's")
    add("--hidden", type=at_least(1), default=256, help="width of the hidden layers")
    add("--layers", type=at_least(1), default=4, help="square layers between the first and the last")
    add("--embedding", type=at_least(1), default=128, help="width of the embedding")
    return parser.parse_args(argv)


def build(run: Run, args: argparse.Namespace) -> tuple[State, LabelledFaces]:
    """Data and model of a run."""
    sizes = Preset.load(args.preset).identity if args.preset else None
    layout = sizes.landmark_layout if sizes else None
    clips = read_clips(args.dataset, layout)
    known, held = hold_out(clips)
    if args.overfit is not None:
        known = held = choose_few(known, args.overfit)
    people = sorted({clip.identity for clip in known})
    if len(people) < 2:
        raise ValueError(
            f"people are told apart by learning from two or more; {args.dataset} has clips of one alone to "
            "learn from: prepare clips of others, in folders by their names"
        )
    held = run.learn_from(known, held)
    faces = frames_of(known, people)
    channels = 2 * faces.landmarks.shape[1]
    config = sizes or IdentityConfig(channels, known[0].layout, args.hidden, args.layers, args.embedding)
    head = ArcFaceHead(config.embedding, len(people), margin=0.3, scale=30.0)
    state = State(
        networks={"recogniser": run.network(Recogniser(IdentityExtractor(config), head))},
        config=config,
        jitter=JITTER_UNITS if args.overfit is None else 0.0,
        held=held,
    )
    return state, faces


def frames_of(clips: list[RawClip], people: list[str]) -> LabelledFaces:
    """Every third frame that shows the face."""
    landmarks, numbers = [], []
    for clip in clips:
        shapes = clip.rest + clip.displacement[clip.present][::3] * clip.mouth_width
        landmarks.append(torch.from_numpy(shapes[..., :2].astype(np.float32)))
        numbers.append(torch.full((len(shapes),), people.index(clip.identity)))
    return LabelledFaces(torch.cat(landmarks), torch.cat(numbers))


def step(
    state: State, batch: LabelledFaces, draws: SampleRandom, accelerator: Accelerator
) -> dict[str, Tensor]:
    """One step on frames jittered like a mesh's own noise: its loss. Raises FloatingPointError as `descend`
    does."""
    network = state.networks["recogniser"]
    network.module.train()
    noise = draws.normal(*batch.landmarks.shape[1:]).to(batch.landmarks)
    with accelerator.autocast():
        loss = network.module(batch.landmarks + state.jitter * noise, batch.people).float()
    descend(network, loss, accelerator)
    return {"total": loss}


def save(run: Run, state: State) -> dict[str, float]:
    """The averaged extractor as it is loaded later, and how it tells people apart that it never saw."""
    extractor = averaged(state.networks["recogniser"], IdentityExtractor(state.config), "extractor.")
    if extractor is None:
        return {}
    extractor.save_pretrained(run.out, torch.float16)
    people = sorted({clip.identity for clip in state.held})
    if len(people) < 2:
        return {}
    cosine, same = similarities(extractor, frames_of(state.held, people))
    run.show("similarity", cosine.clamp(0, 1), state.step, axes="HW")
    return told_apart(cosine, same)


@torch.no_grad()
def similarities(extractor: IdentityExtractor, faces: LabelledFaces) -> tuple[Tensor, Tensor]:
    """Cosines (M,M) of some frames' embeddings, in order of person, and whether two are of one person."""
    pick = torch.randperm(len(faces.people), generator=torch.Generator().manual_seed(0))[:COMPARED]
    pick = pick[faces.people[pick].argsort(stable=True)]
    embeddings = extractor(identity_channels(faces.landmarks[pick]))
    return embeddings @ embeddings.T, faces.people[pick, None] == faces.people[None, pick]


def told_apart(cosine: Tensor, same: Tensor) -> dict[str, float]:
    """Mean cosines, of what `similarities` gives, of two frames of one person, "own", and of two people's,
    "others"."""
    # A frame is as itself whatever was learned, and of many people there are few frames each.
    pairs = same & ~torch.eye(len(same), dtype=torch.bool)
    return {"own": cosine[pairs].mean().item(), "others": cosine[~same].mean().item()}


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, faces = build(run, args)
    train(run, state, partial(faces.draw, seed=args.seed), step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.motion.train_identity"))
