"""MyTalk Metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import comfy.model_management
import folder_paths
import torch
from comfy_api.latest import Input, io, ui

from ..mytalk_core.evaluation.compare import ClipScores, Scoring, compare_clips
from ..mytalk_core.evaluation.metric import METRICS
from ..mytalk_core.evaluation.networks.metric_networks import find_networks
from .clips import to_clip
from .host import rare, schema
from .inputs import rate_input
from .linked import checked
from .load import FOLDER
from .memory import WORK_BYTES, bring, patchers_of
from .progress import NodeProgress
from .screen import plainly
from .sound import of_several, to_speech

# The folder of further weights in models/mytalk.
WEIGHTS = "metrics"
# Needs more than a single pair of videos to mean anything.
OF_SETS = frozenset({"fid_face", "fvd_face"})
# Output -> (the core's metric, what it is).
NUMBERS = {
    "psnr": ("psnr_mouth", "PSNR of the mouth, dB; higher is nearer to the reference."),
    "ssim": ("ssim_mouth", "SSIM of the mouth, up to 1; higher is nearer to the reference."),
    "landmark_distance": (
        "lmd_mouth",
        "Mouth landmarks apart, percent of the eye distance; lower is nearer.",
    ),
    "opening_correlation": (
        "opening_correlation",
        "Pearson r of both mouths' openings, -1 to 1; higher is nearer.",
    ),
    "sync_confidence": (
        "expert_confidence",
        "How clearly lips and sound meet at one offset, by the bundled expert; higher is better.",
    ),
    "sync_offset_ms": ("expert_offset", "Milliseconds by which lips and sound are apart; 0 is best."),
}


class Metrics(io.ComfyNode):
    """How good a lip-synced video is, in numbers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkMetrics",
            display_name="MyTalk Metrics",
            description="Measures a lip-synced video against the one it was made from, or against a real one "
            "that speaks the same words: picture, lip movement, lip sync, identity, flicker.",
            inputs=[
                io.MultiType.Input(
                    "reference",
                    [io.Video, io.Image],
                    tooltip="The real video: VIDEO, or an IMAGE batch.",
                ),
                io.MultiType.Input(
                    "generated",
                    [io.Video, io.Image],
                    tooltip="The video to measure. Best the one of Video Combine: a VIDEO that is rendered "
                    "while it is read would be rendered twice.",
                ),
                io.Boolean.Input(
                    "same_words",
                    default=False,
                    tooltip="On: both speak the same words, so pictures and lips are compared frame by "
                    "frame. Off: the lips say something else, and only what needs no true lips is measured.",
                ),
                io.Combo.Input(
                    "face",
                    options=["largest", "left", "right"],
                    default="largest",
                    tooltip="Which face of the reference, in every shot; in the generated video the one in "
                    "its place.",
                ),
                rare(
                    io.Int.Input,
                    "every",
                    default=1,
                    min=1,
                    max=250,
                    tooltip="Compare the pictures of each N-th frame only: 5 is about five times as fast, "
                    "for pictures.",
                ),
                rate_input("Frames a second, for IMAGE batches only; a VIDEO brings its own times."),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="What the generated video speaks; without it the video's own sound.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="table", tooltip="All metrics as a table in Markdown, with notes."
                ),
                *(
                    io.Float.Output(display_name=name, tooltip=f"{meaning} nan where it was not measured.")
                    for name, (_, meaning) in NUMBERS.items()
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        reference: Input.Video | torch.Tensor,
        generated: Input.Video | torch.Tensor,
        same_words: bool,
        face: str,
        every: int,
        frame_rate: float,
        audio: Input.Audio | None = None,
    ) -> io.NodeOutput:
        """Compare, lay out the table."""
        networks = find_networks(weights_folder(), OF_SETS, comfy.model_management.unet_offload_device())
        bring(list(patchers_of(networks.modules).values()), WORK_BYTES["renderer"])
        found = compare_clips(
            to_clip(reference, frame_rate),
            to_clip(generated, frame_rate),
            to_speech(audio) if audio is not None else None,
            networks=networks,
            scoring=Scoring(every, same_words, OF_SETS),
            face=face,
            progress=NodeProgress(),
        )
        table = score_table(found, networks.absent, of_several(audio))
        numbers = [number(found, key) for key, _ in NUMBERS.values()]
        return io.NodeOutput(table, *numbers, ui=ui.PreviewText(table))


def weights_folder() -> Path | None:
    """The first models/mytalk/metrics that is there."""
    folders = (Path(folder) / WEIGHTS for folder in folder_paths.get_folder_paths(FOLDER))
    return next((folder for folder in folders if folder.is_dir()), None)


def number(found: ClipScores, key: str) -> float:
    """A metric's value, nan where it has none."""
    value = found.scores.get(key)
    return math.nan if value is None else float(value)


def score_table(found: ClipScores, absent: tuple[str, ...], lines: Sequence[str] = ()) -> str:
    """Every metric that was asked for as a Markdown table, and a line a note, those of `lines` too."""
    rows: list[tuple[str, ...]] = [("metric", "value", "better")]
    for metric in METRICS:
        if metric.key in found.scores:
            value = number(found, metric.key)
            shown = "-" if math.isnan(value) else f"{value:.3f} {metric.unit}".strip()
            rows.append((metric.label, shown, metric.better))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    table = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows]
    left_out = ", ".join(line.partition(": left out")[0] for line in absent)
    notes = [f"{found.frames} frames compared.", *lines, *found.notes]
    if left_out:
        notes.append(f"Left out, without weights in models/{FOLDER}/{WEIGHTS}: {left_out}.")
    return "\n".join([*table, "", *notes])


NODES = [Metrics]
