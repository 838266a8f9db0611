"""Landmarks <-> the channels that diffusion works on.

The paper standardises coordinates (`fit_coordinates`); with little data a linear basis of the displacements
(`fit`: principal components, Cootes et al. 1995) leaves the denoiser only movements that faces make, and
standardised ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..checkpoint.pretrained import PretrainedModel
from ..face.layout import LandmarkLayout


@dataclass(frozen=True)
class SpaceConfig:
    """Sizes of the landmark space.

    layout: of the landmarks; lower, upper: channels of the generated and of the given face.
    """

    layout: str = "mesh478"
    lower: int = 24
    upper: int = 12


class LandmarkSpace(PretrainedModel):
    """A basis for displacements from rest (see person.py), in mouth widths; channels have unit variance."""

    config_class = SpaceConfig
    lower_basis: Tensor
    lower_inverse: Tensor
    upper_inverse: Tensor

    def __init__(self, config: SpaceConfig) -> None:
        super().__init__()
        self.config = config
        layout = LandmarkLayout.load(config.layout)
        self.lower_points, self.upper_points = layout.lower, layout.upper
        self.points = layout.points
        self.register_buffer("lower_basis", torch.zeros(config.lower, len(self.lower_points) * 3))
        self.register_buffer("lower_inverse", torch.zeros(len(self.lower_points) * 3, config.lower))
        self.register_buffer("upper_inverse", torch.zeros(len(self.upper_points) * 3, config.upper))

    def encode_lower(self, displacement: np.ndarray) -> Tensor:
        """Displacements (F,N,3) -> channels x0 (F,D)."""
        rows = torch.from_numpy(displacement[:, self.lower_points].reshape(len(displacement), -1))
        return rows.to(self.lower_inverse) @ self.lower_inverse

    def lower_displacement(self, channels: Tensor) -> Tensor:
        """Channels (...,D) -> displacements (...,P,3) of the P generated points, differentiably."""
        return (channels.to(self.lower_basis.dtype) @ self.lower_basis).unflatten(-1, (-1, 3))

    def decode_lower(self, channels: Tensor) -> np.ndarray:
        """Channels (F,D) -> displacements (F,N,3) float32, zero on points that are not generated."""
        displacement = np.zeros((len(channels), self.points, 3), np.float32)
        displacement[:, self.lower_points] = self.lower_displacement(channels).cpu().numpy()
        return displacement

    def encode_upper(self, displacement: np.ndarray) -> Tensor:
        """Displacements (F,N,3) -> condition channels (F,U)."""
        rows = torch.from_numpy(displacement[:, self.upper_points].reshape(len(displacement), -1))
        return rows.to(self.upper_inverse) @ self.upper_inverse

    def moves_as(self, other: LandmarkSpace) -> bool:
        """Whether the channels of both move the same points alike."""
        own, theirs = self.lower_basis, other.lower_basis.to(self.lower_basis)
        return own.shape == theirs.shape and torch.allclose(own, theirs, rtol=1e-2, atol=1e-5)

    @staticmethod
    def fit_coordinates(layout: str, displacements: np.ndarray) -> LandmarkSpace:
        """The paper's channels: x and y of every compact point of displacements (F,N,3), unit variance."""
        compact = LandmarkLayout.load(layout)
        space = LandmarkSpace(SpaceConfig(layout, 2 * len(compact.lower), 2 * len(compact.upper)))
        basis, inverse = _coordinates(displacements[:, space.lower_points])
        space.lower_basis.copy_(torch.from_numpy(basis))
        space.lower_inverse.copy_(torch.from_numpy(inverse))
        _, inverse = _coordinates(displacements[:, space.upper_points])
        space.upper_inverse.copy_(torch.from_numpy(inverse))
        return space

    @staticmethod
    def fit(config: SpaceConfig, displacements: np.ndarray, lip_weight: float = 3.0) -> LandmarkSpace:
        """The space of displacements (F,N,3), lips counted `lip_weight` times.

        The mean stays the rest shape: channels of zero are the closed, resting mouth.
        """
        space = LandmarkSpace(config)
        layout = LandmarkLayout.load(config.layout)
        weights = np.where(np.isin(space.lower_points, layout.lips), lip_weight, 1.0).repeat(3)
        basis, inverse = _components(displacements[:, space.lower_points], config.lower, weights)
        space.lower_basis.copy_(torch.from_numpy(basis))
        space.lower_inverse.copy_(torch.from_numpy(inverse))
        ones = np.ones(len(space.upper_points) * 3)
        _, inverse = _components(displacements[:, space.upper_points], config.upper, ones)
        space.upper_inverse.copy_(torch.from_numpy(inverse))
        return space


def _coordinates(displacements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Basis (2P, P*3) and its inverse (P*3, 2P): x and y of each point, depth left out."""
    points = displacements.shape[1]
    deviation = np.sqrt(np.square(displacements[..., :2], dtype=np.float64).mean(0)).clip(1e-4)
    flat = np.eye(3 * points).reshape(points, 3, 3 * points)[:, :2].reshape(2 * points, -1)
    scale = deviation.reshape(-1, 1)
    return flat * scale, (flat / scale).T


def _components(displacements: np.ndarray, count: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Basis (count, P*3) and its inverse (P*3, count) for unit-variance channels."""
    rows = displacements.reshape(len(displacements), -1).astype(np.float64) * weights
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    order = np.argsort(-values)[:count]
    deviation, vectors = np.sqrt(values[order]), vectors[:, order]
    return (vectors * deviation).T / weights, vectors / deviation * weights[:, None]
