"""The files that nodes write: which formats there are, and what each can have."""

from __future__ import annotations

from comfy_api.latest import io

from ..mytalk_core.media.encoders import check_settings

# What the menu shows -> the core's codec and the file's extension.
FORMATS = {
    "h264 (.mp4)": ("h264", ".mp4"),
    "h264 (.mov)": ("h264", ".mov"),
    "prores (.mov)": ("prores", ".mov"),
    "vp9 (.webm)": ("vp9", ".webm"),
    "ffv1 lossless (.mkv)": ("ffv1", ".mkv"),
}


def quality_inputs() -> list[io.Combo.Input | io.Int.Input]:
    """The file's format, and how good its pictures are."""
    return [
        io.Combo.Input(
            "format",
            options=list(FORMATS),
            default="h264 (.mp4)",
            tooltip="h264 plays everywhere; prores is for editing; vp9 for the web; ffv1 keeps every value.",
        ),
        io.Int.Input(
            "crf",
            default=18,
            min=0,
            max=63,
            tooltip="Quality of h264 (0 to 51) and vp9 (0 to 63): lower is better and larger; 18 shows no "
            "loss.",
        ),
    ]


def check_format(format: str | None, crf: int | None, pixel_format: str | None = None) -> bool | str:
    """True, or the line that says what a format cannot have; None is a value that is not known yet."""
    if format not in FORMATS:
        return format is None or f"format is one of {', '.join(FORMATS)}; got {format!r}"
    try:
        check_settings(FORMATS[format][0], 18 if crf is None else crf, pixel_format)
    except ValueError as error:
        return str(error)
    return True
