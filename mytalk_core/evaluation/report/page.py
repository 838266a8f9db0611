"""The report of an evaluation as one HTML page: tables, players side by side, pictures and curves in it."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from urllib.parse import quote

from ...errors import MediaError
from ...face.detector import FaceDetector
from ...files import check_outputs, write_text
from ...media.browser import plays_everywhere
from ...media.video import Clip
from ...media.writer import VideoWriter
from ..pages import read_page
from .page_curves import draw_curves
from .page_frames import data_address, mouth_pairs, poster
from .report import report_files

NAME = "report.html"
HASH_SHOWN = 16  # digits
EMBEDDED_BYTES = 500_000  # a video up to this size is part of the page
PAGE_BYTES = 24_000_000  # until so much is in it
REGIONS = {"face": "face crop", "mouth": "mouth", "frame": "whole frame", None: "sound and movement"}
ARROWS = {"higher": "↑", "lower": "↓"}


def check_report(path: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Check, before any work, that a report and its page can be written and replace no input.

    path: as `write_report` takes it. Raises: MediaError as `check_outputs`.
    """
    target, table = report_files(path)
    check_outputs({file.name: file for file in (target, table, target.parent / NAME)}, inputs)


def write_page(report: dict, folder: Path) -> Path:
    """Write `folder`/report.html from an evaluation's report, the content of report.json; return the path.

    Paths in the report may be relative to the folder. Videos that every browser plays are linked, the small
    ones embedded; others are written again as H.264 to `folder`/players. A video that is not there is said so
    in its place.
    Raises: FileNotFoundError if the folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder to write the report's page into; make it first")
    builder = _Builder(report, folder)
    text = Template(read_page("report.html")).substitute(
        title=text_of(report.get("title") or "Evaluation"),
        facts=facts(report),
        table=score_table(report["metrics"], report["systems"]),
        lists="".join(listing(name, lines) for name, lines in remarks(report).items()),
        clips="\n".join(builder.clip(name) for name in clip_names(report["systems"])),
        style=read_page("report.css"),
        script=read_page("report.js"),
    )
    path = folder / NAME
    write_text(path, text)
    return path


def text_of(value: object) -> str:
    """As HTML text or attribute."""
    return html.escape(str(value))


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


def best_values(metric: dict, systems: list[dict]) -> float | None:
    """The best mean among the systems that compete, None where fewer than two have one."""
    values = [system["means"].get(metric["key"]) for system in systems if not is_anchor(system)]
    values = [value for value in values if value is not None and not math.isnan(value)]
    if len(values) < 2:
        return None
    return max(values) if metric["better"] == "higher" else min(values)


def score_table(metrics: list[dict], systems: list[dict]) -> str:
    """Metrics as rows, grouped by where they look; systems as columns; the best of each row marked."""
    heads = "".join(
        f'<th scope="col"{" class=anchor" if is_anchor(system) else ""}>{text_of(system["name"])}</th>'
        for system in systems
    )
    parts = [f'<table class="scores"><thead><tr><th scope="col">metric</th>{heads}</tr></thead>']
    for region in dict.fromkeys([*REGIONS, *(metric.get("region") for metric in metrics)]):
        rows = [metric for metric in metrics if metric.get("region") == region]
        if rows:
            name = REGIONS.get(region) or region
            head = f'<tr class="region"><th colspan="{len(systems) + 1}">{text_of(name)}</th></tr>'
            parts.append(f"<tbody>{head}{''.join(score_row(metric, systems) for metric in rows)}</tbody>")
    return "".join([*parts, "</table>"])


def score_row(metric: dict, systems: list[dict]) -> str:
    """One metric."""
    best = best_values(metric, systems)
    unit = f" <small>{text_of(metric['unit'])}</small>" if metric.get("unit") else ""
    source = f' title="{text_of(metric["source"])}"' if metric.get("source") else ""
    cells = []
    for system in systems:
        value = system["means"].get(metric["key"])
        marks = ["anchor"] if is_anchor(system) else []
        marks += ["best"] if best is not None and value == best and not is_anchor(system) else []
        css = f' class="{" ".join(marks)}"' if marks else ""
        cells.append(f"<td{css}>{number(value)}</td>")
    better = metric["better"]
    arrow = f'<span class="arrow" title="{better} is better">{ARROWS[better]}</span>'
    return f'<tr><th scope="row"{source}>{text_of(metric["label"])} {arrow}{unit}</th>{"".join(cells)}</tr>'


def facts(report: dict) -> str:
    """Date, machine and the models' hashes."""
    rows = [("date", report.get("date")), ("machine", report.get("machine"))]
    rows += [("clips", len(clip_names(report["systems"])))]
    rows += [("pictures scored", f"each {report['every']}-th frame")] if report.get("every", 1) > 1 else []
    models = "".join(
        f'<dt>{text_of(name)}</dt><dd title="{text_of(digest)}">sha256 {text_of(digest[:HASH_SHOWN])}</dd>'
        for name, digest in (report.get("models") or {}).items()
    )
    known = (f"<dt>{text_of(key)}</dt><dd>{text_of(value)}</dd>" for key, value in rows if value)
    return "".join(known) + models


def remarks(report: dict) -> dict[str, list[str]]:
    """Title -> lines: what could not be measured, what is to be known of the run, whose weights measured."""
    sources = [
        f"{metric['label']}: {metric['source']}" for metric in report["metrics"] if metric.get("source")
    ]
    return {
        "Not measured": report.get("absent", []),
        "Notes": report.get("notes", []),
        "Measured by": sources,
    }


def listing(title: str, lines: list[str]) -> str:
    """A heading and its lines; nothing where there are none."""
    if not lines:
        return ""
    points = "".join(f"<li>{text_of(line)}</li>" for line in lines)
    return f'<h2>{text_of(title)}</h2><ul class="remarks">{points}</ul>'


def clip_names(systems: list[dict]) -> list[str]:
    """Every clip of any system, in order of appearance."""
    return list(dict.fromkeys(clip["id"] for system in systems for clip in system["clips"]))


@dataclass
class _Builder:
    """Makes the clips' sections and keeps account of what is embedded."""

    report: dict
    folder: Path
    embedded: int = 0
    detector: FaceDetector | None = field(default=None, repr=False)

    def clip(self, name: str) -> str:
        """One clip: players, scores, then pictures and curves of each system."""
        found = [
            (system, clip)
            for system in self.report["systems"]
            for clip in system["clips"]
            if clip["id"] == name
        ]
        shown = [(system, clip) for system, clip in found if not is_anchor(system)]
        players = [self.player("source", "source", (shown or found)[0][1]["reference"])]
        players += [self.player(s["name"], f"{name}-{s['name']}", clip["generated"]) for s, clip in shown]
        scores = [{**system, "means": clip.get("scores", {})} for system, clip in found]
        notes = [f"{system['name']}: {note}" for system, clip in shown for note in clip.get("notes", [])]
        return (
            f'<details class="clip"><summary>{text_of(name)}</summary>'
            f'<div class="players">{"".join(players)}</div>'
            + read_page("controls.html")
            + "".join(f'<p class="quiet">{text_of(note)}</p>' for note in notes)
            + "".join(self.details(system, clip) for system, clip in shown)
            + '<details class="more"><summary>Scores of this clip</summary><div class="wide">'
            + f"{score_table(self.report['metrics'], scores)}</div></details></details>"
        )

    def player(self, label: str, name: str, address: str) -> str:
        """A video with its name below."""
        path = self.folder / address
        caption = f"<figcaption>{text_of(label)}</figcaption>"
        try:
            clip = Clip.open(path)
            still = poster(clip, len(clip) // 2)
            source = self.address(path, clip, name)
        except (FileNotFoundError, MediaError) as error:
            return f'<figure><p class="missing">{text_of(error)}</p>{caption}</figure>'
        # The poster keeps the place until the video is asked for.
        return (
            f'<figure><video controls playsinline preload="none" width="{clip.width}" height="{clip.height}" '
            f'poster="{still}" src="{source}"></video>{caption}</figure>'
        )

    def address(self, path: Path, clip: Clip, name: str) -> str:
        """What the player loads: the file itself, or the page."""
        if not plays_everywhere(path):
            path = self.written_again(path, clip, name)
        size = path.stat().st_size
        if size <= EMBEDDED_BYTES and self.embedded + size <= PAGE_BYTES:
            self.embedded += size
            return data_address(path)
        return quote(Path(os.path.relpath(path, self.folder)).as_posix())

    def written_again(self, path: Path, clip: Clip, name: str) -> Path:
        """The video as every browser plays it."""
        stem = f"{path.stem}-source" if name == "source" else name
        copy = self.folder / "players" / f"{stem}.mp4"
        copy.parent.mkdir(exist_ok=True)
        speech = clip.speech() if clip.has_audio else None
        # Odd sizes do not fit 4:2:0; VP9 takes them.
        if clip.height % 2 or clip.width % 2:
            copy = copy.with_suffix(".webm")
        with VideoWriter(copy, clip, pixel_format="yuv420p", crf=23, speech=speech) as writer:
            for picture in clip.pictures():
                writer.write(picture)
        return copy

    def details(self, system: dict, clip: dict) -> str:
        """Curves and the worst and best frames of one system."""
        parts = [f"<h3>{text_of(system['name'])}</h3>"]
        drawing = draw_curves(clip.get("curves") or {})
        if drawing:
            parts.append(f'<div class="drawing">{drawing}</div>')
        frames = clip.get("frames") or {}
        rows = [self.pictures(kind, clip, frames[kind]) for kind in ("worst", "best") if frames.get(kind)]
        if any(rows):
            parts.append(f'<div class="rows">{"".join(rows)}</div>')
        return f'<section class="system">{"".join(parts)}</section>' if len(parts) > 1 else ""

    def pictures(self, kind: str, clip: dict, indices: list[int]) -> str:
        """A row of pictures, each a button that takes the players there."""
        try:
            source, result = (Clip.open(self.folder / clip[key]) for key in ("reference", "generated"))
        except (FileNotFoundError, MediaError):
            return ""
        columns = [
            f'<button type="button" class="frame" data-time="{source.times_s[index]:.3f}">'
            f'<img src="{picture}" alt="mouth of frame {index}: source above, result below">'
            f"<span>{index} · {source.times_s[index]:.2f} s</span></button>"
            for index, picture in mouth_pairs(source, result, indices, self.face_detector())
        ]
        return f'<div class="frames"><h4>{kind} frames</h4>{"".join(columns)}</div>'

    def face_detector(self) -> FaceDetector:
        """Loaded at the first picture."""
        if self.detector is None:
            from ...face.tracker import load_face_reader

            self.detector = load_face_reader().detector
        return self.detector
