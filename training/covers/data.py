"""Faces with hands and other things laid over them, as many as are wanted, and where these are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor

from mytalk_core.appearance.covers.network import BELOW, SIDE, Comparison, network_inputs
from mytalk_core.files import replacing

from ..loop.order import DATA, derive_seed
from .hand_mesh import DrawnHand

# Of the pictures, those with nothing laid over them, one thing, two.
SHARES = (0.42, 0.48, 0.10)
KINDS = {"drawn": 0.55, "cut out": 0.25, "thing": 0.20}
FROM_BELOW = 0.85  # of the hands, those whose arm comes from without and below
COVERED = 0.1  # of a picture, what may be taken for a cover by colour in one that is learned from
BACKGROUND = 0.25  # what a place that is neither mouth nor chin nor near them counts


@dataclass(frozen=True)
class Faces:
    """Pictures of one clip beside the person's usual face.

    skin: float32 (2, 3), the cheeks' usual colours; near: uint8 (F, 128, 128), 255 at mouth and chin and
    about them; covered: uint8 (F, 128, 128), above 0 where something seems to stand before it; the others:
    see `Comparison`, one a picture.
    """

    picture: np.ndarray
    usual: np.ndarray
    gain: np.ndarray
    outlines: np.ndarray
    near: np.ndarray
    covered: np.ndarray
    skin: np.ndarray

    def __len__(self) -> int:
        return len(self.picture)

    @staticmethod
    def of(rows: list[tuple[Comparison, np.ndarray, np.ndarray]], skin: np.ndarray) -> Faces:
        """Of comparisons, each with what is near and what seems covered."""
        compared, near, covered = zip(*rows, strict=True)
        fields = {name: np.stack([getattr(one, name) for one in compared]) for name in vars(compared[0])}
        return Faces(**fields, near=np.stack(near), covered=np.stack(covered), skin=skin.astype(np.float32))

    def pack(self, path: Path, person: str) -> None:
        """Write them as one file; person: whose face it is."""
        with replacing(path) as part:
            save_file(vars(self), part, {"person": person})

    @staticmethod
    def open(path: Path) -> Faces:
        """Read what `pack` wrote, without the pictures most of which seem covered."""
        packed = load_file(path)
        skin = packed.pop("skin")
        free = (packed["covered"] > 0).mean((1, 2)) < COVERED
        return Faces(**{name: values[free] for name, values in packed.items()}, skin=skin)


@dataclass(frozen=True)
class CoverBatch:
    """inputs: see `network_inputs`; covered: (B, 80, 112), 1 where something stands before the face, else 0;
    weight: (B, 80, 112), what each place counts."""

    inputs: Tensor
    covered: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> CoverBatch:
        return CoverBatch(*(tensor.to(device) for tensor in vars(self).values()))


@dataclass(frozen=True)
class Layer:
    """What is laid over a face: picture float32 (128, 128, 3), alpha float32 (128, 128), 0 to 1."""

    picture: np.ndarray
    alpha: np.ndarray


class CoverScenes:
    """Scenes by number: of each its random numbers are its own, so that a run goes on as it began.

    drawn: hands from a mesh; cut_out: RGBA pictures uint8 of real ones, empty: there are none; several: how
    many scenes there are, None: no end of them.
    """

    def __init__(
        self,
        paths: list[Path],
        drawn: list[DrawnHand],
        cut_out: list[np.ndarray],
        seed: int,
        several: int | None = None,
    ) -> None:
        opened = [Faces.open(path) for path in paths]
        self.faces = [faces for faces in opened if len(faces)]
        self.drawn, self.cut_out, self.seed, self.several = drawn, cut_out, seed, several
        kinds = KINDS if cut_out else {name: share for name, share in KINDS.items() if name != "cut out"}
        self.kinds, shares = [*kinds], np.array([*kinds.values()])
        self.shares = shares / shares.sum()

    def draw(self, samples: list[int]) -> CoverBatch:
        """The scenes of those numbers."""
        parts = zip(*(self._scene(sample) for sample in samples), strict=True)
        return CoverBatch(*(torch.from_numpy(np.stack(part)) for part in parts))

    def _scene(self, sample: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        number = sample if self.several is None else sample % self.several
        rng = np.random.default_rng(derive_seed(self.seed, DATA, number))
        faces = self.faces[rng.integers(len(self.faces))]
        row = int(rng.integers(len(faces)))
        picture, outlines = faces.picture[row].astype(np.float32), faces.outlines[row]
        usual = faces.usual[row].astype(np.float32)
        if rng.random() < 0.2:
            picture = _other_mouth(picture, outlines[..., 2], rng)
        if rng.random() < 0.15:
            picture, usual = _bearded(picture, usual, outlines[..., 1], rng)
        covered = np.zeros((SIDE, SIDE), np.float32)
        for _ in range(rng.choice(len(SHARES), p=SHARES)):
            layer = _photographed(self._layer(faces, row, rng), rng)
            picture = _shadowed(picture, layer.alpha, rng)
            alpha = layer.alpha[..., None]
            picture = picture * (1 - alpha) + layer.picture * alpha
            covered = np.maximum(covered * (1 - layer.alpha), layer.alpha)
        picture = _lit(picture, rng)
        gain = faces.gain[row] * np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.02, 3))
        expected = np.dstack([usual[..., :3] * gain, usual[..., 3]]).astype(np.float32)
        if rng.random() < 0.5:
            expected = _misread(expected, rng)
        picture, plain = (np.clip(one, 0, 255) for one in (picture, expected[..., :3]))
        inputs = network_inputs(picture, plain, expected[..., 3], outlines)
        stands = covered > 0.5
        weight = np.where(faces.near[row] > 127, 1.0, BACKGROUND) * (stands | (faces.covered[row] == 0))
        scene = inputs, stands[BELOW].astype(np.float32), weight[BELOW].astype(np.float32)
        side = -1 if rng.random() < 0.5 else 1
        given, wanted, counts = (np.ascontiguousarray(part[..., ::side]) for part in scene)
        return given, wanted, counts

    def _layer(self, faces: Faces, row: int, rng: np.random.Generator) -> Layer:
        """A hand or a thing that touches mouth or chin."""
        rows, columns = np.nonzero(faces.near[row] > 127)
        one = rng.integers(len(rows))
        at, middle = np.array((columns[one], rows[one])), np.array((columns.mean(), rows.mean() - 8))
        skin = faces.skin[rng.integers(len(faces.skin))] * faces.gain[row]
        kind = rng.choice(self.kinds, p=self.shares)
        if kind == "drawn":
            return _drawn_hand(self.drawn[rng.integers(len(self.drawn))], at, middle, skin, rng)
        if kind == "cut out":
            return _cut_out_hand(self.cut_out[rng.integers(len(self.cut_out))], at, skin, rng)
        shape = _shape(at, middle, rng)
        if rng.random() < 0.6:
            other = self.faces[rng.integers(len(self.faces))]
            matrix = cv2.getRotationMatrix2D((SIDE / 2,) * 2, rng.uniform(0, 360), rng.uniform(0.7, 3))
            matrix = matrix + np.column_stack([np.zeros((2, 2)), rng.uniform(-30, 30, 2)])
            stuff = other.picture[rng.integers(len(other))].astype(np.float32)
            return Layer(cv2.warpAffine(stuff, matrix, (SIDE,) * 2, borderMode=cv2.BORDER_REFLECT), shape)
        colour = rng.uniform(0, 255, 3) if rng.random() < 0.7 else skin * np.exp(rng.normal(0, 0.2))
        field = _field(0.7, 1.3, int(rng.integers(2, 6)), rng)[..., None]
        return Layer(np.clip(colour * field, 0, 255).astype(np.float32), shape)


def cut_out_hands(folder: Path) -> Iterator[np.ndarray]:
    """The RGBA pictures uint8 of a folder of .png. Raises ValueError where one has no alpha."""
    for path in sorted(folder.glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
            raise ValueError(f"{path}: a picture with alpha was required")
        yield cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)


def people_of(folder: Path) -> dict[str, str]:
    """Whose face each packed clip shows: file name without its end -> person. Raises FileNotFoundError."""
    people = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "np") as file:
            people[path.stem] = (file.metadata() or {}).get("person", path.stem)
    if not people:
        raise FileNotFoundError(f"{folder}: what mytalk_training.covers.prepare writes was required")
    return people


def _field(low: float, high: float, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Values (128, 128) that change smoothly over so many cells a side."""
    values = rng.uniform(low, high, (cells, cells)).astype(np.float32)
    return cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


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
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, at - turn @ place])
    if size < 0.6:
        picture, alpha = (cv2.blur(one, (2, 2)) for one in (picture, alpha))
    laid, shown = (
        cv2.warpAffine(one, matrix, (SIDE, SIDE), borderMode=beyond)
        for one in (picture.astype(np.float32), alpha)
    )
    return Layer(laid, shown.astype(np.float32) / 255)


def _drawn_hand(
    hand: DrawnHand, at: np.ndarray, middle: np.ndarray, skin: np.ndarray, rng: np.random.Generator
) -> Layer:
    """A drawn hand of about the face's colours, now and then in others, or in a sleeve."""
    own = np.argwhere((hand.alpha > 0) & ~hand.arm)[:, ::-1]
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
    return _laid(picture, hand.alpha, place, at, size, angle, cv2.BORDER_REPLICATE)


def _cut_out_hand(hand: np.ndarray, at: np.ndarray, skin: np.ndarray, rng: np.random.Generator) -> Layer:
    """A real hand uint8 (h, w, 4), most often in the face's colours."""
    picture, alpha = hand[..., :3].astype(np.float32), hand[..., 3]
    own = np.argwhere(alpha > 127)[:, ::-1]
    if rng.random() < 0.8:
        mean = np.maximum(picture[alpha > 127].mean(0), 12)
        picture = picture * skin / mean * np.exp(rng.normal(0, 0.16)) * np.exp(rng.normal(0, 0.04, 3))
    size, angle = rng.uniform(0.35, 0.9), rng.uniform(0, 2 * np.pi)
    return _laid(np.clip(picture, 0, 255), alpha, own[rng.integers(len(own))], at, size, angle)


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
        shape[_field(-1, 1, int(rng.integers(4, 9)), rng) > away - 0.6] = 1
    return shape


def _other_mouth(picture: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With teeth, tongue or darkness of any shade between the lips, which is no cover."""
    tone = rng.choice([rng.uniform(5, 60), rng.uniform(120, 250)])
    colour = tone * np.exp(rng.normal(0, 0.08, 3))
    grown = cv2.dilate(inside, np.ones((int(rng.integers(1, 6)),) * 2)) if rng.random() < 0.5 else inside
    alpha = cv2.GaussianBlur(grown.astype(np.float32) / 255, (0, 0), rng.uniform(0.3, 1.5))[..., None]
    return picture * (1 - alpha) + (colour * _field(0.8, 1.2, 5, rng)[..., None]) * alpha


def _bearded(
    picture: np.ndarray, usual: np.ndarray, lips: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Picture and usual face (128, 128, 4) with a beard below the lips, whose curls the latter has smoothed:
    no cover."""
    rows, columns = np.nonzero(lips > 127)
    shape = np.zeros((SIDE, SIDE), np.float32)
    if len(rows):
        centre = int(columns.mean() + rng.normal(0, 4)), int(rows.max() + rng.uniform(-2, 14))
        cv2.ellipse(shape, centre, (int(rng.uniform(8, 32)), int(rng.uniform(5, 20))), 0, 0, 360, 1, -1)
    beard = cv2.GaussianBlur(shape, (0, 0), rng.uniform(0.8, 4))[..., None]
    curls = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), rng.uniform(0.5, 1.6))
    dark, rough = rng.uniform(0, 0.65), rng.uniform(0.04, 0.25)
    darker = np.clip(dark + rough * (curls / curls.std())[..., None], -0.3, 0.9)
    smoothed = np.dstack([usual[..., :3] * (1 - dark * beard), usual[..., 3:] + 60 * rough * beard])
    return picture * (1 - darker * beard), np.clip(smoothed, 0, 255)


def _photographed(layer: Layer, rng: np.random.Generator) -> Layer:
    """As lenses and movement leave it."""
    picture, alpha = layer.picture, layer.alpha
    if rng.random() < 0.6:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.3, 1))
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.2:
        length = int(rng.integers(3, 8))
        level = np.zeros((length, length), np.float32)
        level[length // 2] = 1
        turn = cv2.getRotationMatrix2D((length / 2 - 0.5,) * 2, rng.uniform(0, 180), 1)
        line = cv2.warpAffine(level, turn, (length, length))
        picture, alpha = (cv2.filter2D(one, -1, line / line.sum()) for one in (picture, alpha))
    return Layer(picture, np.clip(alpha, 0, 1))


def _shadowed(picture: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With the shadow that something casts, which is no cover."""
    if rng.random() < 0.5:
        return picture
    matrix = np.column_stack([np.eye(2), rng.normal(0, 3, 2)])
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, matrix, (SIDE, SIDE)), (0, 0), rng.uniform(1, 5))
    return picture * (1 - rng.uniform(0, 0.45) * shadow)[..., None]


def _lit(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In another light, some of it in patches with an edge, with another camera's noise and focus."""
    if rng.random() < 0.4:
        picture = picture * _field(0.75, 1.25, int(rng.integers(2, 5)), rng)[..., None]
    if rng.random() < 0.12:
        patch = _field(-1, 1, int(rng.integers(3, 6)), rng) > rng.uniform(-0.3, 0.5)
        soft = cv2.GaussianBlur(patch.astype(np.float32), (0, 0), rng.uniform(0.5, 3))
        picture = picture * (1 + soft * rng.uniform(-0.35, 0.35))[..., None]
    picture = picture * np.exp(rng.normal(0, 0.05))
    if rng.random() < 0.3:
        picture = picture + rng.normal(0, rng.uniform(1, 6), picture.shape)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1))
    return picture.astype(np.float32)


def _misread(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The usual face (128, 128, 4), moved a little from place to place, as landmarks err."""
    most = rng.uniform(0, 1.2)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    moved = (columns + most * _field(-2, 2, 4, rng), rows + most * _field(-2, 2, 4, rng))
    return cv2.remap(expected, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
