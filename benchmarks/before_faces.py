"""Things that come before a face, drawn at random: a hand, hair, a microphone, a cup, a pen, some paper.

What `covers.py` lays before faces. All but the hand are drawn here and by nothing that a network was taught
with.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from mytalk_training.covers.hand_mesh import HandMesh

SIDE = 320  # of a picture, pixels; about as many as the face that it is laid before is high
MIDDLE = SIDE // 2
KINDS = ("hand", "hair", "microphone", "cup", "pen", "paper")
HAND_LONG = 0.7, 1.1  # of a hand with its fingers, as shares of a face's height
PALE = 150.0  # levels of skin in whose light things have their own colours


@dataclass(frozen=True)
class Thing:
    """colours: float32 (h, w, 3), levels; alpha: uint8 (h, w), 255 on it; places: int (P, 2), pixels (x, y)
    of which one touches the face; comes_from: (x, y), the direction that it comes from; long: how many faces
    high it is; goes_on: whether it goes on beyond its picture; from_above: whether it comes from there.
    """

    colours: np.ndarray
    alpha: np.ndarray
    places: np.ndarray
    comes_from: np.ndarray
    long: float
    goes_on: bool
    from_above: bool = False


def drawn(kind: str, skin: np.ndarray, mesh: HandMesh | None, rng: np.random.Generator) -> Thing:
    """One of KINDS before a face whose cheeks have the colours of skin (3,), levels; a hand from its mesh."""
    if kind == "hand":
        assert mesh is not None
        return _hand(skin, mesh, rng)
    draw = {"hair": _hair, "microphone": _microphone, "cup": _cup, "pen": _pen, "paper": _paper}
    colours, alpha, place = draw[kind](rng)
    light = np.clip(skin.mean() / PALE, 0.25, 1.2)
    colours = np.clip(colours * light * (1 if kind == "hair" else _round(alpha, rng)), 0, 255)
    return Thing(
        colours.astype(np.float32),
        alpha,
        np.array([place]),
        np.array([0.0, 1.0]),
        rng.uniform(0.8, 1.2),
        kind in ("hair", "microphone", "pen"),
        kind == "hair",
    )


def _hand(skin: np.ndarray, mesh: HandMesh, rng: np.random.Generator) -> Thing:
    """Of about the face's own colour."""
    hand = mesh.drawn(rng)
    colours = np.clip(0.95 * np.sqrt(hand.shade[..., None]) * skin * np.exp(rng.normal(0, 0.16)), 0, 255)
    own = hand.own
    arm = np.argwhere(hand.alpha > 0)[:, ::-1].mean(0) - own.mean(0) + (0, 1e-3)
    long = rng.uniform(*HAND_LONG) * len(hand.alpha) / np.ptp(own, axis=0).max()
    return Thing(colours.astype(np.float32), hand.alpha, own, arm, long, True)


def _hair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Some strands, dark or blonde, that end where they touch."""
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    shade = np.full((SIDE, SIDE), rng.uniform(0.4, 3), np.float32)
    down = np.linspace(0, 1, 20)
    for number in range(int(rng.integers(3, 12))):
        begins, ends = rng.normal(0, 14), rng.normal(0, 30)
        across = MIDDLE + begins + (ends - begins) * down + 15 * np.sin(3 * down + number)
        line = [np.stack([across, SIDE - down * (SIDE - 40)], 1).astype(np.int32)]
        width = int(rng.uniform(2, 7))
        cv2.polylines(shade, line, False, float(shade[0, 0] * np.exp(rng.normal(0, 0.2))), width + 2)
        cv2.polylines(alpha, line, False, 255, width, cv2.LINE_AA)
    return np.minimum(shade[..., None] * (60, 40, 25), 230), alpha, (MIDDLE, 100)


def _microphone(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    alpha, wide = np.zeros((SIDE, SIDE), np.uint8), int(rng.uniform(34, 50))
    cv2.ellipse(alpha, (MIDDLE, 70), (wide, int(1.15 * wide)), 0, 0, 360, 255, -1)
    cv2.rectangle(alpha, (MIDDLE - wide // 2, 90), (MIDDLE + wide // 2, SIDE), 255, -1)
    net = 1 + 0.25 * np.outer(np.sin(1.3 * np.arange(SIDE)), np.sin(1.3 * np.arange(SIDE)))
    net[110:] = 1
    return rng.uniform(15, 150) * net[..., None] * np.ones(3), alpha, (MIDDLE, 40)


def _cup(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    alpha, wide = np.zeros((SIDE, SIDE), np.uint8), rng.uniform(55, 75)
    sides = np.array([[-wide, 50], [wide, 50], [0.75 * wide, 240], [-0.75 * wide, 240]]) + (MIDDLE, 0)
    cv2.fillPoly(alpha, [sides.astype(np.int32)], 255)
    cv2.ellipse(alpha, (MIDDLE, 50), (int(wide), 14), 0, 0, 360, 255, -1)
    colours = np.ones((SIDE, SIDE, 3)) * rng.uniform(20, 250, 3)
    colours[130:180] *= rng.uniform(0.3, 1.2, 3)
    return colours, alpha, (MIDDLE, 55)


def _pen(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    cv2.line(alpha, (MIDDLE, 40), (MIDDLE, SIDE), 255, int(rng.uniform(8, 16)))
    return np.ones((SIDE, SIDE, 3)) * rng.uniform(0, 255, 3), alpha, (MIDDLE, 45)


def _paper(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """With lines of writing."""
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    cv2.rectangle(alpha, (30, 60), (SIDE - 30, SIDE - 20), 255, -1)
    colours = np.full((SIDE, SIDE, 3), rng.uniform(200, 250))
    for row in range(90, SIDE - 40, 16):
        cv2.line(colours, (50, row), (int(rng.uniform(150, SIDE - 60)), row), (70, 70, 70), 2)
    return colours, alpha, (MIDDLE, 70)


def _round(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darker towards its edge and on one side, float32 (h, w, 1)."""
    deep = cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, 5)
    deep /= max(float(deep.max()), 1)
    soft, (across, down) = cv2.GaussianBlur(deep, (0, 0), 6), rng.normal(size=2)
    facing = cv2.Sobel(soft, cv2.CV_32F, 1, 0) * across + cv2.Sobel(soft, cv2.CV_32F, 0, 1) * down
    return (0.72 + 0.28 * np.sqrt(deep) + 0.25 * facing / (np.abs(facing).max() + 1e-6))[..., None]
