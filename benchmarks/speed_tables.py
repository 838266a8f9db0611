"""The tables of `speed.py`, as markdown lines."""

from __future__ import annotations

import datetime
import os
import platform

import av
import cv2
import torch
from renderer_alone import ALONE
from stage_costs import STAGES, Cost


def stage_table(costs: list[Cost], shapes: dict[tuple[str, int], dict[str, float]]) -> list[str]:
    """Markdown: stages of every size beside decode and encode, and Wav2Lip's networks."""
    lines = [
        f"| input | device, threads | {' | '.join(STAGES)} | all but the first | : decode + encode | "
        "frames/s, wall | Wav2Lip's S3FD, generator | Wav2Lip : ours |",
        "|---|---|" + "---|" * (len(STAGES) + 5),
    ]
    for cost in costs:
        shape = shapes.get((cost.name, cost.threads)) if cost.device == "cpu" else None
        stages = " | ".join(f"{cost.a_frame(stage):.4f}" for stage in STAGES)
        theirs = f"{shape['S3FD']:.2f}, {shape['generator']:.3f}" if shape else "–"
        ratio = f"{sum(shape.values()) / cost.ours:.0f}" if shape else "–"
        lines.append(
            f"| {cost.name} ({cost.width}x{cost.height}) | {cost.device}, {cost.threads} | {stages} | "
            f"{cost.ours:.4f} | {cost.ours / cost.a_frame(STAGES[0]):.1f} | "
            f"{cost.frames / cost.wall_s:.1f} | {theirs} | {ratio} |"
        )
    return lines


def plain_table(costs: list[Cost], first: str) -> list[str]:
    """Markdown: CPU seconds a frame and the process's peak memory, a clip a row."""
    lines = [
        f"| {first} | frames | track | all | : decode + encode | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for cost in costs:
        peak = "–" if cost.peak_mb is None else f"{cost.peak_mb:.0f}"
        lines.append(
            f"| {cost.name} | {cost.frames} | {cost.a_frame('track'):.4f} | {cost.ours:.4f} | "
            f"{cost.ours / cost.a_frame(STAGES[0]):.1f} | {peak} |"
        )
    return lines


def renderer_table(costs: list[Cost]) -> list[str]:
    """Markdown: what every renderer costs, and how many times as much as the first on the same input."""
    first = {cost.name: cost.ours for cost in reversed(costs)}
    lines = ["| renderer | input | render + write | all | : `warp` |", "|---|---|---|---|---|"]
    for cost in costs:
        renderer, clip, _ = _named(cost)
        lines.append(
            f"| {renderer} | {clip} | {cost.a_frame(STAGES[-1]):.4f} | {cost.ours:.4f} | "
            f"{cost.ours / first[cost.name]:.2f} |"
        )
    return lines


def device_table(costs: list[Cost]) -> list[str]:
    """Markdown: frames a second of the clock, and the share of each stage."""
    columns = ("renderer", "input", "device, threads", "dtype", "frames a call")
    rates = ("renderer and composite alone, frames/s", f"{ALONE[-1]}", "all, frames/s")
    shares = [f"{stage}, %" for stage in STAGES[1:]]
    titles = [*columns, *rates, *shares]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for cost in costs:
        cells = [*_named(cost), cost.dtype, str(cost.together)]
        cells += [f"{1 / cost.alone[way]:.1f}" for way in (ALONE[0], ALONE[-1])]
        cells += [f"{cost.frames / cost.wall_s:.1f}"]
        cells += [f"{100 * cost.walls[stage] / cost.wall_s:.0f}" for stage in STAGES[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def stage_walls(costs: list[Cost]) -> list[str]:
    """Markdown: milliseconds of the clock a frame of every stage, and within the renderer alone."""
    titles = ["renderer", "input", "device, threads", *STAGES, *(f"alone: {part}" for part in ALONE)]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for cost in costs:
        cells = [f"{1000 * cost.walls[stage] / cost.frames:.2f}" for stage in STAGES]
        cells += [f"{1000 * cost.alone[part]:.2f}" for part in ALONE]
        lines.append(f"| {' | '.join([*_named(cost), *cells])} |")
    return lines


def _named(cost: Cost) -> list[str]:
    return [
        f"`{cost.renderer}`",
        f"{cost.name} ({cost.width}x{cost.height})",
        f"{cost.device}, {cost.threads}",
    ]


def machine() -> str:
    """Date, processor, card and versions."""
    processor = platform.processor() or platform.machine()
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{datetime.date.today()}, {os.cpu_count()} cores ({processor}), {card}, torch {torch.__version__}, "
        f"OpenCV {cv2.__version__}, PyAV {av.__version__}"
    )
