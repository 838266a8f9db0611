"""The loaded model, and the whole method as one call: video and speech in, lip-synced video out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..appearance.renderer import WarpSettings
from ..appearance.renderers import LoadedRenderer, load_renderer
from ..errors import MediaError
from ..face.choice import check_choice
from ..face.track import Faces, FaceTrack
from ..face.tracker import FaceReader, load_face_reader
from ..files import check_outputs, replacing
from ..media.audio import Speech
from ..media.clip import Clip
from ..media.source import open_clip
from ..media.timeline import Timeline, plan_timeline
from ..media.writer import VideoWriter
from ..memory import peak_memory_mb
from ..motion.generate import MotionModel, MotionOptions, embed_identity
from ..motion.motion import Motion
from . import stages
from .checks import Check, LipWatch, check_motion, check_pictures, check_track
from .credentials import Credentials
from .device import choose_device, choose_dtype
from .journal import Journal, files_sha256
from .rendered import RenderedClip
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
    ) -> LipSync:
        """Load a bundled model by name, a folder, or hub:OWNER/NAME.

        renderer: see `load_renderer`; device, dtype: see `choose_device`, `choose_dtype`; the face networks
        and the identity extractor stay float32; revision: branch, tag or commit of a Hub repository.
        Raises ValueError for an argument, FileNotFoundError and WeightsError as `PretrainedModel` does.
        """
        device = choose_device(device)
        dtype = choose_dtype(dtype, device)
        return LipSync(
            source=model,
            revision=revision,
            device=device,
            dtype=dtype,
            reader=load_face_reader(device),
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

    checks: figures of what the source is like and of how the result's lips moved, see `checks`; doubts: a
    sentence for each that is amiss; warnings: all lines for the user, these among them.
    """

    output: str
    frames: int = 0
    frames_with_face: int = 0
    frames_edited: int = 0
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
    checks: dict[str, float] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, check: Check, strict: bool = False) -> None:
        """Take in what a look found. Raises DoubtError for a doubt where strict."""
        self.checks |= check.figures
        self.doubts += check.doubts
        if strict:
            check.insist()

    def to_dict(self) -> dict:
        """As plain numbers and strings, for JSON."""
        return asdict(self)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to `seconds[stage]`."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)


def lip_sync(
    video: str | Path,
    speech: str | Path,
    output: str | Path,
    *,
    model: LipSync | str | Path = "mini",
    revision: str | None = None,
    renderer: str = "auto",
    face: str | int = "largest",
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
    `LipSync.from_pretrained` takes together with renderer, device, dtype and revision, which a loaded one has
    already; face: see `Faces.choose`; sync_mode: see `plan_timeline`; codec, crf: see `VideoWriter`; options:
    of the motion. A frame without the face passes through untouched; subtitles, chapters and what else the
    video's file holds are copied, or named in `Report.warnings`. So is what one should know before trusting
    the result (`Report.doubts`): with strict that is an error, before the rendering where the source does not
    suit, and else at its end, when no output takes its name. credentials: a chain of certificates and the key
    to sign content credentials with, see `Credentials`. resume: keep what is finished in OUTPUT.resume
    until the output is whole, and go on with what a run of the same left there, see `journal`.

    Raises FileNotFoundError, MediaError, NoFaceError, WeightsError, where strict DoubtError, or ValueError
    for an argument.
    """
    progress = progress or (lambda stage, done, total: None)
    options = options or MotionOptions()
    report = Report(str(output), seed=options.seed)
    with report.timed("load"):
        check_choice(face)
        clip, sound = open_clip(video, frame_rate), Speech.open(speech)
        timeline = plan_timeline(clip, sound.duration_s, sync_mode)
        outputs = {"output": output, "save_motion": save_motion, "save_mask": save_mask}
        check_outputs(outputs, [*clip.files, sound.path, *(credentials or ())])
        signer = None if credentials is None else Credentials.load(*credentials, output)
        # What cannot be written is said before the work, not after it.
        VideoWriter(output, clip, codec=codec, crf=crf, speech=sound, timeline=timeline)
        if save_mask is not None:
            VideoWriter.for_masks(save_mask, clip, timeline=timeline)
        if not isinstance(model, LipSync):
            model = LipSync.from_pretrained(model, renderer, device, dtype, revision)
        report.model, report.model_hashes = str(model.source), model.hashes
        report.renderer, report.device = model.renderer.name, str(model.device)
    before = _stamps([*clip.files, *((sound.path,) if sound.path else ())])
    facts = _facts(model, clip, sound, face, sync_mode, options) if resume else None
    lost: list[str] = []

    def finished() -> None:
        report.note(watch.check(), strict)
        _check_unchanged(before)

    with Journal.opened(Path(output), facts) as journal, ExitStack() as stack:
        with report.timed("landmarks"):
            track = journal.track(lambda: model.track(clip, progress).choose(face))
            report.note(check_track(track, clip), strict)
        with report.timed("motion"):
            motion = journal.motion(lambda: model.speak(sound, track, timeline, options, progress=progress))
            report.note(check_motion(motion, stages.on_timeline(track, timeline)), strict)
        with report.timed("references"):
            drawn = model.draw(clip, track, motion, timeline)
            report.note(check_pictures(drawn.references, track, drawn.covered), strict)
        watch = LipWatch(model.reader.mesh, drawn.track, drawn.targets)
        with report.timed("render"):
            # All take their names at the end, the video first.
            if save_motion is not None:
                motion.save(stack.enter_context(replacing(save_motion)))
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
                seen=watch.see,
                finished=finished,
                seal=None if signer is None else signer.seal(Path(output).name, clip.files),
            )
    shown = drawn.track
    report.frames, report.frames_with_face = len(timeline), int(shown.present.sum())
    report.duration_s, report.shots = round(timeline.duration_s, 3), len(np.unique(shown.shots))
    report.peak_memory_mb = peak_memory_mb()
    report.warnings = [
        *timeline.warnings,
        *face_warnings(shown, report.frames_edited),
        *report.doubts,
        *lost,
    ]
    return report


def _facts(
    model: LipSync, clip: Clip, sound: Speech, face: str | int, sync_mode: str, options: MotionOptions
) -> dict[str, str]:
    """What decides what is drawn, by the word the user knows it by."""
    facts = {
        "video": f"{files_sha256(clip.files)} {float(clip.fps)}",
        "speech": files_sha256([sound.path] if sound.path is not None else []),
        "model": " ".join(model.hashes.values()),
        "renderer": model.renderer.name,
        "device or dtype": f"{model.device} {model.dtype}",
        "version of MyTalk": __version__,
        "face": str(face),
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


def face_warnings(shown: FaceTrack, edited: int) -> list[str]:
    """Lines for the user: frames of the output that stay as they are, and why."""
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
    return warnings
