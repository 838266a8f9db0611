"""Faces with hands and other things laid over them, as many as are wanted, and where these are."""

from __future__ import annotations

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
from .layers import Layer, cut_out_hand, drawn_hand, smooth_field, strands, thing

# Of the pictures, those with nothing laid over them, one thing, two.
SHARES = (0.42, 0.48, 0.10)
KINDS = {"drawn": 0.42, "cut out": 0.18, "thing": 0.18, "strands": 0.22}
STANDS = 0.25  # how much of a place is covered where it is said to be: hair is thin
DRAGGED = 0.12  # of the pictures, those whose landmarks lie beside the face
COVERED = 0.1  # of a picture, what may be taken for a cover by colour in one that is learned from
BACKGROUND = 0.25  # what a place that is neither mouth nor chin nor near them counts


@dataclass(frozen=True)
class ComparedFaces:
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
    def of(rows: list[tuple[Comparison, np.ndarray, np.ndarray]], skin: np.ndarray) -> ComparedFaces:
        """Of comparisons, each with what is near and what seems covered."""
        compared, near, covered = zip(*rows, strict=True)
        fields = {name: np.stack([getattr(one, name) for one in compared]) for name in vars(compared[0])}
        fields |= {"near": np.stack(near), "covered": np.stack(covered)}
        return ComparedFaces(**fields, skin=skin.astype(np.float32))

    def pack(self, path: Path, person: str) -> None:
        """Write them as one file; person: whose face it is."""
        with replacing(path) as part:
            save_file(vars(self), part, {"person": person})

    @staticmethod
    def open(path: Path) -> ComparedFaces:
        """Read what `pack` wrote, without the pictures most of which seem covered."""
        packed = load_file(path)
        skin = packed.pop("skin")
        free = (packed["covered"] > 0).mean((1, 2)) < COVERED
        return ComparedFaces(**{name: values[free] for name, values in packed.items()}, skin=skin)


@dataclass(frozen=True)
class CoverBatch:
    """Scenes to learn from, B of them.

    inputs: see `network_inputs`; covered: (B, 80, 112), 1 where something stands before the face, else 0;
    weight: (B, 80, 112), what each place counts.
    """

    inputs: Tensor
    covered: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> CoverBatch:
        return CoverBatch(*(tensor.to(device) for tensor in vars(self).values()))


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
        opened = [ComparedFaces.open(path) for path in paths]
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
        if rng.random() < 0.2:
            picture = _creased(picture, outlines[..., 1], rng)
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
        if rng.random() < DRAGGED:
            expected, outlines = _dragged(expected, outlines, rng)
        picture, plain = (np.clip(one, 0, 255) for one in (picture, expected[..., :3]))
        inputs = network_inputs(picture, plain, expected[..., 3], outlines)
        stands = covered > STANDS
        weight = np.where(faces.near[row] > 127, 1.0, BACKGROUND) * (stands | (faces.covered[row] == 0))
        scene = inputs, stands[BELOW].astype(np.float32), weight[BELOW].astype(np.float32)
        side = -1 if rng.random() < 0.5 else 1
        given, wanted, counts = (np.ascontiguousarray(part[..., ::side]) for part in scene)
        return given, wanted, counts

    def _layer(self, faces: ComparedFaces, row: int, rng: np.random.Generator) -> Layer:
        """Something that touches mouth or chin."""
        rows, columns = np.nonzero(faces.near[row] > 127)
        one = rng.integers(len(rows))
        at, middle = np.array((columns[one], rows[one])), np.array((columns.mean(), rows.mean() - 8))
        skin = faces.skin[rng.integers(len(faces.skin))] * faces.gain[row]
        kind = rng.choice(self.kinds, p=self.shares)
        if kind == "drawn":
            return drawn_hand(self.drawn[rng.integers(len(self.drawn))], at, middle, skin, rng)
        if kind == "cut out":
            return cut_out_hand(self.cut_out[rng.integers(len(self.cut_out))], at, skin, rng)
        if kind == "strands":
            return strands(at, rng)
        other = self.faces[rng.integers(len(self.faces))]
        return thing(at, middle, skin, other.picture[rng.integers(len(other))].astype(np.float32), rng)


def people_of(folder: Path) -> dict[str, str]:
    """Whose face each packed clip shows: file name without its end -> person. Raises FileNotFoundError."""
    people = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "np") as file:
            people[path.stem] = (file.metadata() or {}).get("person", path.stem)
    if not people:
        raise FileNotFoundError(f"{folder}: what mytalk_training.covers.prepare writes was required")
    return people


def _other_mouth(picture: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With teeth, tongue or darkness of any shade between the lips, which is no cover."""
    tone = rng.choice([rng.uniform(5, 60), rng.uniform(120, 250)])
    colour = tone * np.exp(rng.normal(0, 0.08, 3))
    grown = cv2.dilate(inside, np.ones((int(rng.integers(1, 6)),) * 2)) if rng.random() < 0.5 else inside
    alpha = cv2.GaussianBlur(grown.astype(np.float32) / 255, (0, 0), rng.uniform(0.3, 1.5))[..., None]
    return picture * (1 - alpha) + (colour * smooth_field(0.8, 1.2, 5, rng)[..., None]) * alpha


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


def _creased(picture: np.ndarray, lips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With folds about the mouth, as a smile has that the usual face has not: no cover."""
    rows, columns = np.nonzero(lips > 127)
    if not len(rows):
        return picture
    fold = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre = int(columns.mean() + rng.normal(0, 3)), int(rows.mean() + rng.normal(0, 5))
        axes = int(rng.uniform(0.55, 1.1) * np.ptp(columns)), int(rng.uniform(10, 36))
        side = 180 * int(rng.integers(2)) + rng.normal(0, 25)
        cv2.ellipse(fold, centre, axes, 0, side - rng.uniform(5, 45), side + rng.uniform(5, 45), 1.0, 1, 16)
    deep = cv2.GaussianBlur(fold, (0, 0), rng.uniform(0.5, 1.6))
    return picture * (1 - rng.uniform(0.05, 0.4) * deep / max(float(deep.max()), 1e-3))[..., None]


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
        picture = picture * smooth_field(0.75, 1.25, int(rng.integers(2, 5)), rng)[..., None]
    if rng.random() < 0.12:
        patch = smooth_field(-1, 1, int(rng.integers(3, 6)), rng) > rng.uniform(-0.3, 0.5)
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
    return _moved(expected, *(most * smooth_field(-2, 2, 4, rng) for _ in range(2)))


def _dragged(
    expected: np.ndarray, outlines: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The usual face (128, 128, 4) and the outlines (128, 128, 3) where landmarks lie beside the face, as
    hands drag them."""
    across, down = (smooth_field(-4, 4, 3, rng) + np.float32(rng.normal(0, 2.5)) for _ in range(2))
    return _moved(expected, across, down), _moved(outlines, across, down)


def _moved(picture: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """A picture (128, 128, C) read so many places beside each, (128, 128) either."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    kernel, beyond = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    return cv2.remap(picture, columns + across, rows + down, kernel, borderMode=beyond)
