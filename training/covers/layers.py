"""What is laid over a face to learn from: hands, hair, and things of any shape and stuff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mytalk_core.appearance.covers.network import SIDE

from .hand_mesh import DrawnHand

FROM_BELOW = 0.85  # of the hands, those whose arm comes from without and below
FOLDED = 0.1  # of them, those that are two, palm to palm
# Samples of what is thin where a picture has one; how many strands there are, from and below, and how often.
FINER = 4
COUNTS, COUNT_SHARES = ((1, 2), (2, 6), (6, 60)), (0.3, 0.35, 0.35)


@dataclass(frozen=True)
class Layer:
    """What is laid over a face: picture float32 (128, 128, 3), alpha float32 (128, 128), 0 to 1."""

    picture: np.ndarray
    alpha: np.ndarray


def drawn_hand(
    hand: DrawnHand, at: np.ndarray, middle: np.ndarray, skin: np.ndarray, rng: np.random.Generator
) -> Layer:
    """A drawn hand of about the face's colours, now and then in others, or in a sleeve."""
    own = hand.own
    angle = rng.uniform(0, 2 * np.pi)
    if hand.arm.any() and rng.random() < FROM_BELOW:
        arm = np.argwhere(hand.arm)[:, ::-1].mean(0) - own.mean(0)
        outwards = (at - middle) / (np.linalg.norm(at - middle) + 1e-6) + (0, 0.8)
        angle = np.arctan2(*outwards[::-1]) - np.arctan2(*arm[::-1]) + rng.normal(0, 0.5)
    colour = skin * np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.04, 3))
    if rng.random() < 0.1:
        colour = rng.uniform(10, 240, 3)
    picture = np.power(hand.shade, rng.uniform(0.6, 1.6))[..., None] * colour
    if rng.random() < 0.4:
        picture[hand.arm] = hand.shade[hand.arm][:, None] * rng.uniform(0, 255, 3)
    noise = cv2.GaussianBlur(rng.normal(0, 1, hand.shade.shape), (0, 0), rng.uniform(0.8, 4))
    picture = np.clip(picture + (noise / noise.std() * rng.uniform(0, 5))[..., None], 0, 255)
    touching = own if rng.random() < 0.75 else np.argwhere(hand.alpha > 0)[:, ::-1]
    place, size = touching[rng.integers(len(touching))], rng.uniform(0.42, 1.0)
    # The arm goes on beyond the picture.
    layer = _laid(picture, hand.alpha, place, at, size, angle, cv2.BORDER_REPLICATE)
    return _folded(layer, at, rng) if rng.random() < FOLDED else layer


def cut_out_hand(hand: np.ndarray, at: np.ndarray, skin: np.ndarray, rng: np.random.Generator) -> Layer:
    """A real hand uint8 (h, w, 4), most often in the face's colours."""
    picture, alpha = hand[..., :3].astype(np.float32), hand[..., 3]
    own = np.argwhere(alpha > 127)[:, ::-1]
    if rng.random() < 0.8:
        mean = np.maximum(picture[alpha > 127].mean(0), 12)
        picture = picture * skin / mean * np.exp(rng.normal(0, 0.16)) * np.exp(rng.normal(0, 0.04, 3))
    size, angle = rng.uniform(0.35, 0.9), rng.uniform(0, 2 * np.pi)
    return _laid(np.clip(picture, 0, 255), alpha, own[rng.integers(len(own))], at, size, angle)


def cut_out_hands(folder: Path) -> Iterator[np.ndarray]:
    """The RGBA pictures uint8 of a folder of .png. Raises ValueError where one has no alpha."""
    for path in sorted(folder.glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
            raise ValueError(f"{path}: a picture with alpha was required")
        yield cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)


def strands(at: np.ndarray, rng: np.random.Generator) -> Layer:
    """Hair that passes a place: a lock or some single ones, most often from above; or a straw, or a wire."""
    side = FINER * SIDE
    few, many = COUNTS[rng.choice(len(COUNTS), p=COUNT_SHARES)]
    count = int(rng.integers(few, many))
    straw = count == 1 and rng.random() < 0.5
    colour = rng.uniform(0, 255, 3) if straw else _hair_colour(rng)
    widest = rng.uniform(3, 20) if count == 1 else rng.uniform(1, 6)
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = colour
    alpha = np.zeros((side, side), np.float32)
    for line in _lines(at, count, straw, rng):
        corners = [np.round(line * FINER * 16).astype(np.int32)[:, None]]
        width = max(1, round(widest * rng.uniform(0.5, 1)))
        shade = np.clip(colour * np.exp(rng.normal(0, 0.25)), 0, 255)
        cv2.polylines(picture, corners, False, shade.tolist(), width + 2, cv2.LINE_8, 4)
        cv2.polylines(alpha, corners, False, 1.0, width, cv2.LINE_AA, 4)
    colours, shown = (cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in (picture, alpha))
    lit = smooth_field(0.7, 1.3, int(rng.integers(2, 9)), rng)[..., None]
    return Layer(np.clip(colours * lit, 0, 255), shown * np.float32(rng.uniform(0.7, 1)))


def _hair_colour(rng: np.random.Generator) -> np.ndarray:
    """From black over brown and red to blonde and gray, (3,)."""
    tone = rng.uniform(8, 110) if rng.random() < 0.7 else rng.uniform(110, 240)
    green = rng.uniform(0.55, 1)
    return tone * np.array([1, green, green * rng.uniform(0.3, 1)])


def _lines(at: np.ndarray, count: int, straight: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """So many lines beside each other that pass a place and fan out or join, (24, 2) places each."""
    down = rng.normal(0, 0.5) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi)
    along, across = np.array([np.sin(down), np.cos(down)]), np.array([np.cos(down), -np.sin(down)])
    first, last = -rng.uniform(30, 160), rng.uniform(0, 90)
    bend, wave, period = rng.normal(0, 0.004), rng.uniform(0, 3), rng.uniform(12, 60)
    spread, fans = rng.uniform(0.5, 12) if count > 1 else 0.0, rng.normal(0, 0.006)
    for _ in range(count):
        begins, ends = first + rng.uniform(0, 12), last - rng.uniform(0, 30)
        way = np.linspace(begins, max(ends, begins + 10), 24)
        beside = rng.normal(0, 1) * spread * (1 + fans * (way - begins))
        if not straight:
            beside = beside + bend * np.square(way) + wave * np.sin(way / period + rng.normal(0, 0.4))
        yield at + along * way[:, None] + across * beside[:, None] + rng.normal(0, 0.7, 2)


def thing(
    at: np.ndarray, middle: np.ndarray, skin: np.ndarray, stuff: np.ndarray, rng: np.random.Generator
) -> Layer:
    """Some shape at a place, of stuff float32 (128, 128, 3), of one colour or of about the skin's."""
    shape = _shape(at, middle, rng)
    if rng.random() < 0.6:
        matrix = cv2.getRotationMatrix2D((SIDE / 2,) * 2, rng.uniform(0, 360), rng.uniform(0.7, 3))
        matrix = matrix + np.column_stack([np.zeros((2, 2)), rng.uniform(-30, 30, 2)])
        return Layer(cv2.warpAffine(stuff, matrix, (SIDE,) * 2, borderMode=cv2.BORDER_REFLECT), shape)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.7 else skin * np.exp(rng.normal(0, 0.2))
    field = smooth_field(0.7, 1.3, int(rng.integers(2, 6)), rng)[..., None]
    return Layer(np.clip(colour * field, 0, 255).astype(np.float32), shape)


def smooth_field(low: float, high: float, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Values (128, 128) that change smoothly over so many cells a side."""
    values = rng.uniform(low, high, (cells, cells)).astype(np.float32)
    return cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def placing(place: np.ndarray, at: np.ndarray, size: float, angle: float) -> np.ndarray:
    """What brings a place (x, y) of a picture to another, so many times as large and turned by an angle in
    radians: float (2, 3)."""
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, at - turn @ place])


def _laid(
    picture: np.ndarray,
    alpha: np.ndarray,
    place: np.ndarray,
    at: np.ndarray,
    size: float,
    angle: float,
    beyond: int = cv2.BORDER_CONSTANT,
) -> Layer:
    """A picture (h, w, 3) with alpha uint8 (h, w), so that its `place` (x, y) lies `at`; beyond: what is
    beyond its edge, in OpenCV's numbers."""
    matrix = placing(place, at, size, angle)
    if size < 0.6:
        picture, alpha = (cv2.blur(one, (2, 2)) for one in (picture, alpha))
    laid, shown = (
        cv2.warpAffine(one, matrix, (SIDE, SIDE), borderMode=beyond)
        for one in (picture.astype(np.float32), alpha)
    )
    return Layer(laid, shown.astype(np.float32) / 255)


def _folded(layer: Layer, at: np.ndarray, rng: np.random.Generator) -> Layer:
    """A hand and the other one, palm to palm, whose line is a little darker."""
    middle = at[0] + rng.uniform(-6, 14)
    mirror = np.array([[-1, 0, 2 * middle], [0, 1, rng.uniform(-2, 2)]])
    other, shown = (cv2.warpAffine(one, mirror, (SIDE, SIDE)) for one in (layer.picture, layer.alpha))
    half = np.arange(SIDE)[None] < middle
    away = np.abs(np.arange(SIDE) - middle)[None, :, None]
    line = 1 - rng.uniform(0, 0.5) * np.exp(-np.square(away / rng.uniform(0.7, 2)))
    own = np.where((layer.alpha > shown) | half & (layer.alpha > 0), 1, 0)[..., None]
    picture = (own * layer.picture + (1 - own) * other) * line
    return Layer(picture.astype(np.float32), np.maximum(layer.alpha, shown))


def _shape(at: np.ndarray, middle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some shape at a place: float32 (128, 128), 1 within."""
    shape, centre = np.zeros((SIDE, SIDE), np.float32), (int(at[0]), int(at[1]))
    kind = rng.choice(["ellipse", "stick", "box", "blob"])
    if kind == "ellipse":
        axes = int(rng.uniform(6, 34)), int(rng.uniform(6, 34))
        cv2.ellipse(shape, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1)
    elif kind == "stick":  # as a microphone's stand, often with its head
        away = (at - middle) + (0, 10)
        end = at + 150 * away / (np.linalg.norm(away) + 1e-6)
        cv2.line(shape, centre, (int(end[0]), int(end[1])), 1, int(rng.uniform(2, 22)))
        if rng.random() < 0.5:
            cv2.circle(shape, centre, int(rng.uniform(6, 20)), 1, -1)
    elif kind == "box":
        sides = float(rng.uniform(12, 90)), float(rng.uniform(8, 50))
        corners = cv2.boxPoints((tuple(map(float, at)), sides, float(rng.normal(0, 10))))
        cv2.fillPoly(shape, [corners.astype(np.int32)], 1)
    else:
        rows, columns = np.mgrid[:SIDE, :SIDE]
        away = np.hypot(columns - at[0], rows - at[1]) / rng.uniform(18, 50)
        shape[smooth_field(-1, 1, int(rng.integers(4, 9)), rng) > away - 0.6] = 1
    return shape
