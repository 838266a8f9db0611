"""Stage one as a whole: speech and a face track -> the motion of the lower face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..face.layout import LandmarkLayout
from ..face.track import FaceTrack
from ..speech.activity import speech_presence
from ..speech.features import SpeechEncoder, SpeechFeatures
from .amplitude import amplified
from .bounds import MotionBounds
from .closures import close_lips, closure_share
from .denoiser import MotionDenoiser
from .diffusion import PROCESSES, SAMPLERS
from .emotion import Identity, emotion_channels, emotion_shift
from .emphasis import emphasis
from .identity import IdentityExtractor, embed_person
from .manner import MANNERS, Manner
from .motion import Motion
from .person import RATE_HZ, Person, PoseFreeTrack, opening_ratio, remove_pose
from .rest import closed_displacement, rest_of
from .sampler import EncodedSpeech, sample_motion
from .space import LandmarkSpace

# Landmarks are unpacked this many motion frames at a time: memory does not grow with the clip.
BLOCK_FRAMES = 500
# The generated face fades into the source's over this height below the nose base, canonical units.
FADE_PX = 12.0
# Beyond these nothing follows that looks like speech; seeds are those that PyTorch takes.
OPTION_RANGES: dict[str, tuple[int, int]] = {
    "steps": (1, 1000),
    "guidance": (0, 10),
    "seed": (-(2**63), 2**64 - 1),
    "temperature": (0, 1),
    "expression": (0, 10),
    "emotion_strength": (0, 2),
}


@dataclass(frozen=True)
class MotionModel:
    """The parts of stage one, on one device: subfolders motion, space, identity and speech of a model."""

    denoiser: MotionDenoiser
    space: LandmarkSpace
    identity: IdentityExtractor
    speech_encoder: SpeechEncoder

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network by name; the landmark space is a table, not a network."""
        return {
            "motion denoiser": self.denoiser,
            "identity extractor": self.identity,
            "speech encoder": self.speech_encoder,
        }

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights that were loaded, by part."""
        return {
            "motion": self.denoiser.sha256,
            "space": self.space.sha256,
            "identity": self.identity.sha256,
            "speech": self.speech_encoder.sha256,
        }

    def person_of(self, track: FaceTrack) -> Person:
        """Whose face it is, as this model sees people. Raises NoFaceError if the track shows no face."""
        return rest_of(track.in_layout(self.space.config.layout), self.space)

    @staticmethod
    def from_pretrained(
        source: str | Path,
        revision: str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> MotionModel:
        """Load a bundled model by name, a folder, or hub:OWNER/NAME; errors as in `PretrainedModel`."""
        denoiser = MotionDenoiser.from_pretrained(source, "motion", revision, device, dtype)
        space = LandmarkSpace.from_pretrained(source, "space", revision)
        identity = IdentityExtractor.from_pretrained(source, "identity", revision, device, torch.float32)
        config = denoiser.config
        # A speech encoder that is not part of the model travels under its own name.
        own = config.speech_encoder == "speech"
        encoder = SpeechEncoder.from_pretrained(
            source if own else config.speech_encoder,
            "speech" if own else None,
            revision if own else None,
            layers=config.speech_layers,
            device=device,
        )
        return MotionModel(denoiser, space, identity, encoder)


@dataclass(frozen=True)
class MotionOptions:
    """What a user can choose.

    steps, sampler, guidance, seed: as in `sample_motion`; temperature: how much the seed decides, by the
    noise that sampling starts from and by `emphasis`, 0 gives the most likely motion, 1 the full variety;
    expression: scale of the movement;
    manner: how far the mouth opens. "own": about as far as the source's own ranges, and modestly where it
    does not show that (`MotionBounds`); "model": as far as most people's. `expression` scales either;
    emotion_strength: how much of what an identity that is given expresses, 1 as that face does.
    `OPTION_RANGES` has what each may be.
    """

    steps: int = 10
    guidance: float = 1.0
    seed: int = 0
    sampler: str = "dpmpp_2m"
    temperature: float = 0.3
    expression: float = 1.0
    manner: str = "own"
    emotion_strength: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for an option outside its range, or one that is no number."""
        for name, (low, high) in OPTION_RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high or (name in ("steps", "seed") and int(value) != value):
                kind = "a whole number" if name in ("steps", "seed") else "a number"
                raise ValueError(f"{name} must be {kind} from {low} to {high}; got {value}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}; got {self.sampler!r}")
        if self.manner not in MANNERS:
            raise ValueError(f"manner must be one of {', '.join(MANNERS)}; got {self.manner!r}")


def embed_identity(model: MotionModel, person: Person) -> torch.Tensor:
    """The identity condition (1,Di) of a person's rest shape, on the model's device."""
    return embed_person(model.identity, person, model.denoiser.config.conditioning)


def identify(model: MotionModel, track: FaceTrack) -> Identity:
    """Whose face a track shows, and how they are. Raises NoFaceError if the track shows no face."""
    track = track.in_layout(model.space.config.layout)
    person = model.person_of(track)
    emotion = emotion_channels(model.space, track, person)
    return Identity(embed_identity(model, person), emotion, Manner.shown(track))


def generate_motion(
    model: MotionModel,
    mono_16k: np.ndarray,
    track: FaceTrack,
    frames: int,
    options: MotionOptions | None = None,
    identity: Identity | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Motion:
    """Landmarks of the lower face that speak `mono_16k` (S,) on `frames` motion frames at 25 Hz.

    track: the face on the output's time line; identity: of `identify`, by default the track's own; another
    person's is an emotional reference (section 4.3): the face takes on its expression and how far its mouth
    opens. Where nobody speaks, and behind the end of the speech, the lips meet, and on p, b and m. Where the
    model works in a layout made from the track's, the motion is still the track's: points that were added
    are left out.

    Raises NoFaceError if the track shows no face.
    """
    options = options or MotionOptions()
    tracked = LandmarkLayout.load(track.layout)
    track = track.in_layout(model.space.config.layout)
    person = model.person_of(track)
    blocks = [(start, min(start + BLOCK_FRAMES, frames)) for start in range(0, frames, BLOCK_FRAMES)]
    upper = torch.cat([model.space.encode_upper(remove_pose(track, person, *b).displacement) for b in blocks])
    features = SpeechFeatures(model.speech_encoder, mono_16k, 2 * frames)
    channels = sample_motion(
        model.denoiser,
        PROCESSES[model.denoiser.config.process](),
        EncodedSpeech(model.denoiser, features),
        upper,
        _embedding(model, person, identity, options),
        steps=options.steps,
        guidance=options.guidance,
        sampler=options.sampler,
        seed=options.seed,
        temperature=options.temperature,
        progress=progress,
    )
    presence = speech_presence(mono_16k, frames)
    channels = amplified(model.space, channels.cpu())
    if options.manner == "own":
        heard = channels[torch.from_numpy(presence == 1)]
        channels *= manner_gain(model.space, heard, track, person, identity, options.emotion_strength)
    channels *= options.expression
    shape = Mouth.of(model.space, track, person, identity, options)
    # Away from lips that meet, so that lips which met still do.
    scale = presence * emphasis(frames, options.temperature, options.seed).numpy()
    share = presence * closure_share(features)
    layout = LandmarkLayout.load(track.layout)
    parts = []
    for start, stop in blocks:
        rows = slice(start, stop)
        spoken = shape.speaking(model.space.decode_lower(channels[rows]), scale[rows], share[rows])
        parts.append(_under_pose(remove_pose(track, person, start, stop), spoken, person, layout))
    own = layout.lower < tracked.points
    return Motion(np.concatenate(parts)[:, own], tracked.name, layout.lower[own])


def _embedding(
    model: MotionModel, person: Person, identity: Identity | None, options: MotionOptions
) -> Tensor:
    """What the denoiser is told of who speaks, (1,Di)."""
    own = embed_identity(model, person)
    if identity is not None:
        own = torch.lerp(own, identity.embedding.to(own), min(options.emotion_strength, 1.0))
    return own.to(next(model.denoiser.parameters()).device)


@dataclass(frozen=True)
class Mouth:
    """What becomes of movements on one face.

    emotion, closed: (N,3) mouth widths from rest, to what it expresses, and to lips that meet so; bounds:
    what it may be made to do, where its source does not show that; expression: the user's scale.
    """

    space: LandmarkSpace
    person: Person
    emotion: np.ndarray
    closed: np.ndarray
    bounds: MotionBounds | None
    expression: float

    @staticmethod
    def of(
        space: LandmarkSpace,
        track: FaceTrack,
        person: Person,
        identity: Identity | None,
        options: MotionOptions,
    ) -> Mouth:
        """The mouth of the person in a track."""
        emotion = np.zeros_like(person.rest)
        if identity is not None:
            own = emotion_channels(space, track, person)
            emotion = emotion_shift(space, own, identity.emotion, options.emotion_strength)
        closed = closed_displacement(space, person, emotion)
        bounds = MotionBounds.of(track, person, emotion) if options.manner == "own" else None
        return Mouth(space, person, emotion, closed, bounds, options.expression)

    def speaking(self, movement: np.ndarray, scale: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Displacements (F,N,3) of movements (F,N,3) from rest, scaled (F,) from lips that meet, and share
        (F,) nearer to such lips, on p, b and m."""
        spoken = self.closed + scale[:, None, None] * (self.emotion + movement - self.closed)
        spoken = close_lips(spoken, share, self.space, self.person)
        if self.bounds is None:
            return spoken
        return self.bounds.bound(spoken, self.closed, self.person, self.expression)


def manner_gain(
    space: LandmarkSpace,
    channels: Tensor,
    track: FaceTrack,
    person: Person,
    identity: Identity | None,
    strength: float,
) -> float:
    """What channels (F,D) of generated speech are to be scaled by to open the mouth as far as the track's own
    face does, or by `strength` as far as another identity's; 1 where that shows too little."""
    parts = [
        opening_ratio(person.rest + space.decode_lower(block) * person.mouth_width)
        for block in channels.split(BLOCK_FRAMES)
    ]
    generated = Manner.of(np.concatenate(parts), len(channels) / RATE_HZ)
    own = Manner.shown(track).gain(generated)
    if identity is None or not identity.manner.tells:
        return own
    share = min(strength, 1.0)
    return own ** (1 - share) * identity.manner.gain(generated) ** share


def _under_pose(
    free: PoseFreeTrack, displacement: np.ndarray, person: Person, layout: LandmarkLayout
) -> np.ndarray:
    """Generated displacements (n,N,3) -> points (n,P,2) canonical units under each frame's pose."""
    generated = free.to_canonical(displacement, person)[:, layout.lower]
    source = free.to_canonical(free.displacement, person)[:, layout.lower]
    share = generated_share(layout)[:, None]
    return source + share * (generated - source)


def generated_share(layout: LandmarkLayout) -> np.ndarray:
    """For each lower point (P,) how much of it is generated: 1 at lips, chin and jaw, less near the nose."""
    height = layout.template[layout.lower, 1]
    share = np.clip((height - height.min()) / FADE_PX, 0, 1)
    share[np.isin(layout.lower, layout.lips)] = 1.0
    return share.astype(np.float32)
