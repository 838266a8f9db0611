"""The loaded model: every network of both stages, and the stages as its methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ..appearance.renderers import LoadedRenderer, load_renderer
from ..appearance.warp_renderer import WarpSettings
from ..expert.scorer import ExpertScorer
from ..face.choice import FaceChoice
from ..face.reader import FaceReader, load_face_reader
from ..face.track import Faces, FaceTrack
from ..media.audio import Speech
from ..media.clip import Clip
from ..media.timeline import Timeline
from ..motion.emotion import Identity
from ..motion.generate import MotionModel, MotionOptions, identify
from ..motion.motion import Motion
from . import stages
from .choosing import choose
from .device import choose_device, choose_drawing_dtype, choose_dtype
from .rendered import RenderedClip
from .stages import Progress


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

    def with_renderer(self, renderer: str) -> LipSync:
        """The same networks, and another renderer, whose own network is loaded now."""
        loaded = load_renderer(renderer, self.source, self.revision, self.device, self.drawing_dtype)
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
