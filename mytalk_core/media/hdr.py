"""HDR10 mastering data: which display a video was graded on, and how bright it gets."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import av

from .side_data import side_data

# H.265 (D.2.28), which H.264 follows, counts chromaticities and luminances in these steps.
CHROMATICITY_STEP, LUMINANCE_STEP = Fraction(1, 50_000), Fraction(1, 10_000)
# FFmpeg's AVMasteringDisplayMetadata: ten fractions, and which of them are set.
MASTERING_STRUCT = struct.Struct("=20i2i")
LIGHT_STRUCT = struct.Struct("=2I")
DYNAMIC = {"DYNAMIC_HDR_PLUS": "HDR10+", "DOVI_METADATA": "Dolby Vision", "DOVI_RPU_BUFFER": "Dolby Vision"}


@dataclass(frozen=True)
class Mastering:
    """SMPTE ST 2086 colour volume and CTA-861.3 light levels; None where the video does not say.

    chromaticities: x and y of red, green, blue and white; luminances: lowest and highest, cd/m2; light: the
    brightest pixel's and the brightest frame's mean level, cd/m2; dynamic: kinds of per-frame metadata found.
    """

    chromaticities: tuple[Fraction, ...] | None = None
    luminances: tuple[Fraction, Fraction] | None = None
    light: tuple[int, int] | None = None
    dynamic: tuple[str, ...] = ()

    @classmethod
    def of_frame(cls, frame: av.VideoFrame) -> Mastering | None:
        """What the first frame carries; None where that is nothing."""
        sides = side_data(frame)
        volume, levels = sides.get("MASTERING_DISPLAY_METADATA"), sides.get("CONTENT_LIGHT_LEVEL")
        chromaticities = luminances = light = None
        if volume is not None:
            data = bytes(volume)[: MASTERING_STRUCT.size]
            *parts, has_chromaticities, has_luminances = MASTERING_STRUCT.unpack(data)
            values = [
                Fraction(above, below or 1) for above, below in zip(parts[::2], parts[1::2], strict=True)
            ]
            chromaticities = tuple(values[:8]) if has_chromaticities else None
            luminances = (values[8], values[9]) if has_luminances else None
        if levels is not None:
            light = LIGHT_STRUCT.unpack(bytes(levels)[: LIGHT_STRUCT.size])
        dynamic = tuple(sorted({kind for name, kind in DYNAMIC.items() if name in sides}))
        if chromaticities or luminances or light or dynamic:
            return cls(chromaticities, luminances, light, dynamic)
        return None

    @property
    def is_static(self) -> bool:
        """True where there is anything beside the dynamic kinds."""
        return self.chromaticities is not None or self.luminances is not None or self.light is not None

    def x264_params(self) -> list[str]:
        """As x264 takes them; it wants both halves of the colour volume or none."""
        return self._params("mastering-display", "cll")

    def x265_params(self) -> list[str]:
        """As x265 takes them, likewise."""
        return self._params("master-display", "max-cll")

    def _params(self, display: str, level: str) -> list[str]:
        params = []
        if self.chromaticities is not None and self.luminances is not None:
            red, green, blue, white = (
                ",".join(str(round(value / CHROMATICITY_STEP)) for value in self.chromaticities[at : at + 2])
                for at in (0, 2, 4, 6)
            )
            low, high = (round(value / LUMINANCE_STEP) for value in self.luminances)
            params.append(f"{display}=G({green})B({blue})R({red})WP({white})L({high},{low})")
        if self.light is not None:
            params.append(f"{level}={self.light[0]},{self.light[1]}")
        return params
