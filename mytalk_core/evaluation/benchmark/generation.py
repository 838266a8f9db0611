"""Making a protocol's videos: one clip by several renderers, from one motion or from the true landmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from ...appearance.references.references import APART_S
from ...appearance.renderers import LoadedRenderer
from ...appearance.warp_renderer import WarpSettings
from ...face.reader import FaceReader
from ...face.track import FaceTrack
from ...media.arranged import DerivedClip
from ...media.audio import Speech
from ...media.clip import Clip
from ...media.file_clip import FileClip
from ...media.picture import Picture
from ...media.timeline import Timeline, plan_timeline
from ...motion.generate import MotionModel, MotionOptions
from ...pipeline.rendered import RenderedClip
from ...pipeline.stages import Progress, draw, speak, track
from ...pipeline.write import write
from .protocol import Pair


@dataclass(frozen=True)
class LoadedNetworks:
    """What is loaded once: face networks; the motion model, None for true landmarks; the renderer of
    each system."""

    reader: FaceReader
    motion: MotionModel | None
    renderers: Mapping[str, LoadedRenderer]


@dataclass(frozen=True)
class Generation:
    """How to make them. options: of the motion; crf: quality of the H.264 files."""

    options: MotionOptions
    crf: int = 18


def generate(
    pair: Pair, outputs: Mapping[str, Path], tools: LoadedNetworks, how: Generation, progress: Progress
) -> None:
    """Write one clip's result of every system in `outputs` (system -> file).

    With another clip's speech the result ends with the shorter of the two; else it is as long as the clip.
    Raises: NoFaceError, MediaError, FileNotFoundError.
    """
    clip = FileClip.open(pair.clip.path)
    own = pair.speech == pair.clip
    # True landmarks need no sound; what there is travels along.
    silent = tools.motion is None and not clip.has_audio
    speech = None if silent else Speech.open(pair.speech.path)
    length_s = clip.duration_s if speech is None else speech.duration_s
    timeline = plan_timeline(clip, length_s, "silence" if own else "cut_off")
    face = track(tools.reader, clip, progress).choose("largest")
    motion = None
    if tools.motion is not None and speech is not None:
        motion = speak(tools.motion, speech, face, timeline, how.options)
    for system, path in outputs.items():
        renderer = tools.renderers[system]
        drawn: Clip
        if motion is None:
            drawn = Halves.drawn(renderer, clip, face, timeline)
        else:
            drawn = draw(renderer, clip, face, motion, timeline)

        def written(done: int, total: int, picture: Picture, system: str = system) -> None:
            progress(system, done, total)

        write(drawn, path, sound=speech, crf=how.crf, progress=written)


@dataclass(frozen=True, eq=False, kw_only=True)
class Halves(DerivedClip):
    """A clip whose every mouth is drawn anew from its true landmarks, with references from the other half,
    0.6 s or more away: the appearance alone, which may not borrow a mouth from the frame it rebuilds or from
    those beside it.

    halves: the clip drawn for the frames of each half; second: bool (T,), which frames are the second half's.
    """

    halves: tuple[RenderedClip, RenderedClip] = field(repr=False)
    second: np.ndarray = field(repr=False)

    @staticmethod
    def drawn(renderer: LoadedRenderer, clip: Clip, face: FaceTrack, timeline: Timeline) -> Halves:
        """For a whole clip and its own landmarks. Raises NoFaceError where a half shows no face."""
        middle_s = (face.times_s[0] + face.times_s[-1]) / 2
        # Every mouth: one that is left as it is would count as rebuilt without a fault.
        settings = WarpSettings(check_visibility=False)

        def half(lends: np.ndarray) -> RenderedClip:
            lender = replace(face, present=face.present & lends)
            return draw(renderer, clip, face, None, timeline, lips=(clip, lender), settings=settings)

        first = half(face.times_s >= middle_s + APART_S)
        second = half(face.times_s < middle_s - APART_S)
        return Halves.of(first, halves=(first, second), second=face.times_s >= middle_s)

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        for second, run in groupby(rows, key=lambda row: bool(self.second[row])):
            yield from self.halves[second].pictures(list(run))
