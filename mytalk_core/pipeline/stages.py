"""The stages of the method, each one call: `track` reads faces, `speak` makes motion, `draw` makes lips.

Everything that tracks, speaks or draws goes through these: `LipSync`'s methods, the command line, the nodes,
evaluation, training and the programs that measure. `write` (beside this file) is the fourth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np

from ..appearance.covers.cover_detector import CoverDetector, free_references
from ..appearance.references.open_mouths import with_open_mouths
from ..appearance.references.plan import expected_brightness
from ..appearance.references.pool import WANTED, choose_pool, pool_count
from ..appearance.references.references import read_references
from ..appearance.renderers import LoadedRenderer
from ..appearance.square.crop import crop_size
from ..appearance.square.frame_edge import cut_lips, held_at_edge
from ..appearance.warp_renderer import WarpSettings
from ..appearance.watermark import find_watermark
from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..face.packed import Mapped
from ..face.reader import FaceReader
from ..face.track import Faces, FaceTrack
from ..face.tracker import track_faces
from ..media.audio import Speech
from ..media.clip import Clip
from ..media.picture import Picture
from ..media.timeline import Timeline
from ..motion.emotion import Identity
from ..motion.generate import MotionModel, MotionOptions, generate_motion
from ..motion.motion import Motion
from ..motion.person import RATE_HZ
from .ahead import Item, Made, made_ahead, read_ahead, work_threads
from .rendered import RenderedClip

# progress(stage, done, total)
Progress = Callable[[str, int, int], None]
# Frames whose faces are read between two reports of progress.
BATCH_FRAMES = 16


def track(
    reader: FaceReader, clip: Clip, progress: Progress | None = None, batch_frames: int = BATCH_FRAMES
) -> Faces:
    """Every face of a clip, found and followed in one pass; `Faces.choose` takes one, or raises NoFaceError.

    progress: called with "landmarks", frames done and all; batch_frames: decoded at a time. Raises MediaError
    when the clip stops decoding.
    """
    done = 0

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        if progress is not None:
            progress("landmarks", done, len(clip))

    # The next pictures are decoded while the faces of these are read.
    rooms = np.empty((batch_frames, clip.height, clip.width, 3), np.uint8)
    with closing(read_ahead(_batches(clip.pictures(), rooms), work_threads())) as batches:
        return track_faces(batches, clip.times_s, reader, advance)


def _made_ahead(
    make: Callable[[Item], Made], items: Iterable[Item], between: Callable[[], None] | None
) -> Iterator[Made]:
    """`made_ahead` on the threads there are; between: called with each."""
    for made in made_ahead(make, items, work_threads()):
        if between is not None:
            between()
        yield made


def _batches(pictures: Iterable[Picture], rooms: np.ndarray) -> Iterator[list[Picture]]:
    """Pictures in lists, at most as many as there are rooms (B,H,W,3) uint8: their RGB is made in the memory
    of those before, whose pages are there already."""
    pictures = iter(pictures)
    while batch := list(islice(pictures, len(rooms))):
        yield [replace(picture, room=room) for picture, room in zip(batch, rooms, strict=False)]


def speak(
    model: MotionModel,
    speech: Speech,
    face: FaceTrack,
    timeline: Timeline,
    options: MotionOptions | None = None,
    identity: Identity | None = None,
    progress: Progress | None = None,
) -> Motion:
    """The motion of a face that says `speech` from the timeline's start to its end.

    face: on the clip's own times; options, identity: see `generate_motion`. Raises NoFaceError.
    """
    return generate_motion(
        model,
        speech.mono_16k,
        on_timeline(face, timeline),
        timeline.moments(RATE_HZ),
        options,
        identity,
        progress=None if progress is None else lambda done, total: progress("motion", done, total),
    )


def draw(
    renderer: LoadedRenderer,
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
    """The clip on a timeline with lips that follow a motion. The references are read now, and each picture
    when somebody reads it.

    face: on the clip's own times; motion: None draws the face's own landmarks anew; lips: a clip and the face
    in it whose lips are borrowed, by default the clip's own; settings: see `WarpSettings`; speech: the sound
    of the result; between: called from picture to picture while references are read and looked at, and may
    raise to end it. Raises NoFaceError where nobody lends lips.
    """
    shown = on_timeline(face, timeline)
    layout = LandmarkLayout.load(face.layout)
    targets = shown.canonical
    if motion is not None:
        targets = target_landmarks(shown, motion, (clip.height, clip.width))
    # The output's size: the face's own differs where a zoom is cut away.
    size = crop_size(shown.similarity, shown.present)
    lender, lending = lips or (clip, face)
    wanted = shown.seen_rows(WANTED)
    shots = None if lips else (lending.shots, shown.shots[wanted])
    usable = lendable(lender, lending, layout)
    pool = choose_pool(usable, lending.canonical, layout, pool_count(size), targets[wanted], shots)
    each = partial(_made_ahead, between=between)
    references = read_references(lender, lending, pool, size, layout, each=each)
    # What stands still in the pictures of another clip says nothing about those of this one.
    placed = lending.similarity[references.frame_index] if lips is None else None
    small = references.resized(UNITS)
    watermark = None if lips else find_watermark(clip, face, small, layout)
    if watermark is not None:
        references = read_references(lender, lending, pool, size, layout, each, watermark.taken_off)
        small = references.resized(UNITS)
    cover_detector = CoverDetector(small, layout, placed, each)
    # Before those are taken away that cannot lend, but for fades, of which all is drawn as it was before.
    clear = references.take(~cover_detector.fading)
    light = None if lips else expected_brightness(clear, timeline.source_index, shown.shots)
    references, covered = free_references(references, cover_detector, placed, each, small)
    lenders = with_open_mouths(references, targets, layout)
    return RenderedClip.arrange(
        clip,
        timeline,
        speech,
        track=shown,
        targets=targets,
        renderer=renderer.make(lenders, targets, layout, shown.shots, settings, light),
        references=references,
        covered=covered,
        lent=len(lenders) - len(references),
        watermark=watermark,
        cover_detector=cover_detector if (settings or WarpSettings()).check_visibility else None,
    )


def lendable(clip: Clip, face: FaceTrack, layout: LandmarkLayout) -> np.ndarray:
    """Which frames of a clip can lend a face's lips, bool (T,): those that show them whole. Where none does,
    those that show the face at all, for what they are worth."""
    cut = cut_lips(face, (clip.height, clip.width), layout)
    whole = face.present & ~cut
    return whole if whole.any() else face.present


def on_timeline(face: FaceTrack, timeline: Timeline) -> FaceTrack:
    """A face of the clip, at the frames and times of the output."""
    return face.take(timeline.source_index, timeline.times_s)


def target_landmarks(shown: FaceTrack, motion: Motion, frame: tuple[int, int]) -> Mapped:
    """What is to be drawn: (rows,N,2) canonical units when indexed by frame, unpacked where it is read.

    frame: (H, W) px, at whose edge nothing moves.
    """
    layout = LandmarkLayout.load(shown.layout)

    def read(rows: slice | np.ndarray | int) -> np.ndarray:
        source = shown.canonical[rows]
        wanted = motion.onto(source, shown.times_s[rows])
        return held_at_edge(source, wanted, shown.similarity[rows], frame, layout)

    return Mapped(len(shown), read)
