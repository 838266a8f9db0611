"""What web browsers play."""

from __future__ import annotations

from pathlib import Path

from .container import open_media, video_stream

EXTENSIONS = (".mp4", ".m4v", ".webm")
CODECS = ("h264", "vp8", "vp9", "av1")
# Others of H.264 are played by some browsers only.
PIXEL_FORMATS = ("yuv420p", "yuvj420p")
DECODERS = {"libdav1d": "av1", "libvpx": "vp8", "libvpx-vp9": "vp9"}


def encoding(path: Path) -> tuple[str, str]:
    """Codec and pixel format of a video file. Raises: FileNotFoundError; MediaError."""
    with open_media(path, "a video") as container:
        context = video_stream(container, path).codec_context
        return DECODERS.get(context.name, context.name), context.pix_fmt or ""


def plays_everywhere(path: Path) -> bool:
    """Whether every current browser plays the file. Raises: FileNotFoundError; MediaError."""
    codec, pixels = encoding(path)
    return path.suffix.lower() in EXTENSIONS and codec in CODECS and pixels in PIXEL_FORMATS
