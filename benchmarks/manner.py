"""How far the mouth opens, with the model's manner and with this person's own, learnt from other seconds.

People of a manifest, in an order drawn from a seed: each clip's own speech, lag out, drives the motion model
once. The gain of each half (`Manner`) is learnt from the other half of the clip: nothing is measured on the
seconds it was learnt from. Spread: generated over real deviation of the mouth's opening; kept: halves in
which it is 0.85 to 1.15; velocity error: as in benchmarks/motion.py, of the pose-free face. A third gain, by
regression of the real opening on the generated one, needs synced speech of the source.

    python benchmarks/manner.py CLIPS/manifest.jsonl --people 30 --keep DIR -o benchmarks/results/manner.md
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from manifest import rows_of
from mytalk_training.dataset.samples import shift
from tables import measured_here

from mytalk_core.evaluation.metrics.lips import KEPT_SPREAD, opening_jitter, velocity_distance
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.arranged import part_of
from mytalk_core.media.file_clip import FileClip
from mytalk_core.motion.amplitude import amplified
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.generate import MotionModel, embed_identity
from mytalk_core.motion.manner import LEAST_GAIN, MOST_GAIN, Manner
from mytalk_core.motion.person import RATE_HZ, Person, interocular, opening_ratio, remove_pose
from mytalk_core.motion.sampler import EncodedSpeech, sample_motion
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.pipeline.stages import track as read_faces
from mytalk_core.speech.activity import speech_presence
from mytalk_core.speech.features import SpeechFeatures

LEAST_SECONDS, SECONDS, STEPS = 10, 12, 5


@dataclass(frozen=True)
class Sampled:
    """One clip: channels (F,D) as sampled, the real face's displacement (F,N,3), rest (N,3), speech."""

    channels: torch.Tensor
    displacement: np.ndarray
    rest: np.ndarray
    mono_16k: np.ndarray

    @property
    def mouth_width(self) -> float:
        """As `Person.mouth_width`."""
        return Person(self.rest, "mesh478").mouth_width

    @property
    def real(self) -> np.ndarray:
        """The real face without its pose (F,N,3)."""
        return self.rest + self.displacement * self.mouth_width

    @property
    def presence(self) -> np.ndarray:
        """(F,) as `speech_presence`."""
        return speech_presence(self.mono_16k, len(self.channels))

    def generated(self, space: LandmarkSpace, gain: float = 1.0) -> np.ndarray:
        """The generated face without pose (F,N,3)."""
        channels = amplified(space, self.channels) * torch.from_numpy(gain * self.presence)[:, None]
        return self.rest + space.decode_lower(channels) * self.mouth_width


Chooser = Callable[[Sampled, np.ndarray, slice, slice], float]


def models_own(clip: Sampled, generated: np.ndarray, learn: slice, use: slice) -> float:
    """No gain."""
    return 1.0


def persons_own(clip: Sampled, generated: np.ndarray, learn: slice, use: slice) -> float:
    """What `--manner own` does, the source being the other half."""
    shown = opening_ratio(clip.real[learn])
    speaking = opening_ratio(generated[use])[clip.presence[use] == 1]
    source = Manner.of(shown, len(shown) / RATE_HZ)
    return source.gain(Manner.of(speaking, len(speaking) / RATE_HZ))


def by_regression(clip: Sampled, generated: np.ndarray, learn: slice, use: slice) -> float:
    """The real opening regressed on the generated one, both of the other half."""
    made, real = opening_ratio(generated[learn]), opening_ratio(clip.real[learn])
    made = made - made.mean()
    return float(np.clip(made @ (real - real.mean()) / (made @ made), LEAST_GAIN, MOST_GAIN))


MANNERS: dict[str, Chooser] = {
    "model": models_own,
    "own": persons_own,
    "by regression on own speech": by_regression,
}


def measure(space: LandmarkSpace, clip: Sampled, choose: Chooser) -> list[tuple[float, ...]]:
    """Of both halves: gain, spread, r, velocity error, jitter over real."""
    half, rows = len(clip.channels) // 2, []
    plain, real = clip.generated(space), clip.real
    for learn, use in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        gain = choose(clip, plain, learn, use)
        made, truth = clip.generated(space, gain)[use][..., :2], real[use][..., :2]
        openings = opening_ratio(made), opening_ratio(truth)
        points = space.lower_points
        unit = float(interocular(clip.rest[:, :2]))
        velocity = float(velocity_distance(truth[:, points], made[:, points], unit).mean())
        r = float(np.corrcoef(*openings)[0, 1])
        jitter = (opening_jitter(openings[0]) or np.nan) / (opening_jitter(openings[1]) or np.nan)
        rows.append((gain, float(openings[0].std() / openings[1].std()), r, velocity, jitter))
    return rows


def sample(model: MotionModel, video: Path, lag_s: float) -> Sampled:
    """The first seconds of a clip, spoken by the model."""
    clip = FileClip.open(video)
    shown = part_of(clip, 0, min(SECONDS, clip.duration_s))
    track = read_faces(load_face_reader(), shown).choose("largest")
    mono = shift(clip.speech().mono_16k, lag_s)
    frames = int(min(track.times_s[-1], len(mono) / 16_000) * RATE_HZ)
    mono = mono[: frames * 640]
    person = model.person_of(track)
    displacement = remove_pose(track, person, 0, frames).displacement
    channels = sample_motion(
        model.denoiser,
        PROCESSES[model.denoiser.config.process](),
        EncodedSpeech(model.denoiser, SpeechFeatures(model.speech_encoder, mono, 2 * frames)),
        model.space.encode_upper(displacement),
        embed_identity(model, person),
        steps=STEPS,
        temperature=0.3,
    )
    return Sampled(channels.cpu(), displacement, person.rest, mono)


def kept(path: Path, make: Callable[[], Sampled]) -> Sampled:
    """What a file keeps, made where there is none."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, ch=made.channels, disp=made.displacement, rest=made.rest, mono=made.mono_16k)
    with np.load(path) as found:
        return Sampled(torch.from_numpy(found["ch"]), found["disp"], found["rest"], found["mono"])


def choose_people(manifest: Path, people: int, seed: int) -> list[dict]:
    """The first long enough, synced clip of each person, `people` of them in an order drawn from the seed."""
    first: dict[str, dict] = {}
    for row in rows_of(manifest, "train"):
        if row["sync"] == "yes" and row["seconds"] >= LEAST_SECONDS:
            first.setdefault(row["identity"], row)
    names = sorted(first)
    random.Random(seed).shuffle(names)
    return [first[name] for name in names[:people]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--keep", type=Path, required=True, help="folder that keeps samples between runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    model = MotionModel.from_pretrained(args.model)
    clips = []
    for row in choose_people(args.manifest, args.people, args.seed):
        video, lag_s = args.manifest.parent / row["file"], (row["sync_lag_ms"] or 0) / 1000
        clips.append(kept(args.keep / f"{row['id']}.npz", lambda v=video, s=lag_s: sample(model, v, s)))
        print(row["id"], len(clips), flush=True)
    lines = [
        "# This person's manner",
        "",
        f"{measured_here()}, model {Path(args.model).name} (motion "
        f"{model.hashes['motion'][:12]}), {len(clips)} people of the training split in the order of seed "
        f"{args.seed}, {SECONDS} s of each at most, {STEPS} steps. `python benchmarks/manner.py`",
        "",
        "Each half of a clip is scaled by what the other half shows; means over the halves:",
        "",
        "| manner | spread | kept | error of log spread | r | velocity error, %/s | jitter | gains |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, choose in MANNERS.items():
        figures = np.array([half for clip in clips for half in measure(model.space, clip, choose)])
        gain, spread, r, velocity, jitter = figures.T
        within = ((spread >= KEPT_SPREAD[0]) & (spread <= KEPT_SPREAD[1])).mean()
        error = np.abs(np.log(spread)).mean()
        lines.append(
            f"| {name} | {spread.mean():.2f} | {within:.0%} | {error:.3f} | {r.mean():.3f} "
            f"| {velocity.mean():.2f} | {jitter.mean():.2f} | {gain.min():.2f} to {gain.max():.2f} |"
        )
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
