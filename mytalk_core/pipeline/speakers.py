"""Who says what in a video: each speaker's face, motion and new lips, one beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from ..face.choice import FaceChoice, check_choice, choice_files, word_of
from ..face.track import FaceTrack
from ..media.audio import Speech
from ..media.timeline import Timeline
from ..motion.motion import Motion
from . import stages
from .checks import Check, LipWatch, check_motion, check_pictures
from .rendered import RenderedClip
from .report import face_warnings


@dataclass
class Voice:
    """Who says what, and what becomes of it."""

    who: FaceChoice
    speech: Speech
    name: str = ""
    track: FaceTrack = field(init=False)
    motion: Motion = field(init=False)
    drawn: RenderedClip = field(init=False)
    watch: LipWatch = field(init=False)

    @property
    def files(self) -> list[Path]:
        """What is read for it."""
        return [*choice_files(self.who), *([] if self.speech.path is None else [self.speech.path])]

    @property
    def facts(self) -> dict[str, str | int]:
        """For the report, once all is drawn."""
        return {
            "face": word_of(self.who),
            "speech": str(self.speech.path),
            "frames_with_face": int(self.drawn.track.present.sum()),
            "frames_edited": self.watch.edited,
        }

    @property
    def warnings(self) -> list[str]:
        """See `face_warnings`; of whom, where there are several."""
        lines = face_warnings(self.drawn.track, self.watch.edited, self.watch.partial)
        return [f"{self.name}: {line}" for line in lines] if self.name else lines

    def check_motion(self, timeline: Timeline) -> Check:
        """See `check_motion`."""
        return check_motion(self.motion, stages.on_timeline(self.track, timeline))

    def check_pictures(self) -> Check:
        """See `check_pictures`."""
        return check_pictures(self.drawn.references, self.track, self.drawn.covered, self.drawn.lent)


def voices_of(
    face: FaceChoice,
    speech: str | Path | None,
    speakers: Sequence[tuple[FaceChoice, str | Path]],
    save_motion: str | Path | None,
) -> list[Voice]:
    """Who says what. Raises ValueError unless there is either one speech or speakers, and for the motion of
    several in one file."""
    if (speech is None) == (not speakers):
        raise ValueError(
            "one speech, or speakers with a speech each, was required, but "
            f"{'neither' if speech is None else 'both'} arrived: give one of the two"
        )
    if speech is not None:
        return [Voice(check_choice(face), Speech.open(speech))]
    if face != "largest":
        raise ValueError(f"speakers say whose face is whose, but face {face!r} arrived too: leave it out")
    several = len(speakers) > 1
    if several and save_motion is not None:
        raise ValueError(
            f"one speaker was required for a file of the motion, but {len(speakers)} arrived: leave "
            f"{save_motion} out"
        )
    return [
        Voice(check_choice(who), Speech.open(path), f"speaker {who}" if several else "")
        for who, path in speakers
    ]


def check_apart(voices: list[Voice], tracks: list[FaceTrack]) -> None:
    """Raises ValueError where the tracks of two speakers are one person's."""
    for (voice, track), (other, its) in combinations(zip(voices, tracks, strict=True), 2):
        both = np.flatnonzero(track.present & its.present)
        if (track.landmarks[both] == its.landmarks[both]).all((1, 2)).any():
            raise ValueError(
                f"a face for each speaker was required, but {voice.name} and {other.name} are the same "
                "one: choose another, by number or place"
            )
