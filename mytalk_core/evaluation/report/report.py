"""An evaluation's report: plain numbers for JSON, and a Markdown table."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...files import write_text
from ...media.clip import Clip
from ..clip_files import ClipFiles
from ..markdown import escaped
from ..metric import METRICS

if TYPE_CHECKING:
    from ..compare import ClipScores, Scoring

JSON_NAME, MARKDOWN_NAME = "report.json", "report.md"


def clip_entry(
    files: ClipFiles, generated: Clip, result: ClipScores, notes: tuple[str, ...], folder: Path
) -> dict:
    """One clip of one system, for the report; paths are relative to `folder`."""
    curves = result.curves
    return {
        "id": files.name,
        "reference": _relative(files.reference, folder),
        "generated": _relative(generated.files[0], folder),
        "frames_compared": result.frames,
        "scores": {key: plain(value) for key, value in result.scores.items()},
        "curves": {
            "times_s": [round(float(t), 3) for t in curves.times_s],
            "opening": [plain(v) for v in curves.opening],
            "reference_opening": [plain(v) for v in curves.reference_opening],
            "speech_level": [plain(v) for v in curves.speech_level],
        },
        "frames": {"worst": list(result.worst), "best": list(result.best)},
        "notes": [*result.notes, *notes],
    }


def plain(value: float | None) -> float | None:
    """Five digits behind the point; None for what is no number, which JSON has no word for."""
    return None if value is None or not math.isfinite(value) else round(float(value), 5)


def machine_line() -> str:
    """The kind of machine, without names."""
    cores = f"{os.cpu_count()}-core {platform.machine()} CPU"
    return f"{torch.cuda.get_device_name()}, {cores}" if torch.cuda.is_available() else cores


def paired_line(scoring: Scoring) -> list[str]:
    """What the unpaired protocol cannot measure, as a line."""
    if scoring.paired:
        return []
    labels = ", ".join(metric.label for metric in METRICS if metric.paired)
    return [f"{labels}: left out, the generated videos speak other words than the reference"]


def write_report(report: dict, path: Path) -> Path:
    """Write the JSON (`path`, or report.json in the folder `path`) and report.md beside it; the folder."""
    target, table = report_files(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, json.dumps(report, indent=1, allow_nan=False) + "\n")
    write_text(table, markdown(report))
    return target.parent


def report_files(path: Path) -> tuple[Path, Path]:
    """The JSON and the Markdown that `write_report` writes for `path`."""
    if path.suffix == ".json":
        return path, path.with_suffix(".md")
    return path / JSON_NAME, path / MARKDOWN_NAME


def markdown(report: dict) -> str:
    """The report's table: metrics as rows, systems as columns, the best of those that compete in bold."""
    systems = report["systems"]
    clips = _most(systems)
    pictures = "every frame" if report["every"] == 1 else f"each {report['every']}-th frame"
    lines = [
        f"# {escaped(report['title'])}",
        "",
        f"{report['date']}, {escaped(report['machine'])}, {clips} clips, pictures of {pictures}.",
        *(f"{escaped(name)}: {digest}" for name, digest in report["models"].items()),
        "",
        "| metric | " + " | ".join(escaped(column(system, systems)) for system in systems) + " |",
        "|---|" + "---|" * len(systems),
    ]
    for metric in report["metrics"]:
        values = [system["means"].get(metric["key"]) for system in systems]
        best = best_value(metric, systems)
        cells = [
            f"**{number(v)}**" if v is not None and v == best and competes(s, systems) else number(v)
            for v, s in zip(values, systems, strict=True)
        ]
        unit = f" ({metric['unit']})" if metric["unit"] else ""
        arrow = "↑" if metric["better"] == "higher" else "↓"
        lines.append(f"| {metric['label']}{unit} {arrow} | " + " | ".join(cells) + " |")
    sources = [f"{m['label']}: {m['source']}" for m in report["metrics"] if m["source"]]
    for title, entries in (
        ("Not measured", report["absent"]),
        ("Notes", [*report["notes"], *_clip_notes(systems)]),
        ("Weights", sources),
    ):
        if entries:
            lines += ["", f"## {title}", "", *(f"- {escaped(entry)}" for entry in entries)]
    return "\n".join(lines) + "\n"


def number(value: float | None) -> str:
    """Three decimals below 10, two below 100, one above; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    decimals = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1
    return f"{value:.{decimals}f}".replace("-", "−")


def is_anchor(system: dict) -> bool:
    """Whether it shows what is possible (the real video) and does not compete."""
    return bool(system.get("anchor"))


def competes(system: dict, systems: list[dict]) -> bool:
    """Whether its means are held against others': not the real video's, nor those of fewer clips than anybody
    has, for the missing ones may be the hard ones."""
    return not is_anchor(system) and len(system["clips"]) == _most(systems)


def column(system: dict, systems: list[dict]) -> str:
    """A system's name, and of how many clips its means are where others have more."""
    clips, most = len(system["clips"]), _most(systems)
    return system["name"] if clips == most else f"{system['name']} ({clips} of {most} clips)"


def _most(systems: list[dict]) -> int:
    return max(len(system["clips"]) for system in systems)


def best_value(metric: dict, systems: list[dict]) -> float | None:
    """The best mean among the systems that compete, None where fewer than two have one."""
    values = [system["means"].get(metric["key"]) for system in systems if competes(system, systems)]
    values = [value for value in values if value is not None and not math.isnan(value)]
    if len(values) < 2:
        return None
    return max(values) if metric["better"] == "higher" else min(values)


def _clip_notes(systems: list[dict]) -> list[str]:
    return [
        f"{system['name']}, {clip['id']}: {note}"
        for system in systems
        if not is_anchor(system)
        for clip in system["clips"]
        for note in clip["notes"]
    ]


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
