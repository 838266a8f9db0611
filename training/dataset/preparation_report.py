"""What a preparation took, what it left out and why: report.json, and report.md for a reader."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mytalk_core.evaluation.markdown import escaped
from mytalk_core.files import write_text

from .journal import Entry

FIGURES = (
    ("seconds", "length, s"),
    ("present", "share of frames with the face"),
    ("dominance", "share of the largest face"),
    ("face_px", "face width, px"),
    ("yaw_deg", "turn to the side, degrees"),
    ("detail", "detail about the mouth"),
    ("confidence", "confidence of the sync expert"),
    ("lag_ms", "lips later than sound, ms"),
)
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
REPORT_NAMES = ("report.json", "report.md")


def summarise(
    entries: list[Entry], rows: list[dict[str, Any]], settings: dict[str, Any], layout: str
) -> dict[str, Any]:
    """The report of finished sources and the index rows they became, as plain values."""
    shots = [shot | {"source": entry.source} for entry in entries for shot in entry.shots]
    left_out = [shot for shot in shots if shot["why"]]
    figures = {}
    for name, _ in FIGURES:
        values = [shot[name] for shot in shots if shot.get(name) is not None]
        if values:
            figures[name] = {f"{q:g}": round(float(np.quantile(values, q)), 3) for q in QUANTILES}
            figures[name]["shots"] = len(values)
    return {
        "layout": layout,
        "settings": settings,
        "sources": len(entries),
        "sources_taken": sum(bool(entry.samples) for entry in entries),
        "samples": len(rows),
        "hours": round(sum(row["seconds"] for row in rows) / 3600, 4),
        "people": len({row["identity"] for row in rows}),
        "crops": sum(row["crops"] for row in rows),
        "splits": dict(sorted(Counter(row["split"] for row in rows).items())),
        "left_out": dict(Counter(shot["why"] for shot in left_out).most_common()),
        "left_out_seconds": _seconds(left_out),
        "figures": figures,
        "dropped": [
            {name: shot.get(name) for name in ("source", "shot", "why", "line")} for shot in left_out
        ],
    }


def _seconds(shots: list[dict[str, Any]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for shot in shots:
        totals[shot["why"]] = totals.get(shot["why"], 0.0) + (shot.get("seconds") or 0.0)
    longest_first = sorted(totals.items(), key=lambda item: item[1], reverse=True)
    return {why: round(total, 1) for why, total in longest_first}


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """report.json and report.md in the dataset's folder, each whole or not at all."""
    texts = (json.dumps(report, indent=2) + "\n", as_markdown(report))
    for name, text in zip(REPORT_NAMES, texts, strict=True):
        write_text(folder / name, text)


def as_markdown(report: dict[str, Any]) -> str:
    """The report for a reader: totals, reasons, figures, then every source that lost something."""
    lines = [
        "# Preparation report",
        "",
        f"{report['samples']} samples of {report['people']} people, {report['hours']:.2f} hours, "
        f"{report['crops']} crops, from {report['sources_taken']} of {report['sources']} sources "
        f"(layout: {report['layout']}; splits: "
        + (", ".join(f"{name} {count}" for name, count in report["splits"].items()) or "none")
        + ").",
        "",
        "| left out because | shots or sources | seconds, where measured |",
        "|---|---:|---:|",
    ]
    seconds = report["left_out_seconds"]
    lines += [f"| {why} | {count} | {seconds[why]:.1f} |" for why, count in report["left_out"].items()]
    lines += ["", "| figure (all shots that were measured) | shots | least | 10 % | median | 90 % | most |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name, label in FIGURES:
        if name in report["figures"]:
            values = report["figures"][name]
            cells = " | ".join(f"{values[f'{q:g}']:g}" for q in QUANTILES)
            lines.append(f"| {label} | {values['shots']} | {cells} |")
    lines += ["", "| source | shot | left out because | |", "|---|---:|---|---|"]
    for row in report["dropped"]:
        shot = "" if row["shot"] is None else row["shot"]
        source, line = escaped(row["source"]), escaped(row["line"] or "")
        lines.append(f"| {source} | {shot} | {row['why']} | {line} |")
    return "\n".join(lines) + "\n"
