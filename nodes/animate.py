"""MotionDiffusionSampler."""

from __future__ import annotations

import folder_paths
import numpy as np
from comfy_api.latest import Input, io, ui
from PIL import Image

from ..mytalk_core.face.draw import draw_landmarks
from ..mytalk_core.face.layout import LandmarkLayout
from ..mytalk_core.face.track import FaceTrack
from ..mytalk_core.media.timeline import SYNC_MODES, plan_timeline
from ..mytalk_core.motion.edit import smooth
from ..mytalk_core.motion.emotion import Identity
from ..mytalk_core.motion.generate import MotionOptions
from ..mytalk_core.motion.manner import MANNERS
from ..mytalk_core.motion.motion import Motion
from ..mytalk_core.pipeline.checks import check_motion
from ..mytalk_core.pipeline.stages import on_timeline
from .host import rare, schema
from .linked import checked
from .load import CATEGORY
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
            category=CATEGORY,
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
            steps, guidance, seed, sampler, temperature, expression, manner, emotion_strength
        )
        lips = model.ready("motion").speak(sound, track.track, timeline, options, identity, progress)
        motion = smooth(lips, smoothing_s)
        shown = on_timeline(track.track, timeline)
        lines = [*of_several(speech), *timeline.warnings, *check_motion(motion, shown).doubts]
        told = said("Motion Diffusion Sampler", lines)
        return io.NodeOutput(
            Performance(motion, timeline, sound, track.clip), ui=preview(motion, shown).as_dict() | told
        )


def sampling_inputs(**settings: bool) -> list[io.Int.Input | io.Float.Input | io.Combo.Input]:
    """How the motion is sampled; settings: of each input, as `optional`."""
    return [
        io.Int.Input(
            "steps",
            default=10,
            min=1,
            max=1000,
            tooltip="Sampling steps; 5 to 20 are enough for dpmpp_2m, ddpm wants more.",
            **settings,
        ),
        io.Float.Input(
            "guidance",
            default=1.0,
            min=0.0,
            max=10.0,
            step=0.05,
            tooltip="How hard the motion follows the speech: 1 is the model's own, 1.2 to 2 is crisper.",
            **settings,
        ),
        rare(
            io.Combo.Input,
            "sampler",
            options=["dpmpp_2m", "ddim", "ddpm"],
            default="dpmpp_2m",
            tooltip="The method of sampling: dpmpp_2m needs the fewest steps.",
            **settings,
        ),
        rare(
            io.Float.Input,
            "temperature",
            default=0.3,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="Variety: 0 is the most likely motion, 1 the full range of what people do.",
            **settings,
        ),
    ]


def emotion_strength_input(whose: str) -> io.Float.Input:
    """The share of an emotional reference, which comes as the input of that name."""
    return io.Float.Input(
        "emotion_strength",
        default=1.0,
        min=0.0,
        max=2.0,
        step=0.05,
        optional=True,
        tooltip=f"How much of the {whose}'s expression the face takes on: 0 none, 1 as much as is seen "
        "there.",
    )


def sync_mode_input() -> io.Combo.Input:
    """How speech and video of different lengths meet."""
    return io.Combo.Input(
        "sync_mode",
        options=list(SYNC_MODES),
        default="silence",
        tooltip="Where speech and video differ in length. silence: exactly the video, longer speech is cut; "
        "cut_off: ends with the shorter; loop, bounce: the video runs again, or back and forth; remap: it is "
        "slowed or sped up to the speech.",
    )


def expression_input() -> io.Float.Input:
    """The scale of a movement."""
    return io.Float.Input(
        "expression",
        default=1.0,
        min=0.0,
        max=3.0,
        step=0.05,
        tooltip="Scale of the whole movement: below 1 calmer, above 1 livelier.",
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
