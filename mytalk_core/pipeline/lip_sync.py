"""The loaded model, and the whole method as one call: video and speech in, lip-synced video out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..appearance.renderer import WarpSettings
from ..appearance.renderers import LoadedRenderer, load_renderer
from ..errors import MediaError
from ..expert.scorer import ExpertScorer
from ..face.choice import Choice, Mask, Photo, Place, check_choice, choice_files
from ..face.track import Faces, FaceTrack
from ..face.tracker import FaceReader, load_face_reader
from ..files import check_outputs, replacing
from ..media.audio import Speech
from ..media.clip import Clip
from ..media.mixed import MixedSpeech
from ..media.picture import Picture
from ..media.source import open_clip
from ..media.timeline import Timeline, plan_timeline
from ..media.writer import VideoWriter
from ..memory import peak_memory_mb
from ..motion.generate import MotionModel, MotionOptions, embed_identity
from ..motion.motion import Motion
from . import stages
from .checks import Check, LipWatch, check_motion, check_pictures, check_track
from .choosing import choose
from .credentials import Credentials
from .device import choose_device, choose_dtype
from .journal import Journal, files_sha256
from .rendered import Edit, RenderedClip
from .stages import Progress
from .write import write


@dataclass(frozen=True, eq=False)
class LipSync:
    """Every network of both stages, loaded once; its methods are the stages.

    source, revision: where it came from; reader: the face networks; motion: stage one; renderer: stage two.
    """

    source: str | Path
    revision: str | None
    device: torch.device
    dtype: torch.dtype
    reader: FaceReader
    motion: MotionModel
    renderer: LoadedRenderer

    @staticmethod
    def from_pretrained(
        model: str | Path = "mini",
        renderer: str = "auto",
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        revision: str | None = None,
        recognition: str | Path | None = None,
    ) -> LipSync:
        """Load a bundled model by name, a folder, or hub:OWNER/NAME.

        renderer: see `load_renderer`; device, dtype: see `choose_device`, `choose_dtype`; the face networks
        and the identity extractor stay float32; revision: branch, tag or commit of a Hub repository;
        recognition: weights of face recognition, by which people are told apart, see `FaceRecogniser`.
        Raises ValueError for an argument, FileNotFoundError and WeightsError as `PretrainedModel` does.
        """
        device = choose_device(device)
        dtype = choose_dtype(dtype, device)
        return LipSync(
            source=model,
            revision=revision,
            device=device,
            dtype=dtype,
            reader=load_face_reader(device, recognition),
            motion=MotionModel.from_pretrained(model, revision, device, dtype),
            renderer=load_renderer(renderer, model, revision, device, dtype),
        )

    def with_renderer(self, renderer: str) -> LipSync:
        """The same networks, and another renderer, whose own network is loaded now."""
        drawing = load_renderer(renderer, self.source, self.revision, self.device, self.dtype)
        return replace(self, renderer=drawing)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network by name, for whoever moves, counts or frees them."""
        return {
            **self.reader.networks,
            **self.motion.networks,
            **self.renderer.networks,
        }

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights of each part of the model, as loaded."""
        return self.motion.hashes | self.renderer.hashes

    def track(self, clip: Clip, progress: Progress | None = None) -> Faces:
        """See `stages.track`."""
        return stages.track(self.reader, clip, progress)

    def choose(self, clip: Clip, faces: Faces, which: Choice = "largest") -> FaceTrack:
        """The person who is meant among a clip's faces, see `choosing.choose`."""

        def scorer() -> ExpertScorer:
            return ExpertScorer.from_pretrained(self.source, self.revision, self.device)

        return choose(self.reader, clip, faces, which, scorer)

    def identify(self, face: FaceTrack) -> torch.Tensor:
        """A face's identity condition (1,Di) for `speak`; another person's is an emotional reference."""
        return embed_identity(self.motion, self.motion.person_of(face))

    def speak(
        self,
        speech: Speech,
        face: FaceTrack,
        timeline: Timeline,
        options: MotionOptions | None = None,
        identity: torch.Tensor | None = None,
        progress: Progress | None = None,
    ) -> Motion:
        """See `stages.speak`."""
        return stages.speak(self.motion, speech, face, timeline, options, identity, progress)

    def draw(
        self,
        clip: Clip,
        face: FaceTrack,
        motion: Motion | None,
        timeline: Timeline,
        *,
        lips: tuple[Clip, FaceTrack] | None = None,
        settings: WarpSettings | None = None,
        speech: Speech | None = None,
    ) -> RenderedClip:
        """See `stages.draw`."""
        return stages.draw(
            self.renderer, clip, face, motion, timeline, lips=lips, settings=settings, speech=speech
        )


@dataclass
class Report:
    """What a run did: counts of output frames, seconds by stage, peak memory of the process, what made it.

    speakers: of each who speaks whose face it is, the speech, and frames with the face and with its new lips;
    frames_covered: that show the face and stay as they are, because its mouth is not to be seen;
    frames_partly_covered: in which something stands before the mouth and stays on top of the new one;
    checks: figures of what the source is like and of how the result's lips moved, see `checks`; doubts: a
    sentence for each that is amiss; warnings: all lines for the user, these among them.
    """

    output: str
    frames: int = 0
    frames_with_face: int = 0
    frames_edited: int = 0
    frames_covered: int = 0
    frames_partly_covered: int = 0
    duration_s: float = 0.0
    shots: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    model: str = ""
    model_hashes: dict[str, str] = field(default_factory=dict)
    renderer: str = ""
    seed: int = 0
    device: str = ""
    version: str = __version__
    speakers: list[dict[str, str | int]] = field(default_factory=list)
    checks: dict[str, float] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, check: Check, strict: bool = False, name: str = "") -> None:
        """Take in what a look found; name: of the speaker, where there are several. Raises DoubtError for a
        doubt where strict."""
        if name:
            named = {f"{name}: {figure}": value for figure, value in check.figures.items()}
            check = Check(named, tuple(f"{name}: {doubt}" for doubt in check.doubts))
        self.checks |= check.figures
        self.doubts += check.doubts
        if strict:
            check.insist()

    def count(self, frames: int, with_face: int, partly: int) -> None:
        """Take in the output's frames, those with a face, and those in which something stays on top, once it
        is known how many were edited."""
        self.frames, self.frames_with_face = frames, with_face
        self.frames_covered, self.frames_partly_covered = with_face - self.frames_edited, partly

    def to_dict(self) -> dict:
        """As plain numbers and strings, for JSON."""
        return asdict(self)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to `seconds[stage]`."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)


@dataclass
class _Voice:
    """Who says what, and what becomes of it."""

    who: Choice
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

    def check_motion(self, timeline: Timeline) -> Check:
        """See `check_motion`."""
        return check_motion(self.motion, stages.on_timeline(self.track, timeline))

    def check_pictures(self) -> Check:
        """See `check_pictures`."""
        return check_pictures(self.drawn.references, self.track, self.drawn.covered)


def lip_sync(
    video: str | Path,
    speech: str | Path | None,
    output: str | Path,
    *,
    model: LipSync | str | Path = "mini",
    revision: str | None = None,
    renderer: str = "auto",
    face: Choice = "largest",
    speakers: Sequence[tuple[Choice, str | Path]] = (),
    recognition: str | Path | None = None,
    sync_mode: str = "silence",
    frame_rate: Fraction | float | None = None,
    options: MotionOptions | None = None,
    device: str = "auto",
    dtype: str = "auto",
    codec: str | None = None,
    crf: int = 18,
    save_motion: str | Path | None = None,
    save_mask: str | Path | None = None,
    credentials: tuple[str | Path, str | Path] | None = None,
    resume: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write `output`: the talking `video` with lips that follow `speech`; all else stays the source's.

    video: any video file with a visible face, a picture, a series or a folder of pictures (frame_rate is for
    these, see `open_clip`); speech: any file with sound; model: a loaded one, or what
    `LipSync.from_pretrained` takes together with renderer, device, dtype, revision and recognition, which a
    loaded one has already; face: see `check_choice`; speakers: instead of speech, who says what: each mouth
    follows its own speech from time 0 on, the others stay, and the sound is all speeches at once; sync_mode:
    see `plan_timeline`; codec, crf: see `VideoWriter`; options: of the motion. A frame without the face
    passes through untouched; subtitles, chapters and what else the video's file holds are copied, or named in
    `Report.warnings`. So is what one should know before trusting the result (`Report.doubts`): with strict
    that is an error, before the rendering where the source does not suit, and else at its end, when no output
    takes its name. credentials: a chain of certificates and the key
    to sign content credentials with, see `Credentials`. resume: keep what is finished in OUTPUT.resume
    until the output is whole, and go on with what a run of the same left there, see `journal`.

    Raises FileNotFoundError, MediaError, NoFaceError, WeightsError, where strict DoubtError, or ValueError
    for an argument.
    """
    progress = progress or (lambda stage, done, total: None)
    options = options or MotionOptions()
    report = Report(str(output), seed=options.seed)
    with report.timed("load"):
        voices = _voices(face, speech, speakers, save_motion)
        clip, sound = open_clip(video, frame_rate), MixedSpeech.of([voice.speech for voice in voices])
        sounds = [path for voice in voices for path in voice.files]
        timeline = plan_timeline(clip, sound.duration_s, sync_mode)
        outputs = {"output": output, "save_motion": save_motion, "save_mask": save_mask}
        check_outputs(outputs, [*clip.files, *sounds, *(credentials or ())])
        signer = None if credentials is None else Credentials.load(*credentials, output)
        # What cannot be written is said before the work, not after it.
        VideoWriter(output, clip, codec=codec, crf=crf, speech=sound, timeline=timeline)
        if save_mask is not None:
            VideoWriter.for_masks(save_mask, clip, timeline=timeline)
        if not isinstance(model, LipSync):
            model = LipSync.from_pretrained(model, renderer, device, dtype, revision, recognition)
        report.model, report.model_hashes = str(model.source), model.hashes
        report.renderer, report.device = model.renderer.name, str(model.device)
    before = _stamps([*clip.files, *sounds])
    facts = _facts(model, clip, voices, sync_mode, options) if resume else None
    lost: list[str] = []

    def finished() -> None:
        for voice in voices:
            report.note(voice.watch.check(), strict, voice.name)
        _check_unchanged(before)

    with Journal.opened(Path(output), facts) as journal, ExitStack() as stack:
        with report.timed("landmarks"):
            _find(model, clip, voices, journal, progress)
            for voice in voices:
                report.note(check_track(voice.track, clip), strict, voice.name)
        with report.timed("motion"):
            for number, voice in enumerate(voices):
                speak = partial(model.speak, voice.speech, voice.track, timeline, options, progress=progress)
                voice.motion = journal.motion(speak, number)
                report.note(voice.check_motion(timeline), strict, voice.name)
        with report.timed("references"):
            drawn = _draw(model, clip, voices, timeline)
            for voice in voices:
                report.note(voice.check_pictures(), strict, voice.name)
        with report.timed("render"):
            # All take their names at the end, the video first.
            if save_motion is not None:
                voices[0].motion.save(stack.enter_context(replacing(save_motion)))
            report.frames_edited = write(
                drawn,
                output,
                sound=sound,
                codec=codec,
                crf=crf,
                masks=save_mask,
                progress=lambda done, total, picture: progress("render", done, total),
                warn=lost.append,
                edits=journal.edits,
                seen=partial(_see, voices),
                finished=finished,
                seal=None if signer is None else signer.seal(Path(output).name, clip.files),
            )
    report.count(len(timeline), _seen(voices), voices[0].watch.partial)
    report.duration_s, report.shots = round(timeline.duration_s, 3), len(np.unique(drawn.track.shots))
    report.speakers = [_spoken(voice) for voice in voices]
    report.peak_memory_mb = peak_memory_mb()
    report.warnings = [
        *timeline.warnings,
        *(line for voice in voices for line in _stayed(voice)),
        *report.doubts,
        *lost,
    ]
    return report


def _voices(
    face: Choice,
    speech: str | Path | None,
    speakers: Sequence[tuple[Choice, str | Path]],
    save_motion: str | Path | None,
) -> list[_Voice]:
    """Who says what. Raises ValueError unless there is either one speech or speakers, and for the motion of
    several in one file."""
    if (speech is None) == (not speakers):
        raise ValueError(
            "one speech, or speakers with a speech each, was required, but "
            f"{'neither' if speech is None else 'both'} arrived: give one of the two"
        )
    if speech is not None:
        return [_Voice(check_choice(face), Speech.open(speech))]
    if face != "largest":
        raise ValueError(f"speakers say whose face is whose, but face {face!r} arrived too: leave it out")
    several = len(speakers) > 1
    if several and save_motion is not None:
        raise ValueError(
            f"one speaker was required for a file of the motion, but {len(speakers)} arrived: leave "
            f"{save_motion} out"
        )
    return [
        _Voice(check_choice(who), Speech.open(path), f"speaker {who}" if several else "")
        for who, path in speakers
    ]


def _find(model: LipSync, clip: Clip, voices: list[_Voice], journal: Journal, progress: Progress) -> None:
    """The faces of all speakers, in one pass. Raises ValueError where two are one person."""

    @cache
    def chosen() -> list[FaceTrack]:
        faces = model.track(clip, progress)
        tracks = [model.choose(clip, faces, voice.who) for voice in voices]
        # Before any is kept: another choice is to find no run of this one.
        _check_apart(voices, tracks)
        return tracks

    for number, voice in enumerate(voices):
        voice.track = journal.track(partial(_one_of, chosen, number), number)


def _one_of(tracks: Callable[[], list[FaceTrack]], number: int) -> FaceTrack:
    return tracks()[number]


def _check_apart(voices: list[_Voice], tracks: list[FaceTrack]) -> None:
    """Raises ValueError where the tracks of two speakers are one person's."""
    for (voice, track), (other, its) in combinations(zip(voices, tracks, strict=True), 2):
        both = np.flatnonzero(track.present & its.present)
        if (track.landmarks[both] == its.landmarks[both]).all((1, 2)).any():
            raise ValueError(
                f"a face for each speaker was required, but {voice.name} and {other.name} are the same "
                "one: choose another, by number or place"
            )


def _draw(model: LipSync, clip: Clip, voices: list[_Voice], timeline: Timeline) -> RenderedClip:
    """The clip with the new lips of all speakers."""
    drawn = None
    for voice in voices:
        voice.drawn = replace(model.draw(clip, voice.track, voice.motion, timeline), beside=drawn)
        drawn = voice.drawn
        voice.watch = LipWatch(model.reader.mesh, drawn.track, drawn.targets, alone=len(voices) == 1)
    assert drawn is not None  # somebody speaks
    return drawn


def _see(voices: list[_Voice], edit: Edit, picture: Picture) -> None:
    """Let each speaker's watch see a frame."""
    for voice in voices:
        voice.watch.see(edit, picture)


def _seen(voices: list[_Voice]) -> int:
    """How many frames of the output show a speaker."""
    return int(np.any([voice.drawn.track.present for voice in voices], axis=0).sum())


def _spoken(voice: _Voice) -> dict[str, str | int]:
    """A speaker, for the report."""
    return {
        "face": _word(voice.who),
        "speech": str(voice.speech.path),
        "frames_with_face": int(voice.drawn.track.present.sum()),
        "frames_edited": voice.watch.edited,
    }


def _word(who: Choice) -> str:
    """A choice as a user writes it."""
    if isinstance(who, Place):
        return f"{who.x_px:g},{who.y_px:g}" + ("" if who.time_s is None else f"@{who.time_s:g}")
    return f"{type(who).__name__.lower()}:{who.path}" if isinstance(who, (Mask, Photo)) else str(who)


def _stayed(voice: _Voice) -> list[str]:
    """See `face_warnings`; of whom, where there are several."""
    lines = face_warnings(voice.drawn.track, voice.watch.edited, voice.watch.partial)
    return [f"{voice.name}: {line}" for line in lines] if voice.name else lines


def _facts(
    model: LipSync, clip: Clip, voices: list[_Voice], sync_mode: str, options: MotionOptions
) -> dict[str, str]:
    """What decides what is drawn, by the word the user knows it by."""
    recogniser = model.reader.recogniser
    facts = {
        "video": f"{files_sha256(clip.files)} {float(clip.fps)}",
        "speech": " ".join(
            files_sha256([v.speech.path] if v.speech.path is not None else []) for v in voices
        ),
        "model": " ".join(model.hashes.values()),
        "renderer": model.renderer.name,
        "device or dtype": f"{model.device} {model.dtype}",
        "version of MyTalk": __version__,
        "face": " ".join(f"{_word(v.who)} {files_sha256(choice_files(v.who))}" for v in voices),
        "recognition": files_sha256([] if recogniser is None else [recogniser.path]),
        "sync mode": sync_mode,
    }
    return facts | {name: str(value) for name, value in asdict(options).items()}


def _stamps(files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Length and time of the last change of each file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _check_unchanged(before: dict[Path, tuple[int, int]]) -> None:
    """Raises MediaError for a file that is no longer what it was."""
    after = _stamps(path for path in before if path.exists())
    changed = [path for path in before if after.get(path) != before[path]]
    if changed:
        raise MediaError(
            f"{changed[0]} was changed while it was read, which is no source to go by: run it again"
        )


def face_warnings(shown: FaceTrack, edited: int, partly: int = 0) -> list[str]:
    """Lines for the user: frames of the output that stay as they are, or in part, and why."""
    warnings = []
    missing, covered = int((~shown.present).sum()), int(shown.present.sum()) - edited
    if missing:
        first = np.flatnonzero(~shown.present)[:5].tolist()
        warnings.append(
            f"{missing} of {len(shown)} frames show no such face and stay as they are (first: {first})"
        )
    if covered:
        warnings.append(
            f"{covered} of {len(shown)} frames have something before the mouth, or cut it off at their edge, "
            "and stay as they are"
        )
    if partly:
        warnings.append(
            f"{partly} of {len(shown)} frames have something before a part of the mouth or chin, which stays "
            "on top: look at them"
        )
    return warnings
