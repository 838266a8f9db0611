"""How a person's lower face looks by its shape and the skin around it: a linear model of their references.

An active appearance model (Cootes, Edwards and Taylor 2001): the references, warped to their mean shape, are
regressed on the principal components of their landmarks and of their skin around the mouth. None of the few
that a frame borrows is quite in its pose and light; what all of them say together is nearer, but has no fine
structure. So lips and skin are drawn a part of the way towards it, in coarse structure; teeth are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...face.alignment import UNITS
from ..colour import cells
from ..mouth import between_lips
from ..square.frame_edge import WHOLE, lent_part
from ..square.mask import MouthMask, mouth_mask
from ..square.raster import Triangulation
from ..square.warp import MeshWarp, read_pixels
from ..square.window import Window
from .matching import read_cells
from .references import References

STEP = 2  # units a sample of a texture
FEWEST, FEWEST_CELLS = 24, 24  # references, and cells of skin around the mouth, that make a model
SHAPES, SKINS = 24, 20  # components of landmarks and of skin at most
# How much of a component's variance counts: landmarks' smaller ones tell of the lips, skin's of noise.
SHAPE_POWER, SKIN_POWER = 0.5, 1.0
RIDGE = 0.003  # of the mean square of all components together
COARSE = 2.0  # units; coarser structure is drawn towards the model


@dataclass(frozen=True)
class Components:
    """Principal components of rows (K, D): mean (D,), axes (C, D), the least and the largest value of each in
    these rows (C,)."""

    mean: np.ndarray
    axes: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, most: int, power: float) -> Components:
        """At most so many; the variance of each is raised to a power, and that of all together is 1."""
        mean = rows.mean(0)
        _, sizes, axes = np.linalg.svd(rows - mean, full_matrices=False)
        count = min(most, int((sizes > 1e-4 * max(sizes[0], 1e-6)).sum()))
        deviations = sizes[:count] / np.sqrt(len(rows))
        scale = deviations ** (power - 1) / np.sqrt((deviations ** (2 * power)).sum())
        axes = axes[:count] * scale[:, None]
        values = (rows - mean) @ axes.T
        return cls(mean, axes, values.min(0), values.max(0))

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Of rows (..., D), within the range of those that the components are of: (..., C)."""
        return ((rows - self.mean) @ self.axes.T).clip(self.lowest, self.highest)


@dataclass(frozen=True, eq=False)
class ExpectedTexture:
    """What a model expects of a frame's mask.core, a sample each STEP units.

    picture: float32 (h, w, 3), levels; share: float32 (h, w) 0..1, how far lips are drawn towards it.
    """

    picture: np.ndarray
    share: np.ndarray

    def draw(self, lips: np.ndarray) -> np.ndarray:
        """Lips float32 (h, w, 3), pixels of mask.core, drawn towards it."""
        height, width = self.share.shape
        small = cv2.resize(lips, (width, height), interpolation=cv2.INTER_AREA)
        apart = self.share[..., None] * (self.picture - small)
        soft = cv2.GaussianBlur(apart, (0, 0), COARSE / STEP)
        return lips + cv2.resize(soft, lips.shape[1::-1], interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, eq=False)
class TextureModel:
    """That of a person.

    mean: float (N, 2), the references' mean shape, canonical units; warp: to it, on the unit grid of
    `window`; skin: bool (h / 4, w / 4), in which P of its cells skin is read; shapes, skins: the components
    of landmarks and of skin; textures: float32 (1 + C, h / 2, w / 2, 3), levels, how the mean face looks on
    the window, and what each of the C components adds; colours: float32 (1 + C, P, 3), the same of the skin.
    """

    mean: np.ndarray
    window: Window
    warp: MeshWarp
    skin: np.ndarray
    shapes: Components
    skins: Components
    textures: np.ndarray
    colours: np.ndarray

    @classmethod
    def of(cls, references: References, triangulation: Triangulation) -> TextureModel | None:
        """Of a person's references; None of fewer than FEWEST that show all of the mouth."""
        layout = triangulation.layout
        # Open mouths that were made for a source without are no frames of it.
        first = np.unique(references.frame_index, return_index=True)[1]
        references = references.take(np.isin(np.arange(len(references)), first))
        mean = references.landmarks.mean(0)
        mask = mouth_mask(mean, mean, layout)
        references = references.take(_whole(references, mask))
        skin = _skin(references, mask)
        if len(references) < FEWEST or skin.sum() < FEWEST_CELLS:
            return None
        warp = MeshWarp(triangulation, mean, UNITS, mask.window.pixels(UNITS))
        crops, landmarks = references.crops, references.landmarks
        from_mean = [warp.coordinates(own) for own in landmarks]
        textures = np.stack([_texture(*pair) for pair in zip(crops, from_mean, strict=True)])
        read = [read_cells(*pair, skin)[skin] for pair in zip(crops, from_mean, strict=True)]
        colours = np.stack(read)
        points, around = (rows.reshape(len(rows), -1) for rows in (landmarks, colours))
        shapes = Components.of(points, SHAPES, SHAPE_POWER)
        skins = Components.of(around, SKINS, SKIN_POWER)
        values = np.hstack([shapes.values(points), skins.values(around)])
        regressed = _regressed(values, textures), _regressed(values, colours)
        return cls(mean, mask.window, warp, skin, shapes, skins, *regressed)

    def expected(
        self,
        crop: np.ndarray,
        source: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
        warp: MeshWarp,
        inside: np.ndarray | None,
        most: float,
    ) -> ExpectedTexture:
        """What is expected of a frame with target landmarks (N, 2), canonical units.

        Args:
            crop: uint8 (S, S, 3), the frame's; only the skin around its mouth is read.
            source: (N, 2), its own landmarks.
            warp: to the target, on the unit grid of the mask's window.
            inside: bool (256, 256), what of the crop lies inside the frame, None for all.
            most: 0..1, how far lips and skin are drawn towards it.
        """
        colours = self._around(crop, source, inside)
        components = self.shapes.values(target.ravel()), self.skins.values(colours.ravel())
        values = np.concatenate([[1.0], *components]).astype(np.float32)
        # Light that no reference had is beyond the components' range; a hand on some of the skin is no light.
        light = np.median(colours - np.tensordot(values, self.colours, 1), axis=0)
        at = _middles(mask.window.part(warp.coordinates(self.mean), mask.core))
        corner = np.array([self.window.left, self.window.top], np.float32)
        at = (at + 0.5 - corner) / STEP - np.float32(0.5)
        picture = light + read_pixels(np.tensordot(values, self.textures, 1), at, cv2.INTER_LINEAR)
        # Beyond the jaw the face ends; between the lips it would be nearer, too, but a mean of teeth is grey.
        inner = between_lips(target, self.warp.triangulation.layout, mask.core, UNITS)
        skin = cells(mask.window.part(mask.lips, mask.core), STEP) > 0
        share = np.float32(most) * skin * (1 - cells(inner, STEP))
        return ExpectedTexture(picture, share)

    def _around(self, crop: np.ndarray, source: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
        """The skin of a crop, see `expected`; beyond the frame's edge the mean face's, as bright as what is
        seen: float32 (P, 3)."""
        coordinates = self.warp.coordinates(source)
        colours = read_cells(crop, coordinates, self.skin)[self.skin]
        lent = None if inside is None else lent_part(inside, coordinates)
        if lent is None:
            return colours
        seen, mean = cells(lent)[self.skin] > WHOLE, self.colours[0]
        light = np.median(colours[seen] - mean[seen], axis=0) if seen.any() else np.float32(0)
        return np.where(seen[:, None], colours, mean + light)


def _whole(references: References, mask: MouthMask) -> np.ndarray:
    """Which of them show all that a mask makes anew: bool (K,)."""
    if references.own is None:
        return np.ones(len(references), bool)
    lips = mask.lips > 0
    return np.array([mask.window.cut(part)[lips].all() for part in references.own], bool)


def _skin(references: References, mask: MouthMask) -> np.ndarray:
    """In which cells of a mask's window skin is read, which all references show: bool (h / 4, w / 4)."""
    skin = mask.ring > 0.5
    if references.own is not None:
        skin &= np.all([mask.window.cut(part) for part in references.own], axis=0)
    # A cell's neighbours, too, are skin: landmarks err.
    whole = cells(skin.astype(np.float32)) > WHOLE
    return cv2.erode(whole.astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0


def _texture(crop: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """A crop uint8 (S, S, 3) as it looks in another shape, whose units come from coordinates (h, w, 2):
    float32 (h / 2, w / 2, 3)."""
    side = UNITS // STEP
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    return read_pixels(small, (_middles(coordinates) + 0.5) / STEP - np.float32(0.5), cv2.INTER_LINEAR)


def _middles(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates (h, w, 2) of units -> those of squares of STEP units: (h / 2, w / 2, 2)."""
    return (coordinates[::STEP, ::STEP] + coordinates[1::STEP, 1::STEP]) / 2


def _regressed(values: np.ndarray, textures: np.ndarray) -> np.ndarray:
    """Ridge regression of textures (K, ..., 3) on values (K, C): their mean, and what each value adds,
    float32 (1 + C, ..., 3)."""
    flat = textures.reshape(len(textures), -1)
    mean = flat.mean(0)
    square = values.T @ values + RIDGE * len(values) * np.eye(values.shape[1])
    added = np.linalg.solve(square, values.T @ (flat - mean))
    return np.vstack([mean, added]).astype(np.float32).reshape(-1, *textures.shape[1:])
