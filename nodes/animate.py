"""MotionDiffusionSampler."""

from __future__ import annotations

import folder_paths
import numpy as np
from comfy_api.latest import Input, io, ui
from PIL import Image

from ..mytalk_core.face.draw import draw_landmarks
from ..mytalk_core.face.layout import LandmarkLayout
from ..mytalk_core.face.track import FaceTrack
from ..mytalk_core.media.timeline import plan_timeline
from ..mytalk_core.motion.edit import smooth
from ..mytalk_core.motion.emotion import Identity
from ..mytalk_core.motion.generate import MotionOptions
from ..mytalk_core.motion.manner import MANNERS
from ..mytalk_core.motion.motion import Motion
from ..mytalk_core.pipeline.checks import check_motion
from ..mytalk_core.pipeline.stages import on_timeline
from .host import rare, schema
from .inputs import emotion_strength_input, expression_input, sampling_inputs, sync_mode_input
from .linked import checked
from .memory import LoadedModel
from .outputs import numbered_file
from .progress import NodeProgress
from .screen import plainly, said
from .sockets import IdentitySocket, ModelSocket, MotionSocket, Performance, TrackedFace, TrackSocket
from .sound import of_several, to_speech

# The preview in the node: seconds shown, pictures a second.
PREVIEW_S, PREVIEW_HZ = 8.0, 12.5


class MotionDiffusionSampler(io.ComfyNode):
    """Speech to the movement of the lower face."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkMotionDiffusionSampler",
            shows=True,
            display_name="Motion Diffusion Sampler",
            description="Samples the movement of lips, chin and jaw that speaks the speech, at 25 poses a "
            "second.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load MyTalk Model."),
                io.Audio.Input("speech", tooltip="What the face shall say, any language, any rate."),
                TrackSocket.Input("track", tooltip="The face that shall say it."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=True,
                    tooltip="The same seed gives the same motion.",
                ),
                *sampling_inputs(),
                expression_input(),
                rare(
                    io.Float.Input,
                    "smoothing_s",
                    default=0.0,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Seconds over which the movement is averaged; 0 leaves it, 0.04 calms, more "
                    "mumbles.",
                ),
                sync_mode_input(),
                IdentitySocket.Input(
                    "identity",
                    optional=True,
                    tooltip="From Identity Embed; without it the track's own. Another person's is an "
                    "emotional reference, whose expression the face takes on.",
                ),
                io.Combo.Input(
                    "manner",
                    options=list(MANNERS),
                    default="own",
                    optional=True,
                    tooltip="How far the mouth opens. own: about as far as this person's does in the source, "
                    "modestly where it hardly moves there; model: as far as most people's. expression "
                    "scales either.",
                ),
                emotion_strength_input("identity"),
            ],
            outputs=[
                MotionSocket.Output(display_name="motion", tooltip="For Appearance Generate, or to edit.")
            ],
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        model: LoadedModel,
        speech: Input.Audio,
        track: TrackedFace,
        seed: int,
        steps: int,
        guidance: float,
        sampler: str,
        temperature: float,
        expression: float,
        smoothing_s: float,
        sync_mode: str,
        identity: Identity | None = None,
        manner: str = "own",
        emotion_strength: float = 1.0,
    ) -> io.NodeOutput:
        """Lay out the time, sample, smooth."""
        sound, progress = to_speech(speech), NodeProgress()
        timeline = plan_timeline(track.clip, sound.duration_s, sync_mode)
        options = MotionOptions(
            steps=steps,
            guidance=guidance,
            seed=seed,
            sampler=sampler,
            temperature=temperature,
            expression=expression,
            manner=manner,
            emotion_strength=emotion_strength,
        )
        lips = model.ready("motion").speak(sound, track.track, timeline, options, identity, progress)
        motion = smooth(lips, smoothing_s)
        shown = on_timeline(track.track, timeline)
        lines = [*of_several(speech), *timeline.warnings, *check_motion(motion, shown).doubts]
        told = said("Motion Diffusion Sampler", lines)
        return io.NodeOutput(
            Performance(motion, timeline, sound, track.clip), ui=preview(motion, shown).as_dict() | told
        )


def preview(motion: Motion, shown: FaceTrack) -> ui.SavedImages:
    """The first seconds of a motion as an animated picture in ComfyUI's temp folder."""
    times_s = np.arange(0, min(PREVIEW_S, shown.times_s[-1] + 1e-6), 1 / PREVIEW_HZ)
    rows = np.searchsorted(shown.times_s, times_s, side="right") - 1
    landmarks = motion.onto(shown.canonical[rows], times_s)
    layout = LandmarkLayout.load(motion.layout)
    black = np.zeros((256, 256, 3), np.uint8)
    frames = [Image.fromarray(draw_landmarks(black, points, layout)) for points in landmarks]
    path, subfolder = numbered_file("MyTalk_motion", ".webp", folder_paths.get_temp_directory())
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=int(1000 / PREVIEW_HZ),
        method=0,
    )
    return ui.SavedImages([ui.SavedResult(path.name, subfolder, io.FolderType.temp)], is_animated=True)


NODES = [MotionDiffusionSampler]
