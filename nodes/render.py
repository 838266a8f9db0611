"""AppearanceGenerate."""

from __future__ import annotations

from dataclasses import replace

import comfy.model_management
import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, io

from ..mytalk_core.appearance.renderers import RENDERERS
from ..mytalk_core.appearance.warp_renderer import WarpSettings
from ..mytalk_core.face import alignment
from ..mytalk_core.face.alignment import UNITS
from ..mytalk_core.face.track import FaceTrack
from ..mytalk_core.media.audio import Speech
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.mixed import MixedSpeech
from ..mytalk_core.media.timeline import plan_timeline
from ..mytalk_core.pipeline.checks import check_pictures
from ..mytalk_core.pipeline.rendered import RenderedClip
from .clips import not_kept, sources, to_clip
from .host import rare, schema
from .kept import KeptPatches
from .lazy import clip_images, clip_masks
from .linked import checked
from .memory import DrawingNetworks, LoadedModel, bundled_model
from .same_video import check_frames, check_times, other_video
from .screen import plainly, said
from .sockets import BoundingBoxSocket, ModelSocket, MotionSocket, Performance, TrackedFace, TrackSocket
from .video import ClipVideo, existing


class AppearanceGenerate(io.ComfyNode):
    """New lips in the source's own frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkAppearanceGenerate",
            shows=True,
            display_name="Appearance Generate",
            description="Draws the mouth of the motion into the video at its own resolution; every pixel "
            "outside the soft mask stays the source's. The video is rendered while it is saved.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="The frames that the track was made from, or what another Appearance Generate "
                    "made of them.",
                ),
                TrackSocket.Input("track", tooltip="The face in that video."),
                MotionSocket.Input("motion", tooltip="How its mouth shall move."),
                io.Combo.Input(
                    "renderer",
                    options=list(RENDERERS),
                    default="auto",
                    tooltip="network: the person's own lips and teeth from other frames, bent to the new "
                    "shape and mended by a small trained network; warp: the same without a network, "
                    "faster; generator: drawn whole by the model's appearance generator, if it has one; "
                    "auto: network where the model brings one, else warp.",
                ),
                rare(
                    io.Boolean.Input,
                    "colour_match",
                    default=True,
                    tooltip="Bring borrowed lips to the light of the frame around them.",
                ),
                rare(
                    io.Float.Input,
                    "detail",
                    default=8.0,
                    min=0.0,
                    max=32.0,
                    step=0.5,
                    tooltip="How much the sharpest reference leads in fine detail: 0 averages all, which "
                    "is softer and steadier.",
                ),
                rare(
                    io.Float.Input,
                    "feather",
                    default=5.0,
                    min=1.0,
                    max=15.0,
                    step=0.5,
                    tooltip="Percent of the face's square: over what width the new lips fade into the frame. "
                    "Less keeps more of the source's skin, more hides a difference of light.",
                ),
                TrackSocket.Input(
                    "lip_references",
                    optional=True,
                    tooltip="The track of another video or picture whose lips and teeth are borrowed: "
                    "changes their look, or carries an emotion.",
                ),
                ModelSocket.Input(
                    "model",
                    optional=True,
                    tooltip="Whose network the renderer is; the pack's own where nothing is linked.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="Rendered while it is saved; has the speech as sound."
                ),
                io.Image.Output(
                    display_name="images", tooltip="All frames as IMAGE; made only where it is linked."
                ),
                io.Mask.Output(
                    display_name="mask", tooltip="How much of each pixel is new; made only where linked."
                ),
                BoundingBoxSocket.Output(
                    display_name="crop_boxes",
                    tooltip="For each frame a list with the face's box, px; empty without.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        video: Input.Video | torch.Tensor,
        track: TrackedFace,
        motion: Performance,
        renderer: str,
        colour_match: bool,
        detail: float,
        feather: float,
        lip_references: TrackedFace | None = None,
        model: LoadedModel | None = None,
    ) -> io.NodeOutput:
        """Read the lip references; rendering waits for whoever saves."""
        clip = check_frames(to_clip(video, track.clip.fps), track)
        timeline = motion.timeline or plan_timeline(clip, len(motion.motion) / motion.motion.rate_hz)
        check_times(motion, clip)
        settings = WarpSettings(
            colour_match=colour_match,
            detail=detail,
            feather=feather / 100 * UNITS,
            check_visibility=lip_references is None,
        )
        sound, lines = heard(clip, motion)
        loaded = (model or bundled_model()).with_renderer(renderer)
        rendered = loaded.model.draw(
            clip,
            track.track,
            motion.motion,
            timeline,
            lips=None if lip_references is None else (lip_references.clip, lip_references.track),
            settings=settings,
            speech=sound,
            between=comfy.model_management.throw_exception_if_processing_interrupted,
        )
        # By the time somebody reads it, other models may have taken the network's place on the device.
        lender = (lip_references or track).track
        doubts = check_pictures(rendered.references, lender, rendered.covered, rendered.lent).doubts
        kept = KeptPatches(existing(folder_paths.get_temp_directory()))
        drawn_with = DrawingNetworks.of(loaded, sources(clip))
        # Without a network several frames may be drawn at once.
        rendered = replace(rendered, prepare=drawn_with if drawn_with.patchers else None, patch_cache=kept)
        return io.NodeOutput(
            ClipVideo(rendered, cls.hidden.unique_id),
            clip_images(rendered),
            clip_masks(rendered),
            crop_boxes(rendered.track),
            ui=said("Appearance Generate", [*not_kept(video), *other_video(clip, track), *lines, *doubts]),
        )


def heard(clip: Clip, motion: Performance) -> tuple[Speech | None, list[str]]:
    """The sound of a clip with a motion, and lines for the user: of one whose lips were animated before, both
    speeches; with a motion from a file the clip's own."""
    if motion.speech is None:
        stays = ", so the video's own sound stays" if clip.has_audio else ""
        line = f"a motion from a file brings no speech{stays}: link it to Video Combine"
        return clip.speech() if clip.has_audio else None, [line]
    animated = any(isinstance(made, RenderedClip) for made in sources(clip))
    if not animated or not clip.has_audio or _same(clip.speech(), motion.speech):
        return motion.speech, []
    return MixedSpeech.of([clip.speech(), motion.speech]), []


def _same(one: Speech, other: Speech) -> bool:
    return one.sample_rate == other.sample_rate and np.array_equal(one.mono_16k, other.mono_16k)


def crop_boxes(shown: FaceTrack) -> list[list[dict]]:
    """For each frame the upright box, px, around the square that the lips are rendered in."""
    corners = np.array([[0, 0], [UNITS, 0], [0, UNITS], [UNITS, UNITS]], np.float32)
    corners_px = alignment.apply(alignment.invert(shown.similarity), corners)
    low, high = corners_px.min(1), corners_px.max(1)
    return [
        [dict(zip(("x", "y", "width", "height"), map(float, (*start, *(end - start))), strict=True))]
        if seen
        else []
        for start, end, seen in zip(low, high, shown.present, strict=True)
    ]


NODES = [AppearanceGenerate]
