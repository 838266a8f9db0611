"""Figures of a motion model on prepared clips: lip sync by our expert, likeness by the identity extractor."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from mytalk_training.motion.data import RawClip
from torch import Tensor

from mytalk_core.evaluation.metrics.lips import velocity_distance
from mytalk_core.expert.sync_expert import SyncExpert
from mytalk_core.motion.amplitude import amplified
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.motion.identity import IdentityExtractor, describe_person, identity_similarity
from mytalk_core.motion.person import RATE_HZ, identity_channels, interocular, opening_ratio
from mytalk_core.motion.sampler import sample_motion
from mytalk_core.motion.space import LandmarkSpace

SECONDS = 12


@dataclass(frozen=True)
class MotionFigures:
    """Of one clip, or means.

    sync_distance, sync_confidence: our expert's, at the best shift; identity: mean cosine of M(generated) and
    M(real) over frames; r: of the mouth opening; velocity: mean distance of the generated points' velocities
    from the real ones, % of the inter-ocular distance a second; spread: generated over real deviation of the
    opening.
    """

    sync_distance: float
    sync_confidence: float
    identity: float
    r: float
    velocity: float
    spread: float


NAMES = tuple(field.name for field in fields(MotionFigures))


@dataclass(frozen=True)
class Judges:
    """The models that measure, common to all that are measured; space: whose channels the expert reads."""

    identity: IdentityExtractor
    expert: SyncExpert
    space: LandmarkSpace


@dataclass(frozen=True)
class Candidate:
    """A motion model without its speech encoder, and the identity extractor it was trained with."""

    denoiser: MotionDenoiser
    space: LandmarkSpace
    identity: IdentityExtractor


@torch.no_grad()
def generate(model: Candidate, clip: RawClip, features: Tensor, options: MotionOptions) -> np.ndarray:
    """What the clip's own speech, upper face and person make, features (2F,L,Ds) -> displacements (F,N,3).

    Points that are not generated are the clip's own.
    """
    denoiser = model.denoiser
    rest = torch.from_numpy(np.ascontiguousarray(clip.rest[None, :, :2]))
    frames = len(features) // 2
    channels = sample_motion(
        denoiser,
        PROCESSES[denoiser.config.process](),
        denoiser.encode_speech(features[None])[0],
        model.space.encode_upper(clip.displacement[:frames]),
        describe_person(denoiser.config.conditioning, model.identity, rest),
        steps=options.steps,
        seed=options.seed,
        temperature=options.temperature,
    )
    made = clip.displacement[:frames].copy()
    points = model.space.lower_points
    made[:, points] = model.space.decode_lower(amplified(model.space, channels) * options.expression)[
        :, points
    ]
    return made


@torch.no_grad()
def score(judges: Judges, clip: RawClip, features: Tensor, made: np.ndarray) -> MotionFigures:
    """Figures of displacements (F,N,3) that were generated for a clip; features (2F,L,Ds)."""
    real, points = clip.displacement[: len(made)], judges.space.lower_points
    shapes = [(clip.rest + part * clip.mouth_width)[..., :2] for part in (real, made)]
    seen = clip.present[: len(made)]
    opening = [opening_ratio(shape)[seen] for shape in shapes]
    embedded = [judges.identity(identity_channels(torch.from_numpy(shape[seen]))) for shape in shapes]
    sync = judges.expert.score(judges.space.encode_lower(made), features)
    unit = float(interocular(clip.rest[:, :2]))
    velocity = velocity_distance(*(shape[:, points] for shape in shapes), unit)[seen[1:] & seen[:-1]]
    return MotionFigures(
        sync.distance,
        sync.confidence,
        identity_similarity(*embedded).mean().item(),
        float(np.corrcoef(*opening)[0, 1]),
        float(velocity.mean()),
        float(opening[1].std() / opening[0].std()),
    )


def score_clips(
    model: Candidate,
    judges: Judges,
    clips: list[tuple[RawClip, Tensor]],
) -> dict[str, MotionFigures]:
    """Figures by clip: raw clips and their features (2F,L,Ds), the first `SECONDS` of each."""
    rows = {}
    for clip, features in clips:
        features = features[: 2 * int(SECONDS * RATE_HZ)]
        made = generate(model, clip, features, MotionOptions())
        rows[clip.name] = score(judges, clip, features, made)
    return rows
