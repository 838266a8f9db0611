"""The loaded model, and the whole method as one call: video and speech in, lip-synced video out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..appearance.renderer import WarpSettings
from ..appearance.renderers import LoadedRenderer, load_renderer
from ..errors import MediaError, NoFaceError
from ..expert.scorer import ExpertScorer
from ..face.choice import FaceChoice, choice_files, word_of
from ..face.reader import FaceReader, load_face_reader
from ..face.track import Faces, FaceTrack
from ..files import check_outputs, replacing, stamp
from ..media.arranged import part_of
from ..media.audio import Speech
from ..media.clip import Clip
from ..media.mixed import MixedSpeech
from ..media.source import clip_files, open_clip
from ..media.timeline import Timeline, plan_timeline
from ..media.writer import VideoWriter
from ..memory import peak_memory_mb
from ..motion.emotion import Identity
from ..motion.generate import MotionModel, MotionOptions, identify
from ..motion.motion import Motion
from . import stages
from .checks import Check, LipWatch, check_track
from .choosing import choose
from .credentials import Credentials
from .device import choose_device, choose_drawing_dtype, choose_dtype
from .journal import Journal, files_sha256
from .rendered import RenderedClip
from .report import Report
from .speakers import Voice, check_apart, frames_seen, see, voices_of
from .stages import Progress
from .write import write

# Of an emotional reference so much is looked at.
REFERENCE_S = 30.0


@dataclass(frozen=True, eq=False)
class LipSync:
    """Every network of both stages, loaded once; its methods are the stages, which several threads may call.

    source, revision: where it came from; dtype, drawing_dtype: what stage one and the networks of stage two
    compute in; reader: the face networks; motion: stage one; renderer: stage two.
    """

    source: str | Path
    revision: str | None
    device: torch.device
    dtype: torch.dtype
    drawing_dtype: torch.dtype
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

        renderer: see `load_renderer`; device, dtype: see `choose_device`, `choose_dtype` and
        `choose_drawing_dtype`; the networks of faces, of their identity and of speech stay float32; revision:
        branch, tag or commit of a Hub repository; recognition: weights of face recognition, by which people
        are told apart, see `SFace`. Raises ValueError for an argument, FileNotFoundError and WeightsError as
        `PretrainedModel` does.
        """
        device = choose_device(device)
        dtype, drawing_dtype = choose_dtype(dtype, device), choose_drawing_dtype(dtype, device)
        return LipSync(
            source=model,
            revision=revision,
            device=device,
            dtype=dtype,
            drawing_dtype=drawing_dtype,
            reader=load_face_reader(device, recognition),
            motion=MotionModel.from_pretrained(model, revision, device, dtype),
            renderer=load_renderer(renderer, model, revision, device, drawing_dtype),
        )

    def with_renderer(self, renderer: str, draws_on: torch.device | None = None) -> LipSync:
        """The same networks, and another renderer, whose own network is loaded now; draws_on: see
        `load_renderer`."""
        loaded = load_renderer(
            renderer, self.source, self.revision, self.device, self.drawing_dtype, draws_on
        )
        return replace(self, renderer=loaded)

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

    @property
    def dtypes(self) -> dict[str, str]:
        """What the networks of motion and of drawing compute in."""
        return {"motion": str(self.dtype), "drawing": str(self.renderer.dtype)}

    def track(self, clip: Clip, progress: Progress | None = None) -> Faces:
        """See `stages.track`."""
        return stages.track(self.reader, clip, progress)

    def choose(self, clip: Clip, faces: Faces, which: FaceChoice = "largest") -> FaceTrack:
        """The person who is meant among a clip's faces, see `choosing.choose`."""

        def scorer() -> ExpertScorer:
            return ExpertScorer.from_pretrained(self.source, self.revision, self.device)

        return choose(self.reader, clip, faces, which, scorer)

    def identify(self, face: FaceTrack) -> Identity:
        """Whose face it is and how they are, for `speak`; another person's is an emotional reference."""
        return identify(self.motion, face)

    def speak(
        self,
        speech: Speech,
        face: FaceTrack,
        timeline: Timeline,
        options: MotionOptions | None = None,
        identity: Identity | None = None,
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
        between: Callable[[], None] | None = None,
    ) -> RenderedClip:
        """See `stages.draw`."""
        return stages.draw(
            self.renderer,
            clip,
            face,
            motion,
            timeline,
            lips=lips,
            settings=settings,
            speech=speech,
            between=between,
        )


def lip_sync(
    video: str | Path | Clip,
    speech: str | Path | None,
    output: str | Path,
    *,
    model: LipSync | str | Path = "mini",
    revision: str | None = None,
    renderer: str = "auto",
    face: FaceChoice = "largest",
    speakers: Sequence[tuple[FaceChoice, str | Path]] = (),
    recognition: str | Path | None = None,
    emotion: str | Path | None = None,
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
    these, see `open_clip`), or a clip that is open; speech: any file with sound; model: a loaded one, or what
    `LipSync.from_pretrained` takes together with renderer, device, dtype, revision and recognition, which are
    refused beside a loaded one; face: see `check_choice`; speakers: instead of speech, who says what: each
    mouth follows its own speech from time 0 on, the others stay, and the sound is all speeches at once;
    sync_mode: see `plan_timeline`; emotion: a video or picture whose largest face's expression, and how far
    its mouth opens, the face takes on, see `emotional_reference`; codec, crf: see `VideoWriter`; options: of
    the motion. A frame without the face passes through untouched; subtitles, chapters and what else the
    video's file holds are copied, or named in `Report.warnings`. So is what one should know before trusting
    the result (`Report.doubts`): with strict that is an error, before the rendering where the source does not
    suit, and else at its end, when no output takes its name. credentials: a chain of certificates and the key
    to sign content credentials with, see `Credentials`. resume: keep what is finished in OUTPUT.resume until
    the output is whole, and go on with what a run of the same left there, see `journal`.

    Raises FileNotFoundError, MediaError, NoFaceError, WeightsError, where strict DoubtError, or ValueError
    for an argument.
    """
    progress = progress or (lambda stage, done, total: None)
    options = options or MotionOptions()
    report = Report(str(output), seed=options.seed)
    with report.timed("load"):
        voices = voices_of(face, speech, speakers, save_motion)
        clip, sound = open_clip(video, frame_rate), MixedSpeech.of([voice.speech for voice in voices])
        sounds = [path for voice in voices for path in voice.files]
        timeline = plan_timeline(clip, sound.duration_s, sync_mode)
        read = [*clip.files, *sounds, *(() if emotion is None else clip_files(emotion))]
        outputs = {"output": output, "save_motion": save_motion, "save_mask": save_mask}
        check_outputs(outputs, [*read, *(credentials or ())])
        signer = None if credentials is None else Credentials.load(*credentials, output)
        # What cannot be written is said before the work, not after it.
        VideoWriter(output, clip, codec=codec, crf=crf, speech=sound, timeline=timeline)
        if save_mask is not None:
            VideoWriter.for_masks(save_mask, clip, timeline=timeline)
        model = _loaded(model, renderer, device, dtype, revision, recognition)
        report.model, report.model_hashes = str(model.source), model.hashes
        report.renderer, report.device, report.dtypes = model.renderer.name, str(model.device), model.dtypes
    before = {path: stamp(path) for path in read}
    facts = _facts(model, clip, voices, emotion, sync_mode, options) if resume else None
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
            identity = None if emotion is None else emotional_reference(model, emotion)
            for check, name in _speak(model, voices, timeline, options, identity, journal, progress):
                report.note(check, strict, name)
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
                seen=partial(see, voices),
                finished=finished,
                seal=None if signer is None else signer.seal(Path(output).name, clip.files),
            )
    report.count(len(timeline), frames_seen(voices), voices[0].watch.partial)
    report.duration_s, report.shots = round(timeline.duration_s, 3), len(np.unique(drawn.track.shots))
    report.speakers = [voice.facts for voice in voices]
    report.peak_memory_mb = peak_memory_mb()
    report.warnings = [
        *timeline.warnings,
        *(line for voice in voices for line in voice.warnings),
        *report.doubts,
        *lost,
    ]
    return report


def _loaded(
    model: LipSync | str | Path,
    renderer: str,
    device: str,
    dtype: str,
    revision: str | None,
    recognition: str | Path | None,
) -> LipSync:
    """The model, loaded if it is not yet. Raises ValueError for what a loaded one has already."""
    if not isinstance(model, LipSync):
        return LipSync.from_pretrained(model, renderer, device, dtype, revision, recognition)
    given: dict[str, str | Path | None] = {"renderer": renderer, "device": device, "dtype": dtype}
    given |= {"revision": revision, "recognition": recognition}
    for name, value in given.items():
        if value not in ("auto", None):
            raise ValueError(
                f"a {name} is taken where the model is loaded, but a loaded one arrived beside {value!r}: "
                "give it to LipSync.from_pretrained"
            )
    return model


def _find(model: LipSync, clip: Clip, voices: list[Voice], journal: Journal, progress: Progress) -> None:
    """The faces of all speakers, in one pass. Raises ValueError where two are one person."""

    @cache
    def chosen() -> list[FaceTrack]:
        faces = model.track(clip, progress)
        tracks = [model.choose(clip, faces, voice.who) for voice in voices]
        # Before any is kept: another choice is to find no run of this one.
        check_apart(voices, tracks)
        return tracks

    for number, voice in enumerate(voices):
        voice.track = journal.track(lambda number=number: chosen()[number], number)  # type: ignore[misc]


def _speak(
    model: LipSync,
    voices: list[Voice],
    timeline: Timeline,
    options: MotionOptions,
    identity: Identity | None,
    journal: Journal,
    progress: Progress,
) -> Iterator[tuple[Check, str]]:
    """The motion of each speaker, one after the other; what a look at it found, and whose it is."""
    for number, voice in enumerate(voices):
        speak = partial(model.speak, voice.speech, voice.track, timeline, options, identity, progress)
        voice.motion = journal.motion(speak, number)
        yield voice.check_motion(timeline), voice.name


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


def _draw(model: LipSync, clip: Clip, voices: list[Voice], timeline: Timeline) -> RenderedClip:
    """The clip with the new lips of all speakers."""
    drawn = None
    for voice in voices:
        voice.drawn = replace(model.draw(clip, voice.track, voice.motion, timeline), beside=drawn)
        drawn = voice.drawn
        voice.watch = LipWatch(model.reader.mesh, drawn.track, drawn.targets, alone=len(voices) == 1)
    assert drawn is not None  # somebody speaks
    return drawn


def _facts(
    model: LipSync,
    clip: Clip,
    voices: list[Voice],
    emotion: str | Path | None,
    sync_mode: str,
    options: MotionOptions,
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
        "device or dtype": f"{model.device} {model.dtypes}",
        "version of MyTalk": __version__,
        "face": " ".join(f"{word_of(v.who)} {files_sha256(choice_files(v.who))}" for v in voices),
        "recognition": files_sha256([] if recogniser is None else [recogniser.path]),
        "emotion": files_sha256([] if emotion is None else clip_files(emotion)),
        "sync mode": sync_mode,
    }
    return facts | {name: str(value) for name, value in asdict(options).items()}


def _check_unchanged(before: dict[Path, tuple[int, int] | None]) -> None:
    """Raises MediaError for a file whose stamp is no longer what it was."""
    changed = [path for path, known in before.items() if stamp(path) != known]
    if changed:
        raise MediaError(
            f"{changed[0]} was changed while it was read, which is no source to go by: run it again"
        )
