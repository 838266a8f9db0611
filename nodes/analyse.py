"""ExtractLandmarks and IdentityEmbed."""

from __future__ import annotations

import weakref

import numpy as np
import torch
from comfy_api.latest import Input, io

from ..mytalk_core.errors import NoFaceError
from ..mytalk_core.face.choice import Place
from ..mytalk_core.face.external import find_shots, join_faces, with_depth
from ..mytalk_core.face.preview import draw_mesh
from ..mytalk_core.face.track import Faces
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.pipeline import stages
from ..mytalk_core.pipeline.checks import check_track
from ..mytalk_core.pipeline.report import face_warnings
from .clips import rate_hint, to_clip
from .faces import shown_faces
from .host import rare, schema
from .inputs import rate_input
from .linked import checked
from .memory import LoadedModel, bundled_model
from .progress import NodeProgress
from .screen import plainly, said
from .sockets import FaceLandmarksSocket, IdentitySocket, ModelSocket, TrackedFace, TrackSocket
from .video import ClipVideo

# Frames whose faces are read between two looks at Cancel.
BATCH_FRAMES = 8


class ExtractLandmarks(io.ComfyNode):
    """One face's landmarks through a video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkExtractLandmarks",
            shows=True,
            display_name="Extract Landmarks",
            description="Finds and follows one face: 478 points in every frame. Frames without it are "
            "counted and later pass through untouched.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A VIDEO (read from its file, a few frames at a time) or an IMAGE batch such as "
                    "AI-generated frames.",
                ),
                rate_input(
                    "Frames a second, for an IMAGE batch only; a VIDEO brings its own. 29.97 and "
                    "23.976 are taken as 30000/1001 and 24000/1001."
                ),
                io.Combo.Input(
                    "face",
                    options=["largest", "left", "right", "number", "place", "mask"],
                    default="largest",
                    tooltip="Which face: the largest, the one at the left or right of the picture, by "
                    "number (0 is the largest), nearest to the place below, or nearest to the linked mask. "
                    "In every shot it is the same person.",
                ),
                rare(
                    io.Int.Input,
                    "face_number",
                    default=0,
                    min=0,
                    max=63,
                    tooltip="For face 'number': 0 is the largest face, 1 the next.",
                ),
                rare(
                    io.Int.Input,
                    "place_x",
                    default=0,
                    min=0,
                    max=32768,
                    tooltip="For face 'place': pixels from the picture's left edge.",
                ),
                rare(
                    io.Int.Input,
                    "place_y",
                    default=0,
                    min=0,
                    max=32768,
                    tooltip="For face 'place': pixels from the picture's top edge.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Paint over the face, roughly, in one frame: a linked mask chooses the face, "
                    "whatever 'face' says.",
                ),
                FaceLandmarksSocket.Input(
                    "face_landmarks",
                    optional=True,
                    tooltip="Landmarks from ComfyUI's own MediaPipe Face Landmarker on the same frames; "
                    "used in place of our detector.",
                ),
            ],
            outputs=[
                TrackSocket.Output(display_name="track", tooltip="The face in every frame."),
                io.Video.Output(
                    display_name="preview", tooltip="The video with the mesh drawn, made when saved."
                ),
                io.Int.Output(display_name="frames_without_face", tooltip="These frames stay as they are."),
                io.Float.Output(
                    display_name="frame_rate",
                    tooltip="Frames a second, for nodes that ask for it.",
                ),
            ],
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        video: Input.Video | torch.Tensor,
        frame_rate: float,
        face: str,
        face_number: int,
        place_x: int,
        place_y: int,
        mask: torch.Tensor | None = None,
        face_landmarks: dict | None = None,
    ) -> io.NodeOutput:
        """Track, choose."""
        clip = to_clip(video, frame_rate)
        named: dict[str, int | Place]
        named = {"number": face_number, "place": Place(place_x, place_y)}
        by_mask = mask is not None or face == "mask"
        which = mask_place(mask, clip) if by_mask else named.get(face, face)
        faces = known_faces(video, clip) if face_landmarks is None else given_faces(clip, face_landmarks)
        track = faces.choose(which)
        missing = int((~track.present).sum())
        lines = [*face_warnings(track, len(track) - missing), *check_track(track, clip).doubts]
        lines += (
            [f"the linked mask chooses the face, '{face}' does not"] if by_mask and face != "mask" else []
        )
        lines += rate_hint(video, frame_rate)
        preview = ClipVideo(draw_mesh(clip, track))
        shown = said("Extract Landmarks", lines) | shown_faces(clip, faces, track)
        return io.NodeOutput(TrackedFace(clip, track), preview, missing, float(clip.fps), ui=shown)


def own_faces(clip: Clip) -> Faces:
    """Every face of a clip by the bundled networks."""
    reader = bundled_model().ready("reader").reader
    return stages.track(reader, clip, NodeProgress(), BATCH_FRAMES)


# By the address of a VIDEO or IMAGE, as long as it is there: who chooses another of its faces waits for
# nothing. Tensors are no keys of a dictionary, as they are compared value by value.
_known: dict[int, Faces] = {}


def known_faces(video: Input.Video | torch.Tensor, clip: Clip) -> Faces:
    """`own_faces` of a video as a clip, found once."""
    faces = _known.get(id(video))
    if faces is None or not np.array_equal(faces.times_s, clip.times_s):
        if faces is None:
            weakref.finalize(video, _known.pop, id(video), None)
        faces = _known[id(video)] = own_faces(clip)
    return faces


def given_faces(clip: Clip, payload: dict) -> Faces:
    """Every face of a FACE_LANDMARKS made on the same frames, in their size or another of the same shape."""
    height, width = payload.get("image_size", (clip.height, clip.width))
    if abs(width * clip.height - height * clip.width) > max(clip.height, clip.width):
        raise ValueError(
            f"face_landmarks of this video were required, {clip.width} x {clip.height}, but their pictures "
            f"have {width} x {height}: link the same frames to both"
        )
    scale = np.array([clip.width / width, clip.height / height])
    frames = [
        [
            with_depth(scale * np.asarray(face["landmarks_xy"]), np.asarray(face["landmarks_3d"]))
            for face in faces
        ]
        for faces in payload["frames"]
    ]
    return join_faces(frames, clip.times_s, find_shots(clip.pictures()))


def mask_place(mask: torch.Tensor | None, clip: Clip) -> Place:
    """The middle of a MASK's first painted frame in the clip's px, at its time where each frame has a mask.

    Raises NoFaceError for a mask that is not linked or empty.
    """
    if mask is not None and mask.ndim == 4:
        # One channel, which stands before or behind the sides.
        mask = mask[:, 0] if mask.shape[1] == 1 else mask[..., 0]
    frames = () if mask is None else mask.reshape(-1, *mask.shape[-2:])
    row = next((row for row, frame in enumerate(frames) if (frame > 0.5).any()), None)
    if row is None:
        raise NoFaceError(
            "face 'mask' needs a MASK with a painted area: link one, or choose the face otherwise"
        )
    rows, columns = torch.nonzero(frames[row] > 0.5, as_tuple=True)
    height, width = frames[row].shape
    x, y = columns.float().mean() * clip.width / width, rows.float().mean() * clip.height / height
    time_s = float(clip.times_s[row]) if len(frames) == len(clip) > 1 else None
    return Place(float(x), float(y), time_s)


class IdentityEmbed(io.ComfyNode):
    """Who speaks, as the motion model sees it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkIdentityEmbed",
            display_name="Identity Embed",
            description="The speaker's identity from a track. The track of another person, or of the same "
            "person in another mood, makes an emotional reference.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load MyTalk Model."),
                TrackSocket.Input("track", tooltip="The face whose way to speak is wanted."),
            ],
            outputs=[IdentitySocket.Output(display_name="identity", tooltip="For the motion sampler.")],
        )

    @classmethod
    @plainly
    @checked
    def execute(cls, model: LoadedModel, track: TrackedFace) -> io.NodeOutput:
        """Embed the rest shape."""
        return io.NodeOutput(model.ready("motion").identify(track.track))


NODES = [ExtractLandmarks, IdentityEmbed]
