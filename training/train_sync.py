"""Train the lip-sync expert on a folder that prepare.py wrote.

    python -m training.train_sync DATASET -o FOLDER [--space RUN/model/space]

FOLDER gets the expert and, in FOLDER/space, the landmark space whose channels it reads. Prints, on people
kept from training, how often the offset is found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from mytalk_core.evaluation.syncnet import SyncConfig, SyncExpert
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig
from mytalk_core.speech.features import SpeechEncoder

from .motion_data import TEMPI, MotionBatch, MotionData, RawClip, fit_space, hold_out, read_clip
from .train_motion import feature_statistics

WINDOW_FRAMES = 80


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--space", type=Path, help="folder of a motion model's LandmarkSpace; else fitted")
    parser.add_argument("--speech-encoder", default="mini", help="bundled name, folder or hub:OWNER/NAME")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--plain", action="store_true", help="no copies at other tempi: quicker, less robust")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def step(expert: SyncExpert, optimizer: torch.optim.Optimizer, batch: MotionBatch) -> float:
    """One optimizer step on true pairs; the loss in nats."""
    expert.train()
    loss = expert.loss(batch.x0, batch.features, batch.valid)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def validate(
    expert: SyncExpert, space: LandmarkSpace, clips: list[tuple[RawClip, Tensor]]
) -> dict[str, float]:
    """Over windows of `WINDOW_FRAMES`: share with the offset within one frame, mean confidence of true and
    of foreign pairs (another clip's speech)."""
    expert.eval()
    offsets, own, foreign = [], [], []
    for number, (clip, features) in enumerate(clips):
        channels = space.encode_lower(clip.displacement)
        other = clips[number - 1][1]
        for start in range(0, len(channels) - WINDOW_FRAMES + 1, WINDOW_FRAMES):
            frames, spoken = channels[start : start + WINDOW_FRAMES], slice(2 * start, None)
            score = expert.score(frames, features[spoken][: 2 * WINDOW_FRAMES])
            offsets.append(abs(score.offset_frames) <= 1)
            own.append(score.confidence)
            if len(other[spoken]) >= 2 * WINDOW_FRAMES:
                foreign.append(expert.score(frames, other[spoken][: 2 * WINDOW_FRAMES]).confidence)
    if not foreign:
        return {"windows": len(offsets)}
    figures = {"in_sync": np.mean(offsets), "confidence": np.mean(own), "foreign": np.mean(foreign)}
    return {key: round(float(value), 4) for key, value in figures.items()} | {"windows": len(offsets)}


def main() -> None:
    args = parse()
    set_seed(args.seed)
    clips = [read_clip(path) for path in sorted(args.dataset.glob("*.safetensors"))]
    if not clips:
        raise FileNotFoundError(f"{args.dataset} has no prepared clips: run python -m training.prepare first")
    train, held = hold_out(clips)
    space = LandmarkSpace.from_pretrained(args.space) if args.space else fit_space(train, SpaceConfig())
    encoder = SpeechEncoder.from_pretrained(args.speech_encoder)
    data = MotionData(train, space, encoder, args.seed, (1.0,) if args.plain else TEMPI)
    config = SyncConfig(
        motion=space.config.lower,
        landmark_layout=space.config.layout,
        speech_width=encoder.dim,
        speech_layers=encoder.layers,
    )
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    expert = SyncExpert(config)
    expert.set_feature_statistics(*feature_statistics(data))
    expert.to(accelerator.device)
    optimizer = torch.optim.AdamW(expert.parameters(), lr=args.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, args.steps)
    generator = torch.Generator().manual_seed(args.seed)
    mean = None
    for number in range(1, args.steps + 1):
        batch = data.draw(args.batch, args.frames, generator).to(accelerator.device)
        loss = step(expert, optimizer, batch)
        schedule.step()
        mean = loss if mean is None else 0.98 * mean + 0.02 * loss
        if number % 100 == 0:
            print(number, round(mean, 4), flush=True)
    expert.save_pretrained(args.out)
    space.save_pretrained(args.out / "space")
    held = [(clip, encoder.encode(clip.speech, 2 * len(clip.displacement))) for clip in held]
    print(validate(expert, space, held))


if __name__ == "__main__":
    main()
