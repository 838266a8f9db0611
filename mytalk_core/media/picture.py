"""One upright frame in its native samples, with RGB made when asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import av
import numpy as np

from .colour import FULL, RGB_MATRIX, Box, Colour, RgbConverter, matrix_for_height
from .pixels import planes_of, spread, thinned


@dataclass(eq=False)
class Picture:
    """A decoded frame: planar, upright, never written to (`paste` makes a new one).

    index: frame number in its clip; frame: native planes; colour: tags that hold for the whole clip;
    converted: its RGB once somebody asked for it; part: a box that was asked for, in RGB; room: uint8
    (H, W, 3), memory that its RGB may be made in.
    """

    index: int
    frame: av.VideoFrame
    colour: Colour
    converter: RgbConverter
    converted: np.ndarray | None = field(default=None, repr=False)
    part: tuple[Box, np.ndarray] | None = field(default=None, repr=False)
    room: np.ndarray | None = field(default=None, repr=False)

    @property
    def height(self) -> int:
        """Rows, px."""
        return self.frame.height

    @property
    def width(self) -> int:
        """Columns, px."""
        return self.frame.width

    @property
    def format_name(self) -> str:
        """FFmpeg's name of the planar pixel format."""
        return self.frame.format.name

    @property
    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3) by the clip's matrix and range; converted once. Shared: copy before changing it."""
        if self.converted is None:
            self.converted, self.part = self.converter(self.frame, room=self.room), None
        return self.converted

    def rgb_in(self, box: Box, about: Box | None = None) -> np.ndarray:
        """`rgb` whose pixels outside the box are undefined, for who reads no others: they cost nothing, and
        those of the last box and what lies in it are converted once.

        box: top, left, bottom, right, px, inside the frame; about: one that holds it, which is converted
        where it is not there yet, as others that lie in it are soon wanted.
        """
        if self.converted is None and self.part is not None and holds(self.part[0], box):
            return self.part[1]
        top, left, bottom, right = about = about or box
        # What a nearly whole frame saves is less than a second box would cost.
        if self.converted is not None or 4 * (bottom - top) * (right - left) > 3 * self.height * self.width:
            return self.rgb
        self.part = about, self.converter(self.frame, about, self.room)
        return self.part[1]

    def sampled(self, height: int, width: int) -> np.ndarray:
        """uint8 (height, width, 3): `rgb` of so many pixels, spread evenly; no other is converted."""
        if self.converted is not None:
            rows, columns = spread(self.height, height), spread(self.width, width)
            return self.converted[rows][:, columns]
        return self.converter(thinned(self.frame, height, width))

    def numbered(self, index: int) -> Picture:
        """The same picture under another number; its RGB is not made again."""
        return self if self.index == index else replace(self, index=index)

    @classmethod
    def from_rgb(cls, index: int, rgb: np.ndarray) -> Picture:
        """A picture of RGB values: uint8 (H, W, 3), or float 0..1 (ComfyUI's IMAGE). One or four channels are
        taken too.

        Raises: ValueError for another shape.
        """
        rgb = rgb_bytes(rgb)
        colour = rgb_colour(rgb.shape[0])
        frame = av.VideoFrame(rgb.shape[1], rgb.shape[0], "gbrp")
        for plane, channel in zip(planes_of(frame), (1, 2, 0), strict=True):
            np.copyto(plane, rgb[..., channel])
        return cls(index, frame, colour, RgbConverter(colour), rgb)


def holds(box: Box, other: Box) -> bool:
    """Whether another box lies in a box."""
    return box[0] <= other[0] and box[1] <= other[1] and box[2] >= other[2] and box[3] >= other[3]


def rgb_colour(height: int) -> Colour:
    """The colour description of frames that arrive as RGB."""
    return Colour(matrix=RGB_MATRIX, range=FULL, assumed_matrix=matrix_for_height(height))


def rgb_bytes(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) from uint8 or float 0..1 with 1, 3 or 4 channels.

    Raises: ValueError for another shape or type, or NaN.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(
            f"an image of uint8, or of floats 0..1, was required, but {image.dtype} arrived: scale it to one "
            "of them"
        )
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(f"an image (H, W, 3) was required, but shape {image.shape} arrived: pass RGB frames")
    if image.dtype != np.uint8:
        if np.isnan(image).any():
            raise ValueError(
                "numbers were required in an image, but NaN is in it, as where a model ran in too few bits: "
                "make the image anew, in float32"
            )
        image = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[-1] == 1 else np.ascontiguousarray(image[..., :3])
