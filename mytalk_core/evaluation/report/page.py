"""The report of an evaluation as one HTML page: tables, players side by side, pictures and curves in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ...errors import MediaError
from ...face.detector import FaceDetector
from ...files import check_outputs, plain_name, write_text
from ...media.browser import plays_everywhere
from ...media.clip import Clip
from ...media.file_clip import FileClip
from ...pipeline import write
from ..pages import environment, render
from .page_curves import draw_curves
from .page_frames import data_address, mouth_pairs, poster
from .report import best_value, column, competes, is_anchor, number, report_files

if TYPE_CHECKING:
    from markupsafe import Markup

NAME = "report.html"
EMBEDDED_BYTES = 500_000  # a video up to this size is part of the page
PAGE_BYTES = 24_000_000  # until so much is in it
REGIONS = {"face": "face crop", "mouth": "mouth", "frame": "whole frame", None: "sound and movement"}
ARROWS = {"higher": "↑", "lower": "↓"}


def check_report(path: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Check, before any work, that a report and its page can be written and replace no input.

    path: as `write_report` takes it. Raises: MediaError as `check_outputs`; ValueError where jinja2 is not
    installed.
    """
    environment()
    target, table = report_files(path)
    check_outputs({file.name: file for file in (target, table, target.parent / NAME)}, inputs)


def write_page(report: dict, folder: Path) -> Path:
    """Write `folder`/report.html from an evaluation's report, the content of report.json; return the path.

    Paths in the report may be relative to the folder. Videos that every browser plays are linked, the small
    ones embedded; others are written again as H.264 to `folder`/players. A video that is not there is said so
    in its place.
    Raises: FileNotFoundError if the folder is not there; ValueError where jinja2 is not installed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder to write the report's page into; make it first")
    builder = _Builder(report, folder)
    text = render(
        "report.html",
        title=report.get("title") or "Evaluation",
        facts=facts(report),
        models=report.get("models") or {},
        systems=report["systems"],
        regions=regions(report["metrics"]),
        remarks=remarks(report),
        clips=[builder.clip(name) for name in clip_names(report["systems"])],
        is_anchor=is_anchor,
        best_value=best_value,
        competes=competes,
        column=column,
        number=number,
        arrows=ARROWS,
    )
    path = folder / NAME
    write_text(path, text)
    return path


def regions(metrics: list[dict]) -> list[tuple[str, list[dict]]]:
    """(name, metrics) of every region that has some, in the order of `REGIONS`."""
    found: dict[str, list[dict]] = {}
    for region in dict.fromkeys([*REGIONS, *(metric.get("region") for metric in metrics)]):
        found[REGIONS.get(region) or str(region)] = [m for m in metrics if m.get("region") == region]
    return [(name, own) for name, own in found.items() if own]


def facts(report: dict) -> list[tuple[str, object]]:
    """Date, machine and how much was looked at, as far as the report says it."""
    rows = [("date", report.get("date")), ("machine", report.get("machine"))]
    rows += [("clips", len(clip_names(report["systems"])))]
    rows += [("pictures scored", f"each {report['every']}-th frame")] if report.get("every", 1) > 1 else []
    return [(name, value) for name, value in rows if value]


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


def clip_names(systems: list[dict]) -> list[str]:
    """Every clip of any system, in order of appearance."""
    return list(dict.fromkeys(clip["id"] for system in systems for clip in system["clips"]))


@dataclass(frozen=True)
class VideoPlayer:
    """A video with its name below; address: what is loaded; problem: why it cannot be, else empty."""

    label: str
    problem: str = ""
    width: int = 0
    height: int = 0
    poster: str = ""
    address: str = ""


@dataclass(frozen=True)
class FramePicture:
    """The mouth in one frame, source above result, which takes the players there."""

    index: int
    time_s: float
    address: str


@dataclass(frozen=True)
class Details:
    """Curves and the worst and best frames of one system on one clip."""

    system: str
    drawing: Markup | str
    rows: dict[str, list[FramePicture]]


@dataclass(frozen=True)
class ClipSection:
    """All of one clip; systems: the report's, with their scores on this clip as means."""

    name: str
    players: list[VideoPlayer]
    notes: list[str]
    details: list[Details]
    systems: list[dict]


@dataclass
class _Builder:
    """Makes the clips' sections and keeps account of what is embedded."""

    report: dict
    folder: Path
    embedded: int = 0
    detector: FaceDetector | None = field(default=None, repr=False)

    def clip(self, name: str) -> ClipSection:
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
        return ClipSection(
            name,
            players,
            [f"{system['name']}: {note}" for system, clip in shown for note in clip.get("notes", [])],
            [self.details(system["name"], clip) for system, clip in shown],
            [{**system, "means": clip.get("scores", {}), "clips": [clip]} for system, clip in found],
        )

    def player(self, label: str, name: str, address: str) -> VideoPlayer:
        """A video, made playable."""
        path = self.folder / address
        try:
            clip = FileClip.open(path)
            still = poster(clip, len(clip) // 2)
            source = self.address(path, clip, name)
        except (FileNotFoundError, MediaError) as error:
            return VideoPlayer(label, str(error))
        return VideoPlayer(label, "", clip.width, clip.height, still, source)

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
        copy = self.folder / "players" / f"{plain_name(stem, 'a name in the report')}.mp4"
        copy.parent.mkdir(exist_ok=True)
        # Odd sizes do not fit 4:2:0; VP9 takes them.
        if clip.height % 2 or clip.width % 2:
            copy = copy.with_suffix(".webm")
        write(clip, copy, pixel_format="yuv420p", crf=23)
        return copy

    def details(self, system: str, clip: dict) -> Details:
        """Curves and the worst and best frames of one system."""
        frames = clip.get("frames") or {}
        rows = {kind: self.pictures(clip, frames.get(kind) or []) for kind in ("worst", "best")}
        drawing = draw_curves(clip.get("curves") or {})
        return Details(system, drawing, {kind: pictures for kind, pictures in rows.items() if pictures})

    def pictures(self, clip: dict, indices: list[int]) -> list[FramePicture]:
        """The frames of those numbers that both videos show; none where a video is missing."""
        if not indices:
            return []
        try:
            source, result = (FileClip.open(self.folder / clip[key]) for key in ("reference", "generated"))
        except (FileNotFoundError, MediaError):
            return []
        pairs = mouth_pairs(source, result, indices, self.face_detector())
        return [FramePicture(index, float(source.times_s[index]), picture) for index, picture in pairs]

    def face_detector(self) -> FaceDetector:
        """Loaded at the first picture."""
        if self.detector is None:
            from ...face.reader import load_face_reader

            self.detector = load_face_reader().detector
        return self.detector
