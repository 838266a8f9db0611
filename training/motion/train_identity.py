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

from mytalk_core.models.preset import Preset
from mytalk_core.motion.identity import ArcFaceHead, IdentityConfig, IdentityExtractor
from mytalk_core.motion.person import MOUTH_CORNERS, identity_channels
from mytalk_core.program import in_one_line

from ..loop.checkpoints import TrainingState, averaged
from ..loop.loop import Run, add_arguments, descend, train
from ..loop.order import DATA, Draws
from .data import RawClip, choose_few, hold_out, read_clips

# As large as the face mesh's own noise, canonical px.
JITTER_PX = 0.4
# Frames whose similarities are compared in validation.
COMPARED = 1000


@dataclass(frozen=True)
class Faces:
    """Frontal landmarks (B,N,2) canonical px, and their person's number (B,)."""

    landmarks: Tensor
    people: Tensor

    def draw(self, samples: list[int], seed: int) -> Faces:
        """The frames that a seed gives these sample numbers."""
        place = Draws(seed, DATA, samples).uniform() * len(self.people)
        rows = place.long().clamp(max=len(self.people) - 1)
        return Faces(self.landmarks[rows], self.people[rows])

    def to(self, device: torch.device | str) -> Faces:
        """The frames on a device."""
        return Faces(self.landmarks.to(device), self.people.to(device))


class Recogniser(nn.Module):
    """The extractor and its training head: ArcFace's loss as one forward pass."""

    def __init__(self, extractor: IdentityExtractor, head: ArcFaceHead) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head

    def forward(self, landmarks: Tensor, people: Tensor) -> Tensor:
        """Landmarks (B,N,2) canonical px of people (B,) -> a scalar."""
        return self.head(self.extractor(identity_channels(landmarks)), people)


@dataclass(kw_only=True)
class State(TrainingState):
    """The extractor's network as `Recogniser`; jitter_px: noise put on landmarks; held: clips kept from
    training."""

    config: IdentityConfig
    jitter_px: float
    held: list[RawClip]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # The paper's rate, 1e-6, is for 100 epochs of 148 hours.
    add_arguments(
        parser, steps=3000, batch=256, lr=1e-3, schedule="cosine", warmup=100, ema=0.99, overfit_loss=0.1
    )
    add = parser.add_argument
    add("--preset", help="paper: sizes and landmark layout are the preset's")
    add("--hidden", type=int, default=256)
    add("--layers", type=int, default=4)
    add("--embedding", type=int, default=128)
    return parser.parse_args(argv)


def build(run: Run) -> tuple[State, Faces]:
    """Data and model of a run."""
    args = run.args
    sizes = Preset.load(args.preset).identity if args.preset else None
    layout = sizes.landmark_layout if sizes else None
    clips = read_clips(args.dataset, layout)
    known, held = hold_out(clips)
    if args.overfit is not None:
        known = held = choose_few(known, args.overfit)
    people = sorted({clip.identity for clip in known})
    faces = frames_of(known, people)
    channels = 2 * faces.landmarks.shape[1]
    config = sizes or IdentityConfig(channels, known[0].layout, args.hidden, args.layers, args.embedding)
    head = ArcFaceHead(config.embedding, len(people), margin=0.3, scale=30.0)
    state = State(
        networks={"recogniser": run.network(Recogniser(IdentityExtractor(config), head))},
        config=config,
        jitter_px=JITTER_PX if args.overfit is None else 0.0,
        held=held,
    )
    return state, faces


def frames_of(clips: list[RawClip], people: list[str]) -> Faces:
    """Every third frame that shows the face."""
    landmarks, numbers = [], []
    for clip in clips:
        width = np.linalg.norm(clip.rest[MOUTH_CORNERS[0]] - clip.rest[MOUTH_CORNERS[1]])
        shapes = clip.rest + clip.displacement[clip.present][::3] * width
        landmarks.append(torch.from_numpy(shapes[..., :2].astype(np.float32)))
        numbers.append(torch.full((len(shapes),), people.index(clip.identity)))
    return Faces(torch.cat(landmarks), torch.cat(numbers))


def step(state: State, batch: Faces, draws: Draws, accelerator: Accelerator) -> dict[str, Tensor]:
    """One step on frames jittered like a mesh's own noise: its loss. Raises FloatingPointError as `descend`
    does."""
    network = state.networks["recogniser"]
    network.module.train()
    noise = draws.normal(*batch.landmarks.shape[1:]).to(batch.landmarks)
    with accelerator.autocast():
        loss = network.module(batch.landmarks + state.jitter_px * noise, batch.people).float()
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
    run.board.add_image("similarity", cosine.clamp(0, 1)[None], state.step)
    return {"own": cosine[same].mean().item(), "others": cosine[~same].mean().item()}


@torch.no_grad()
def similarities(extractor: IdentityExtractor, faces: Faces) -> tuple[Tensor, Tensor]:
    """Cosines (M,M) of some frames' embeddings, in order of person, and whether two are of one person."""
    pick = torch.randperm(len(faces.people), generator=torch.Generator().manual_seed(0))[:COMPARED]
    pick = pick[faces.people[pick].argsort(stable=True)]
    embeddings = extractor(identity_channels(faces.landmarks[pick]))
    return embeddings @ embeddings.T, faces.people[pick, None] == faces.people[None, pick]


def main() -> None:
    run = Run(parse())
    state, faces = build(run)
    train(run, state, partial(faces.draw, seed=run.args.seed), step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.motion.train_identity"))
