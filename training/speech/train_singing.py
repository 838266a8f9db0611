"""Train the head that tells singing over music from music (`mytalk_core/speech/singing.py`).

    python -m mytalk_training.speech.train_singing CLIPS/manifest.jsonl --music FOLDER -o OUT

Voices are speech of the manifest's training clips, where the voice detector is sure of it, most of it under
music or noise; not voices are that music alone, noises, chords and beats that are made here, and every sound
file in FOLDER. Clips whose sound may be music are left out (--leave-out, beginnings of their ids), and give
the figures at the end: the share of their frames that is taken for a voice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.errors import MediaError
from mytalk_core.json_text import read_rows, text_field
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.program import in_one_line
from mytalk_core.speech.activity import at_heard_level, band_level_db, voice_by_frame
from mytalk_core.speech.features import FEATURES_PER_FRAME, SAMPLES_PER_FRAME, SpeechEncoder
from mytalk_core.speech.singing import LAYER, SingingDetector, SingingHead, pooled

SECONDS = 6
# Of voice over what is under it.
LOUDER_DB = (-6.0, 14.0)
SURE = 0.5


@dataclass(frozen=True)
class Sound:
    """A piece of sound (S,), and in which motion frames (F,) a voice is heard; both empty where none."""

    mono_16k: np.ndarray
    voice: np.ndarray


def tune(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Chords of fading or held notes with a melody, with a beat or without: (S,)."""
    beat, held, drums = rng.uniform(0.35, 0.7), rng.uniform(0, 6), rng.random() < 0.7
    times = np.arange(int(beat * MODEL_RATE_HZ)) / MODEL_RATE_HZ
    weights = rng.uniform(0.1, 1, 6) / np.arange(1, 7)
    bars: list[np.ndarray] = []
    while len(bars) * beat < seconds:
        root = 110 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9]) / 12)
        steps = [1, 2 ** (4 / 12), 2 ** (7 / 12), 2 ** (rng.choice([12, 14, 16, 19]) / 12)]
        notes = [
            weights[harmonic] * np.sin(2 * np.pi * root * step * (harmonic + 1) * times)
            for step in steps
            for harmonic in range(6)
        ]
        bar = np.sum(notes, 0) * np.exp(-held * times) * np.minimum(1, times / 0.01)
        if drums:
            bar = bar + rng.uniform(1, 4) * rng.normal(size=len(times)) * np.exp(-50 * times)
        bars.append(bar)
    return np.concatenate(bars)[: int(seconds * MODEL_RATE_HZ)]


def noise(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Noise of any colour, steady, in gusts or in clicks: (S,)."""
    count = int(seconds * MODEL_RATE_HZ)
    spectrum = np.fft.rfft(rng.normal(size=count))
    sound = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** rng.uniform(0, 1), count)
    kind = rng.choice(["steady", "gusts", "clicks"])
    if kind == "gusts":
        edges = np.arange(0, count + 4000, 4000)
        sound = sound * np.interp(np.arange(count), edges, rng.uniform(0, 1, len(edges)))
    elif kind == "clicks":
        struck = np.zeros(count)
        struck[rng.integers(0, count, int(4 * seconds))] = 1
        sound = sound * np.convolve(struck, np.exp(-np.arange(1600) / 200))[:count]
    return sound


def at_level(sound: np.ndarray, frames: int) -> np.ndarray:
    """The sound (S,) as the detectors hear it."""
    return at_heard_level(sound.astype(np.float32), band_level_db(sound.astype(np.float32), frames))


def sounds(
    rng: np.random.Generator, clips: list[Path], music: list[np.ndarray], made: int
) -> Iterator[Sound]:
    """Everything to learn from."""
    frames = int(SECONDS * MODEL_RATE_HZ) // SAMPLES_PER_FRAME
    count = frames * SAMPLES_PER_FRAME
    real = [
        piece[start : start + count]
        for piece in music
        for start in range(0, max(1, len(piece) - count // 2), count)
    ]
    beds = [tune(rng, SECONDS) for _ in range(made)] + [noise(rng, SECONDS) for _ in range(made)]
    for bed in [*beds, *real]:
        yield Sound(at_level(np.resize(bed, count), frames), np.zeros(frames, bool))
    for path in clips:
        speech = Speech.open(path).mono_16k[:count]
        if len(speech) < count // 2:
            continue
        heard = len(speech) // SAMPLES_PER_FRAME
        voice = voice_by_frame(at_level(speech, heard), heard) > SURE
        options = beds if rng.random() < 0.5 or not real else real
        bed = np.resize(options[rng.integers(len(options))], len(speech))
        louder = 10 ** (rng.uniform(*LOUDER_DB) / 20)
        mixed = speech + bed * speech.std() / max(louder * bed.std(), 1e-6)
        yield Sound(at_level(speech if rng.random() < 0.2 else mixed, heard), voice)


def fit(head: SingingHead, features: Tensor, voice: Tensor, seed: int) -> None:
    """Logistic regression, voices and not voices weighing the same, with few weights far from 0."""
    head.mean.copy_(features.mean(0))
    head.scale.copy_(1 / features.std(0).clamp_min(1e-3))
    torch.nn.init.zeros_(head.linear.weight)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.1)
    generator = torch.Generator().manual_seed(seed)
    weight = (voice == 0).sum() / voice.sum()
    for _ in range(400):
        rows = torch.randint(len(features), (2048,), generator=generator)
        loss = F.binary_cross_entropy_with_logits(head(features[rows]), voice[rows], pos_weight=weight)
        loss = loss + 1e-3 * head.linear.weight.abs().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def open_music(folder: Path | None) -> list[np.ndarray]:
    """Every sound file under a folder that is longer than half a second."""
    pieces = []
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix.lower() in (".mp3", ".wav", ".ogg", ".flac"):
            try:
                pieces.append(Speech.open(path).mono_16k[: 120 * MODEL_RATE_HZ])
            except MediaError as error:
                print(f"left out: {error}")
    return [piece for piece in pieces if len(piece) > MODEL_RATE_HZ // 2]


def read_manifest(manifest: Path, leave_out: tuple[str, ...]) -> tuple[list[dict], list[dict]]:
    """Rows of the training split that are left out, by beginnings of their ids, and of those with speech in
    sync. Raises ValueError where there is none of the latter."""
    rows = []
    for where, row in read_rows(manifest):
        file = text_field(row, "file", where)
        if file is None:
            raise ValueError(f"{where}: a JSON object with `file` was required")
        if row.get("split") in (None, "train"):
            rows.append(row | {"id": text_field(row, "id", where) or Path(file).stem})
    songs = [row for row in rows if row["id"].startswith(leave_out)]
    spoken = [row for row in rows if row not in songs and row.get("sync") == "yes"]
    if not spoken:
        raise ValueError(
            f"{manifest}: clips of the split train whose `sync` is yes were required; there are none"
        )
    return songs, spoken


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("manifest", type=Path, help="clips with speech, as prepare has them")
    parser.add_argument("--music", type=Path, help="folder of music and noises without a voice")
    parser.add_argument("--clips", type=int, default=60, help="how many clips, drawn from the seed")
    parser.add_argument("--made", type=int, default=40, help="tunes that are made, and noises")
    parser.add_argument(
        "--leave-out",
        nargs="*",
        default=["meme", "lp_", "ai_"],
        help="beginnings of ids not used",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw, the mixtures and the first weights")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of singing.safetensors")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    songs, spoken = read_manifest(args.manifest, tuple(args.leave_out))
    chosen = [spoken[i] for i in rng.permutation(len(spoken))[: args.clips]]
    encoder = SpeechEncoder.from_pretrained("mini", layers=(LAYER,))
    features, voices = [], []
    clips = [args.manifest.parent / row["file"] for row in chosen]
    for sound in sounds(rng, clips, open_music(args.music), args.made):
        found = pooled(encoder.encode(sound.mono_16k, FEATURES_PER_FRAME * len(sound.voice))[:, 0])
        # Of a clip with a voice only where it is heard: what is between may be breath or an echo.
        kept = (
            torch.from_numpy(sound.voice) if sound.voice.any() else torch.ones(len(found), dtype=torch.bool)
        )
        features.append(found[kept])
        voices.append(torch.full((int(kept.sum()),), float(sound.voice.any())))
    head = SingingHead(encoder.dim)
    fit(head, torch.cat(features), torch.cat(voices), args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(head.eval().state_dict(), args.out / "singing.safetensors", metadata={"format": "pt"})
    detector = SingingDetector(encoder, head)
    for row in songs:
        mono = Speech.open(args.manifest.parent / row["file"]).mono_16k[: 12 * MODEL_RATE_HZ]
        frames = len(mono) // SAMPLES_PER_FRAME
        share = (detector.probabilities(at_level(mono, frames), frames) > 0.9).mean()
        print(f"{row['id']}: {share:.0%} of the frames")


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.speech.train_singing"))
