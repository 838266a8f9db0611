"""Train the network that hears on which sounds lips meet (`mytalk_core/speech/closures.py`).

    python -m mytalk_training.speech.train_closures DATASET -o OUT

p, b and m in the speech of a dataset that `dataset.prepare` wrote are found by PocketSphinx (the package
`pocketsphinx`, needed for this only; it knows English), whatever is spoken: the sounds are much the same. One
person in eight, by name, is kept from training and gives the figures at the end.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.evaluation.networks.phones import PhoneRecogniser, find_recogniser
from mytalk_core.program import in_one_line
from mytalk_core.speech.closures import LAYERS, ClosureHead
from mytalk_core.speech.features import SAMPLES_PER_FRAME, SpeechEncoder

from ..loop.people import hold_out
from ..motion.data import RawClip, read_clips
from ..motion.kept_features import Encoder, keeping

FEATURES_HZ = SpeechEncoder.rate_hz
HELD_EVERY = 8
BATCH, FEATURES = 16, 100
STEPS, LEARNING_RATE, DECAY = 900, 2e-3, 0.1
HIDDEN = 0.3


@dataclass(frozen=True)
class Spoken:
    """A clip's speech: features (F,L,D) float16, and whether each lies in a p, b or m (F,)."""

    features: Tensor
    meets: Tensor


def read(clip: RawClip, encoder: Encoder, recogniser: PhoneRecogniser) -> Spoken:
    """What there is to learn from a clip."""
    count = 2 * (len(clip.speech) // SAMPLES_PER_FRAME)
    moments = np.arange(count) / FEATURES_HZ
    meets = np.zeros(count, bool)
    for start, end in recogniser.bilabial_times(clip.speech.numpy()):
        meets |= (moments >= start) & (moments < end)
    features = encoder.encode(clip.speech, count).half()
    return Spoken(features, torch.from_numpy(meets).float())


def step(head: ClosureHead, clips: list[Spoken], generator: torch.Generator) -> Tensor:
    """The loss of a batch of windows."""
    features, meets = [], []
    for index in torch.randint(len(clips), (BATCH,), generator=generator):
        clip = clips[index]
        start = int(torch.randint(max(1, len(clip.meets) - FEATURES), (), generator=generator))
        rows = slice(start, start + FEATURES)
        missing = FEATURES - len(clip.meets[rows])
        features.append(F.pad(clip.features[rows].float(), (0, 0, 0, 0, 0, missing)))
        # What is not there is not counted.
        meets.append(F.pad(clip.meets[rows], (0, missing), value=-1))
    inputs, wanted = torch.stack(features), torch.stack(meets)
    # Some channels are hidden through a whole window, so that none alone decides.
    hidden = torch.rand(BATCH, 1, *inputs.shape[-2:], generator=generator) < HIDDEN
    logits = head(torch.where(hidden, head.mean.unflatten(0, inputs.shape[-2:]), inputs))
    return F.binary_cross_entropy_with_logits(logits[wanted >= 0], wanted[wanted >= 0])


def fit(head: ClosureHead, clips: list[Spoken], steps: int, seed: int) -> None:
    """Logistic regression by a small network, features standardised."""
    every = torch.cat([clip.features.flatten(1).float() for clip in clips])
    head.mean.copy_(every.mean(0))
    head.scale.copy_(1 / every.std(0).clamp_min(1e-3))
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(steps), desc="training"):
        optimizer.zero_grad()
        step(head, clips, generator).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def judge(head: ClosureHead, clips: list[Spoken]) -> str:
    """How well p, b and m are told from other sounds in clips kept from training, as a line."""
    if not clips:
        return f"no figures: of fewer than {HELD_EVERY // 2 + 1} people nobody is kept from training"
    sure = torch.cat([head(clip.features.float()).sigmoid() for clip in clips])
    meets = torch.cat([clip.meets for clip in clips]) > 0
    found = sure > 0.5
    right = float((found & meets).sum())
    precision, recall = right / max(1, int(found.sum())), right / max(1, int(meets.sum()))
    share = float(meets.float().mean())
    return f"of {len(meets)} moments {share:.1%} in p, b, m; precision {precision:.0%}, recall {recall:.0%}"


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder that dataset.prepare wrote")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of closures.safetensors")
    parser.add_argument("--keep-features", type=Path, help="folder that keeps speech features between runs")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the optimizer")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and the first weights")
    args = parser.parse_args()
    recogniser = find_recogniser()
    if recogniser is None:
        parser.error("the package pocketsphinx is needed: python -m pip install pocketsphinx")
    torch.manual_seed(args.seed)
    bundled = SpeechEncoder.from_pretrained("mini", layers=LAYERS)
    encoder = keeping(args.keep_features, bundled)
    groups = hold_out(read_clips(args.dataset), HELD_EVERY)
    clips, held = (
        [read(clip, encoder, recogniser) for clip in tqdm(group, desc="phones")] for group in groups
    )
    head = ClosureHead(bundled.dim)
    fit(head, clips, args.steps, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.contiguous() for name, value in head.state_dict().items()},
        args.out / "closures.safetensors",
        metadata={"encoder": bundled.sha256},
    )
    print(judge(head.eval(), held))


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.speech.train_closures"))
