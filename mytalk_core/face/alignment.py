"""Similarities between frame and canonical square, smoothed over time, and the rigid pose of a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNITS = 256  # canonical units along the canonical square, whatever its side in pixels
# About 80 ms at 25 frames/s: kills the mesh's jitter, follows a nod.
SMOOTHING_S = 0.06


@dataclass(frozen=True)
class Pose:
    """Rigid head pose by frame: landmarks = scale * shape @ rotation.T + translation.

    rotation (T,3,3), scale (T,), translation (T,3); shape in canonical units, landmarks in frame px.
    """

    rotation: np.ndarray
    scale: np.ndarray
    translation: np.ndarray

    def to_frame(self, shape: np.ndarray) -> np.ndarray:
        """Frontal shapes (T,N,3) or (N,3), canonical units -> (T,N,3) frame px."""
        turned = np.einsum("tij,...nj->tni" if shape.ndim == 2 else "tij,tnj->tni", self.rotation, shape)
        return turned * self.scale[:, None, None] + self.translation[:, None]

    def to_frontal(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (T,N,3) frame px -> (T,N,3) frontal, canonical units; undoes `to_frame`."""
        centred = (landmarks - self.translation[:, None]) / self.scale[:, None, None]
        return np.einsum("tij,tni->tnj", self.rotation, centred)


def apply(similarity: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transforms (...,2,3) applied to points (...,N,2); leading axes broadcast."""
    return np.einsum("...ij,...nj->...ni", similarity[..., :2], points) + similarity[..., None, :, 2]


def invert(similarity: np.ndarray) -> np.ndarray:
    """The exact inverse of affine transforms (...,2,3)."""
    linear = np.linalg.inv(similarity[..., :2].astype(np.float64))
    shift = -np.einsum("...ij,...j->...i", linear, similarity[..., 2])
    return np.concatenate([linear, shift[..., None]], -1).astype(similarity.dtype)


def fit_similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarities from points (T,N,2) to target (N,2): (T,2,3) float64.

    Closed form in complex numbers: target = a * point + b with a = scale * exp(i angle).
    """
    p = points[..., 0] + 1j * points[..., 1]
    q = (target[..., 0] + 1j * target[..., 1])[None]
    p_mean, q_mean = p.mean(-1, keepdims=True), q.mean(-1, keepdims=True)
    spread = (np.abs(p - p_mean) ** 2).sum(-1)
    a = ((q - q_mean) * np.conj(p - p_mean)).sum(-1) / np.maximum(spread, 1e-12)
    return _from_complex(a, q_mean[..., 0] - a * p_mean[..., 0])


def smooth_similarity(similarity: np.ndarray, times_s: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Gaussian smoothing over time of similarities (T,2,3) within runs of equal `segments` (T,).

    Smooths what a viewer sees jump: scale (in its logarithm), angle and the square's centre in the
    frame. Rows of a negative segment are returned as they are.
    """
    inverse = invert(similarity)
    centre = apply(inverse, np.full((len(similarity), 1, 2), UNITS / 2))[:, 0]
    a = similarity[:, 0, 0] + 1j * similarity[:, 1, 0]
    out = similarity.astype(np.float64).copy()
    for number in np.unique(segments[segments >= 0]):
        rows = np.flatnonzero(segments == number)
        angle = np.unwrap(np.angle(a[rows]))
        values = np.column_stack([np.log(np.abs(a[rows])), angle, centre[rows]])
        out[rows] = _from_centre(_smooth(values, times_s[rows]))
    return out


def _smooth(values: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Gaussian-weighted mean over neighbours in time; values (T,C), any spacing."""
    reach = 8
    out, weight = np.zeros_like(values), np.zeros(len(values))
    for offset in range(-reach, reach + 1):
        rows = np.arange(max(0, -offset), min(len(values), len(values) - offset))
        w = np.exp(-0.5 * ((times_s[rows + offset] - times_s[rows]) / SMOOTHING_S) ** 2)
        out[rows] += w[:, None] * values[rows + offset]
        weight[rows] += w
    return out / weight[:, None]


def _from_centre(values: np.ndarray) -> np.ndarray:
    """Rows (log scale, angle, centre x, centre y) -> similarities (T,2,3)."""
    a = np.exp(values[:, 0] + 1j * values[:, 1])
    half = UNITS / 2
    return _from_complex(a, half + 1j * half - a * (values[:, 2] + 1j * values[:, 3]))


def _from_complex(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The similarities (T,2,3) that take a point p to a p + b, all complex numbers (T,)."""
    rows = [np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)]
    return np.stack(rows, -2)


def fit_pose(landmarks: np.ndarray, shape: np.ndarray, anchors: np.ndarray) -> Pose:
    """Rigid pose of landmarks (T,N,3) frame px against a frontal shape (N,3), from the anchors alone.

    Orthogonal Procrustes with scale (Umeyama 1991, eq. 40-42).
    """
    points, target = landmarks[:, anchors].astype(np.float64), shape[anchors].astype(np.float64)
    p_mean, q_mean = points.mean(1), target.mean(0)
    p, q = points - p_mean[:, None], target - q_mean
    covariance = np.einsum("tni,nj->tij", p, q)
    u, s, vt = np.linalg.svd(covariance)
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (s * sign).sum(-1) / (q**2).sum()
    return Pose(rotation, scale, p_mean - scale[:, None] * np.einsum("tij,j->ti", rotation, q_mean))
