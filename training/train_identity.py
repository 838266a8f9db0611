"""Train the identity extractor on landmarks with the ArcFace loss (paper section 3.3).

    python -m training.train_identity DATASET -o OUT

Every frame of a prepared clip is a sample, its class the person. OUT gets config.json and model.safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import Tensor

from mytalk_core.motion.identity import ArcFaceHead, IdentityConfig, IdentityExtractor
from mytalk_core.motion.person import identity_channels
from mytalk_core.preset import Preset

from .motion_data import RawClip, hold_out, read_clip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument(
        "--lr", type=float, default=1e-3, help="the paper's 1e-6 is for 100 epochs of 148 hours"
    )
    parser.add_argument("--preset", help="paper: sizes and landmark layout are the preset's")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--embedding", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def frames_of(clips: list[RawClip], people: list[str]) -> tuple[Tensor, Tensor]:
    """All frames' frontal landmarks (M,N,2) canonical px, and their person's number (M,)."""
    landmarks, numbers = [], []
    for clip in clips:
        width = np.linalg.norm(clip.rest[61] - clip.rest[291])
        shapes = clip.rest + clip.displacement[clip.present][::3] * width
        landmarks.append(torch.from_numpy(shapes[..., :2].astype(np.float32)))
        numbers.append(torch.full((len(shapes),), people.index(clip.identity)))
    return torch.cat(landmarks), torch.cat(numbers)


def step(
    model: IdentityExtractor,
    head: ArcFaceHead,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
) -> float:
    """One optimizer step on (landmarks, people); the loss. Landmarks are jittered like a mesh's own noise."""
    landmarks, people = batch
    noisy = landmarks + 0.4 * torch.randn_like(landmarks)
    loss = head(model(identity_channels(noisy)), people)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def separation(model: IdentityExtractor, clips: list[RawClip]) -> tuple[float, float]:
    """Mean cosine of unseen people's frames: with their own clip's frames, and with other people's."""
    people = sorted({clip.identity for clip in clips})
    landmarks, numbers = frames_of(clips, people)
    pick = torch.randperm(len(landmarks), generator=torch.Generator().manual_seed(0))[:1000]
    embeddings = model(identity_channels(landmarks[pick]))
    cosine, same = embeddings @ embeddings.T, numbers[pick, None] == numbers[None, pick]
    return cosine[same].mean().item(), cosine[~same].mean().item()


def main() -> None:
    args = parse()
    set_seed(args.seed)
    sizes = Preset.load(args.preset).identity if args.preset else None
    layout = sizes.landmark_layout if sizes else None
    clips = [read_clip(path, layout) for path in sorted(args.dataset.glob("*.safetensors"))]
    train, held = hold_out(clips)
    people = sorted({clip.identity for clip in train})
    landmarks, numbers = frames_of(train, people)
    channels = 2 * landmarks.shape[1]
    config = sizes or IdentityConfig(channels, train[0].layout, args.hidden, args.layers, args.embedding)
    model = IdentityExtractor(config)
    head = ArcFaceHead(config.embedding, len(people), margin=0.3, scale=30.0)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=args.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    for number in range(args.steps):
        pick = torch.randint(len(landmarks), (args.batch,))
        loss = step(model, head, optimizer, (landmarks[pick], numbers[pick]))
        schedule.step()
        if (number + 1) % 500 == 0:
            model.eval()
            own, others = separation(model, held)
            print(f"step {number + 1}: loss {loss:.3f}, held-out people: own {own:.3f}, others {others:.3f}")
            model.train()
    model.eval().save_pretrained(args.out, torch.float16)


if __name__ == "__main__":
    main()
