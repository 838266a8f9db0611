"""The whole method as one chain, video and speech in, lip-synced video out; CLI and nodes call its stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from .. import __version__
from ..appearance.composite import make_patch
from ..appearance.crop import crop_size, cut_crop
from ..appearance.occlusion import uncovered
from ..appearance.references import choose_pool, pool_count, read_references
from ..appearance.renderer import Renderer, WarpSettings
from ..appearance.renderers import LoadedRenderer, load_renderer
from ..checkpoint.pretrained import model_hashes
from ..face.layout import LandmarkLayout
from ..face.packed import Mapped
from ..face.track import FaceTrack
from ..face.tracker import FaceReader, load_face_reader, track_faces
from ..files import check_outputs, replacing
from ..media.audio import Speech
from ..media.encoders import choose_codec
from ..media.patch import Patch, coverage, paste
from ..media.picture import Picture
from ..media.timeline import Timeline, plan_timeline
from ..media.video import Clip
from ..media.writer import VideoWriter
from ..memory import peak_memory_mb
from ..motion.generate import MotionModel, MotionOptions, generate_motion
from ..motion.motion import Motion
from ..motion.person import RATE_HZ

BATCH_FRAMES = 8
# The IPTC's term for pictures partly made by a trained model; C2PA and the platforms read it.
AI_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

# progress(stage, done, total)
Progress = Callable[[str, int, int], None]


@dataclass
class Report:
    """What a run did: counts of output frames, seconds by stage, peak memory of the process, what made it."""

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
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict:
        """As plain numbers and strings, for JSON."""
        return asdict(self)


@contextmanager
def timed(report: Report, stage: str) -> Iterator[None]:
    """Add the block's wall time to the report's `seconds[stage]`."""
    start = time.perf_counter()
    yield
    report.seconds[stage] = round(report.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)


def choose_device(device: str = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, then Apple's, then the CPU.

    Raises: ValueError for a word that names none, or a device that is not there.
    """
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    there = [name for name, count in counts.items() if count]
    if device == "auto":
        return torch.device(there[0])
    chosen = None
    with suppress(RuntimeError):
        chosen = torch.device(device)
    if chosen is None or (chosen.index or 0) >= counts.get(chosen.type, 0):
        raise ValueError(
            f"a device that is there was required (auto, {', '.join(there)}), but {device!r} arrived: choose "
            "one of these"
        )
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The named dtype; "auto" is bfloat16 on CUDA and float32 elsewhere."""
    names = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in names:
        raise ValueError(f"a dtype is one of auto, {', '.join(names)}; got {dtype!r}")
    return names[dtype]


def target_landmarks(track: FaceTrack, motion: Motion) -> Mapped:
    """What is to be rendered: (rows,N,2) canonical px when indexed by frame, unpacked where it is read."""
    return Mapped(len(track), lambda rows: motion.onto(track.canonical[rows], track.times_s[rows]))


def build_renderer(
    clip: Clip,
    track: FaceTrack,
    shown: FaceTrack,
    targets: Mapped,
    renderer: LoadedRenderer,
    settings: WarpSettings | None = None,
) -> Renderer:
    """The renderer with lip references from `clip`.

    clip, track: whose lips are borrowed, the source's own or another video's; shown, targets: on the
    output's time line.
    """
    layout = LandmarkLayout.load(track.layout)
    # The output's size, which `render_pictures` cuts at: the track's own differs where a zoom is cut away.
    size = crop_size(shown.similarity, shown.present)
    pool = choose_pool(track, layout, pool_count(size))
    references = read_references(clip, track, pool, size, layout)
    references = references.take(uncovered(references, layout))
    return renderer.make(references, targets, layout, shown.shots, settings)


def render_pictures(
    clip: Clip,
    timeline: Timeline,
    shown: FaceTrack,
    targets: Mapped,
    renderer: Renderer,
    rows: np.ndarray | None = None,
) -> Iterator[tuple[Picture, list[Patch]]]:
    """The output's pictures, each with its patches; none where there is no face and the source stays.

    rows: int (n,) which frames of the output, in any order; all where None.
    """
    rows = np.arange(len(timeline)) if rows is None else rows
    size = crop_size(shown.similarity, shown.present)
    batch: list[tuple[int, Picture]] = []
    for done, picture in enumerate(clip.pictures(timeline.source_index[rows]), 1):
        batch.append((int(rows[done - 1]), picture))
        if len(batch) == BATCH_FRAMES or done == len(rows):
            yield from _render_batch(batch, size, shown, targets, renderer)
            batch = []


def _render_batch(
    batch: list[tuple[int, Picture]], size: int, shown: FaceTrack, targets: Mapped, renderer: Renderer
) -> Iterator[tuple[Picture, list[Patch]]]:
    faces = [(index, picture) for index, picture in batch if shown.present[index]]
    patches: dict[int, list[Patch]] = {}
    if faces:
        rows = np.array([index for index, _ in faces])
        crops = np.stack([cut_crop(picture.rgb, shown.similarity[index], size) for index, picture in faces])
        source = shown.canonical[rows]
        rendering = renderer.render(crops, source, targets[rows], rows)
        alpha = rendering.alpha * renderer.sight(crops, source)[:, None, None]
        for k, (index, picture) in enumerate(faces):
            similarity = shown.similarity[index]
            patch = make_patch(picture.rgb, rendering.crops[k], similarity, alpha[k])
            patches[index] = [patch] if patch is not None else []
    for index, picture in batch:
        yield picture, patches.get(index, [])


def disclosure_tags() -> dict[str, str]:
    """Container tags that say the video was edited by a model."""
    comment = f"AI-edited: lip movements generated by MyTalk {__version__}"
    return {"comment": comment, "digital_source_type": AI_SOURCE_TYPE}


def lip_sync(
    video: str | Path,
    speech: str | Path,
    output: str | Path,
    *,
    model: str | Path = "mini",
    revision: str | None = None,
    renderer: str = "auto",
    face: str | int = "largest",
    sync_mode: str = "silence",
    options: MotionOptions | None = None,
    device: str = "auto",
    dtype: str = "auto",
    codec: str | None = None,
    crf: int = 18,
    save_motion: str | Path | None = None,
    save_mask: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write `output`: the talking `video` with lips that follow `speech`; all else stays the source's.

    video: any video file with a visible face; speech: any file with sound; renderer: see `load_renderer`;
    face: see `Faces.choose`; sync_mode: see `plan_timeline`; codec, crf: see `VideoWriter`; options: of the
    motion. A frame without the face passes through untouched.

    Raises FileNotFoundError, MediaError, NoFaceError, WeightsError, or ValueError for an argument.
    """
    progress = progress or (lambda stage, done, total: None)
    options = options or MotionOptions()
    place = choose_device(device)
    report = Report(str(output), model=str(model), seed=options.seed, device=str(place))
    with timed(report, "load"):
        clip, sound = Clip.open(video), Speech.open(speech)
        timeline = plan_timeline(clip, sound.duration_s, sync_mode)
        outputs = {"output": output, "save_motion": save_motion, "save_mask": save_mask}
        check_outputs(outputs, [clip.path, sound.path])
        choose_codec(Path(output), codec)  # what cannot be written is said before the work, not after it
        reader = load_face_reader(place)
        motion_model = MotionModel.from_pretrained(model, revision, place, choose_dtype(dtype, place))
        loaded = load_renderer(renderer, model, revision, place)
        report.renderer = loaded.name
        parts = ("motion", "space", "identity", "speech", *loaded.parts)
        report.model_hashes = model_hashes(model, parts, revision)
    with timed(report, "landmarks"):
        track = read_face(clip, reader, face, progress)
        shown = track.take(timeline.source_index, timeline.times_s)
    with timed(report, "motion"):
        motion = generate_motion(
            motion_model,
            sound.mono_16k,
            shown,
            timeline.moments(RATE_HZ),
            options,
            progress=lambda done, total: progress("motion", done, total),
        )
    with timed(report, "references"):
        targets = target_landmarks(shown, motion)
        drawing = build_renderer(clip, track, shown, targets, loaded)
    with timed(report, "render"), ExitStack() as stack:
        tags = disclosure_tags()
        writer = VideoWriter(
            output, clip, codec=codec, crf=crf, speech=sound, timeline=timeline, metadata=tags
        )
        masks = VideoWriter.for_masks(save_mask, clip, timeline=timeline) if save_mask is not None else None
        # All take their names at the end, the video first.
        if save_motion is not None:
            motion.save(stack.enter_context(replacing(save_motion)))
        if masks is not None:
            stack.enter_context(masks)
        stack.enter_context(writer)
        pictures = render_pictures(clip, timeline, shown, targets, drawing)
        for done, (picture, patches) in enumerate(pictures, 1):
            writer.write(paste(picture, patches))
            if masks is not None:
                masks.write_mask(coverage(patches, clip.height, clip.width))
            report.frames_edited += len(patches)
            progress("render", done, len(timeline))
    report.frames, report.frames_with_face = len(timeline), int(shown.present.sum())
    report.duration_s, report.shots = round(timeline.duration_s, 3), len(np.unique(shown.shots))
    report.peak_memory_mb = peak_memory_mb()
    report.warnings = [*timeline.warnings, *_face_warnings(shown, report.frames_edited)]
    return report


def read_face(clip: Clip, reader: FaceReader, face: str | int, progress: Progress) -> FaceTrack:
    """The chosen face through the whole clip."""
    done = 0

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        progress("landmarks", done, len(clip))

    return track_faces(clip.frames(), clip.times_s, reader, advance).choose(face)


def _face_warnings(shown: FaceTrack, edited: int) -> list[str]:
    warnings = []
    missing, covered = int((~shown.present).sum()), int(shown.present.sum()) - edited
    if missing:
        first = np.flatnonzero(~shown.present)[:5].tolist()
        warnings.append(
            f"{missing} of {len(shown)} frames show no such face and stay as they are (first: {first})"
        )
    if covered:
        warnings.append(
            f"{covered} of {len(shown)} frames have something before the mouth and stay as they are"
        )
    return warnings
