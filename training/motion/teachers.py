"""Teachers: runs that have learnt from other people, and say what a clip's movement most likely is.

More than a third of how a mouth moves is not told by the speech. A model that learns from the movement alone
learns that part by heart, of 45 minutes within 400 steps; what models make of a person of whom none has
learnt holds none of it. A pupil that learns from both goes on becoming better for ten times as long
(distillation: Hinton et al. 2015; from folds kept apart: Wolpert 1992).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.identity import IdentityExtractor, describe_person
from mytalk_core.motion.sampler import sample_motion
from mytalk_core.motion.space import LandmarkSpace

from ..loop.people import read_people
from .kept_features import Encoder


@dataclass(frozen=True)
class Teacher:
    """A trained denoiser and the people it has learnt from."""

    denoiser: MotionDenoiser
    people: frozenset[str]


class Teachers:
    """Runs of motion.train, of the same space and speech encoder, each without some of the people.

    Raises ValueError for a run of another space or speech features, FileNotFoundError for none.
    """

    def __init__(
        self,
        runs: Iterable[str | Path],
        space: LandmarkSpace,
        encoder: Encoder,
        identity: IdentityExtractor,
    ) -> None:
        self._identity = identity
        self._device = next(identity.parameters()).device
        self._teachers = [self._open(Path(run), space, encoder) for run in runs]

    def _open(self, run: Path, space: LandmarkSpace, encoder: Encoder) -> Teacher:
        denoiser = MotionDenoiser.from_pretrained(run / "model", "motion", device=self._device)
        config = denoiser.config
        found, wanted = (config.speech_width, config.speech_layers), (encoder.dim, encoder.layers)
        if found != wanted:
            raise ValueError(f"{run}: a teacher must read the run's speech {wanted}; it reads {found}")
        if not LandmarkSpace.from_pretrained(run / "model", "space").moves_as(space):
            raise ValueError(f"{run}: the teacher moves in another landmark space than this data's")
        return Teacher(denoiser, read_people(run))

    def say(self, features: Tensor, upper: Tensor, rest: Tensor, person: str) -> Tensor:
        """What the speech features (2F,L,Ds) of `person` most likely make of a face, upper (F,U) and rest
        (N,2): the mean (F,D) of the teachers that have not learnt from this person, on the CPU.

        Raises ValueError where all have.
        """
        apart = [teacher for teacher in self._teachers if person not in teacher.people]
        if not apart:
            raise ValueError(f"all teachers have learnt from {person}: train one without, by --fold")
        return torch.stack([self._one(teacher.denoiser, features, upper, rest) for teacher in apart]).mean(0)

    def _one(self, denoiser: MotionDenoiser, features: Tensor, upper: Tensor, rest: Tensor) -> Tensor:
        def spoken(start: int, stop: int) -> Tensor:
            window = features[2 * start : 2 * stop].to(self._device, torch.float32)
            with torch.no_grad():
                return denoiser.encode_speech(window[None])[0]

        token = describe_person(denoiser.config.conditioning, self._identity, rest[None].to(self._device))
        process = PROCESSES[denoiser.config.process]()
        return sample_motion(denoiser, process, spoken, upper, token, temperature=0.0).cpu()
