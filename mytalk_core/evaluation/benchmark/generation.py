"""Making a protocol's videos: one clip by several renderers, from one motion or from the true landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...appearance.references import APART_S
from ...appearance.renderer import Renderer, Rendering
from ...appearance.renderers import LoadedRenderer
from ...face.packed import Mapped
from ...face.track import FaceTrack
from ...face.tracker import FaceReader
from ...media.audio import Speech
from ...media.patch import paste
from ...media.timeline import Timeline, plan_timeline
from ...media.video import Clip
from ...media.writer import VideoWriter
from ...motion.generate import MotionModel, MotionOptions, generate_motion
from ...motion.person import RATE_HZ
from ...pipeline.stages import (
    Progress,
    build_renderer,
    disclosure_tags,
    read_face,
    render_pictures,
    target_landmarks,
)
from .protocol import Pair


@dataclass(frozen=True)
class Tools:
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
    pair: Pair, outputs: Mapping[str, Path], tools: Tools, how: Generation, progress: Progress
) -> None:
    """Write one clip's result of every system in `outputs` (system -> file).

    With another clip's speech the result ends with the shorter of the two; else it is as long as the clip.
    Raises: NoFaceError, MediaError, FileNotFoundError.
    """
    clip = Clip.open(pair.clip.path)
    own = pair.speech == pair.clip
    # True landmarks need no sound; what there is travels along.
    silent = tools.motion is None and not clip.has_audio
    speech = None if silent else Speech.open(pair.speech.path)
    length_s = clip.duration_s if speech is None else speech.duration_s
    timeline = plan_timeline(clip, length_s, "silence" if own else "cut_off")
    track = read_face(clip, tools.reader, "largest", progress)
    shown = track.take(timeline.source_index, timeline.times_s)
    targets = shown.canonical if tools.motion is None else speak(speech, shown, timeline, tools.motion, how)
    for system, path in outputs.items():
        loaded = tools.renderers[system]
        if tools.motion is None:
            renderer: Renderer = HalvesRenderer.of(clip, track, loaded)
        else:
            renderer = build_renderer(clip, track, shown, targets, loaded)
        pictures = render_pictures(clip, timeline, shown, targets, renderer)
        writer = VideoWriter(
            path, clip, crf=how.crf, speech=speech, timeline=timeline, metadata=disclosure_tags()
        )
        with writer:
            for done, (picture, patches) in enumerate(pictures, 1):
                writer.write(paste(picture, patches))
                progress(system, done, len(timeline))


def speak(
    speech: Speech, shown: FaceTrack, timeline: Timeline, model: MotionModel, how: Generation
) -> Mapped:
    """The landmarks that the speech asks for, on the output's frames."""
    frames = timeline.moments(RATE_HZ)
    return target_landmarks(shown, generate_motion(model, speech.mono_16k, shown, frames, how.options))


@dataclass(frozen=True)
class HalvesRenderer:
    """Draws every frame with references from the other half of the clip, 0.6 s or more away: the appearance
    alone, which may not borrow a mouth from the frame it rebuilds or from those beside it.

    halves: one renderer for each half's frames; second: bool (T,), which frames are the second half's.
    """

    halves: Sequence[Renderer]
    second: np.ndarray

    @staticmethod
    def of(clip: Clip, track: FaceTrack, loaded: LoadedRenderer) -> HalvesRenderer:
        """For a whole clip and its own landmarks. Raises NoFaceError where a half shows no face."""
        middle_s = (track.times_s[0] + track.times_s[-1]) / 2
        renderers = []
        for lends in (track.times_s >= middle_s + APART_S, track.times_s < middle_s - APART_S):
            lender = replace(track, present=track.present & lends)
            renderers.append(build_renderer(clip, lender, track, track.canonical, loaded))
        return HalvesRenderer(renderers, track.times_s >= middle_s)

    def render(
        self,
        crops: np.ndarray,
        source_landmarks: np.ndarray,
        target_landmarks: np.ndarray,
        frame_index: np.ndarray,
    ) -> Rendering:
        """See `Renderer.render`."""
        rendered, alpha = np.empty_like(crops), np.empty(crops.shape[:3], np.float32)
        for half, renderer in enumerate(self.halves):
            own = self.second[frame_index] == bool(half)
            if own.any():
                part = renderer.render(
                    crops[own], source_landmarks[own], target_landmarks[own], frame_index[own]
                )
                rendered[own], alpha[own] = part.crops, part.alpha
        return Rendering(rendered, alpha)

    def visibility(self, crops: np.ndarray, source_landmarks: np.ndarray) -> np.ndarray:
        """Every mouth is drawn: one that is left as it is would count as rebuilt without a fault."""
        return np.ones(len(crops), np.float32)
