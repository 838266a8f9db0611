"""One run of the method: what it reads, its speakers, and the steps that take them through the stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import MediaError, NoFaceError
from ..face.choice import choice_files, word_of
from ..face.track import FaceTrack
from ..files import stamp
from ..media.arranged import part_of
from ..media.audio import Speech
from ..media.clip import Clip
from ..media.mixed import MixedSpeech
from ..media.picture import Picture
from ..media.source import clip_files, open_clip
from ..media.timeline import Timeline
from ..memory import peak_memory_mb
from ..motion.emotion import Identity
from ..motion.generate import MotionOptions
from .checks import LipWatch, check_track
from .journal import Journal, files_sha256
from .model import LipSync
from .rendered import Edit, RenderedClip
from .report import Report
from .speakers import Voice, check_apart
from .stages import Progress

# Of an emotional reference so much is looked at.
REFERENCE_S = 30.0


@dataclass(frozen=True, eq=False)
class Sources:
    """What a run reads. clip: the open video; voices: who says what in it; emotion: the file of another face
    whose expression theirs take on, or None."""

    clip: Clip
    voices: list[Voice]
    emotion: str | Path | None

    @property
    def files(self) -> list[Path]:
        """All of its files."""
        emotion = () if self.emotion is None else clip_files(self.emotion)
        return [*self.clip.files, *(path for voice in self.voices for path in voice.files), *emotion]

    @cached_property
    def sound(self) -> Speech:
        """All speeches at once."""
        return MixedSpeech.of([voice.speech for voice in self.voices])

    def stamps(self) -> dict[Path, tuple[int, int] | None]:
        """What tells of each file whether it was changed since."""
        return {path: stamp(path) for path in self.files}


@dataclass(frozen=True, eq=False)
class Run:
    """The steps of a run, in their order; what each finds and makes is kept in the voices and in the report.

    strict: whether a doubt is an error, at the end of the step that finds it.
    """

    model: LipSync
    sources: Sources
    timeline: Timeline
    options: MotionOptions
    report: Report
    strict: bool
    progress: Progress

    @property
    def voices(self) -> list[Voice]:
        """Who says what."""
        return self.sources.voices

    def facts(self, sync_mode: str) -> dict[str, str]:
        """What decides what is drawn, by the word the user knows it by."""
        model, clip = self.model, self.sources.clip
        speeches = [[] if v.speech.path is None else [v.speech.path] for v in self.voices]
        recogniser, emotion = model.reader.recogniser, self.sources.emotion
        facts = {
            "video": f"{files_sha256(clip.files)} {float(clip.fps)}",
            "speech": " ".join(map(files_sha256, speeches)),
            "model": " ".join(model.hashes.values()),
            "renderer": model.renderer.name,
            "device or dtype": f"{model.device} {model.dtypes}",
            "version of MyTalk": __version__,
            "face": " ".join(f"{word_of(v.who)} {files_sha256(choice_files(v.who))}" for v in self.voices),
            "recognition": files_sha256([] if recogniser is None else [recogniser.path]),
            "emotion": files_sha256([] if emotion is None else clip_files(emotion)),
            "sync mode": sync_mode,
        }
        return facts | {name: str(value) for name, value in asdict(self.options).items()}

    def track(self, journal: Journal) -> None:
        """Find the faces of all speakers, in one pass. Raises ValueError where two are one person."""
        clip = self.sources.clip

        @cache
        def chosen() -> list[FaceTrack]:
            faces = self.model.track(clip, self.progress)
            tracks = [self.model.choose(clip, faces, voice.who) for voice in self.voices]
            # Before any is kept: another choice is to find no run of this one.
            check_apart(self.voices, tracks)
            return tracks

        def track_of(number: int) -> FaceTrack:
            return chosen()[number]

        with self.report.timed("landmarks"):
            for number, voice in enumerate(self.voices):
                voice.track = journal.track(partial(track_of, number), number)
            for voice in self.voices:
                self.report.note(check_track(voice.track, clip), self.strict, voice.name)

    def speak(self, journal: Journal) -> None:
        """Make the motion of each speaker."""
        with self.report.timed("motion"):
            emotion = self.sources.emotion
            identity = None if emotion is None else emotional_reference(self.model, emotion)
            given = self.timeline, self.options, identity, self.progress
            for number, voice in enumerate(self.voices):
                speak = partial(self.model.speak, voice.speech, voice.track, *given)
                voice.motion = journal.motion(speak, number)
                self.report.note(voice.check_motion(self.timeline), self.strict, voice.name)

    def draw(self) -> RenderedClip:
        """The clip with the new lips of all speakers, drawn when it is read."""
        drawn = None
        with self.report.timed("references"):
            for voice in self.voices:
                own = self.model.draw(self.sources.clip, voice.track, voice.motion, self.timeline)
                drawn = voice.drawn = replace(own, beside=drawn)
                alone = len(self.voices) == 1
                voice.watch = LipWatch(self.model.reader.mesh, drawn.track, drawn.targets, alone)
            for voice in self.voices:
                self.report.note(voice.check_pictures(), self.strict, voice.name)
        assert drawn is not None  # somebody speaks
        return drawn

    def see(self, edit: Edit, picture: Picture) -> None:
        """Let each speaker's watch see a frame of the result."""
        for voice in self.voices:
            voice.watch.see(edit, picture)

    def check_result(self) -> None:
        """Whether the lips of all speakers moved as intended, once every frame was seen."""
        for voice in self.voices:
            self.report.note(voice.watch.check(), self.strict, voice.name)

    def sum_up(self, lost: Sequence[str]) -> None:
        """Count what was done, for the report; lost: a line for each thing that the output does not keep."""
        report, voices = self.report, self.voices
        shown = [voice.drawn.track for voice in voices]
        with_face = int(np.any([track.present for track in shown], axis=0).sum())
        report.count(len(self.timeline), with_face, voices[0].watch.partial)
        report.duration_s = round(self.timeline.duration_s, 3)
        report.shots = len(np.unique(shown[-1].shots))
        report.speakers = [voice.facts for voice in voices]
        report.peak_memory_mb = peak_memory_mb()
        own = [line for voice in voices for line in voice.warnings]
        report.warnings = [*self.timeline.warnings, *own, *report.doubts, *lost]


def emotional_reference(model: LipSync, path: str | Path) -> Identity:
    """The largest face in the first 30 s of a video or picture, for `LipSync.speak`. Raises NoFaceError where
    there is none, FileNotFoundError and MediaError."""
    clip = open_clip(path)
    if clip.duration_s > REFERENCE_S:
        clip = part_of(clip, 0, REFERENCE_S)
    try:
        return model.identify(model.track(clip).choose("largest"))
    except NoFaceError as error:
        raise NoFaceError(f"the emotional reference {path} must show a face: {error}") from error


def check_unchanged(before: dict[Path, tuple[int, int] | None]) -> None:
    """Raises MediaError for a file whose stamp is no longer what it was."""
    changed = [path for path, known in before.items() if stamp(path) != known]
    if changed:
        raise MediaError(
            f"{changed[0]} was changed while it was read, which is no source to go by: run it again"
        )
