"""The report's page: the right cells marked, videos that play, the right frames, honest curves."""

from __future__ import annotations

import base64
import copy
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.evaluation.report import page
from mytalk_core.evaluation.report.page_curves import draw_curves
from mytalk_core.evaluation.report.page_frames import mouth_window
from mytalk_core.evaluation.report.report import markdown
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.mesh import region_from_box
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.writer import VideoWriter

FRAMES = 8
METRICS = [
    {"key": "psnr", "label": "PSNR", "unit": "dB", "better": "higher", "region": "face", "source": "here"},
    {"key": "lpips", "label": "LPIPS", "unit": "", "better": "lower", "region": "mouth", "source": "AlexNet"},
    {"key": "sync", "label": "Sync", "unit": "", "better": "lower", "region": None, "source": ""},
]


class Reader(HTMLParser):
    """Tags with their attributes, and the text inside each table cell, by row."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.rows: list[list[tuple[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append((dict(attributes).get("class") or "", ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes what it did not open"

    def handle_data(self, data):
        if self.rows and self.rows[-1] and {"td", "th"} & set(self.open):
            css, text = self.rows[-1][-1]
            self.rows[-1][-1] = css, text + data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def write_clip(path: Path, frames: np.ndarray, **options) -> Path:
    clip = ImageClip.from_frames(frames, 25)
    with VideoWriter(path, clip, **options) as writer:
        for picture in clip.pictures():
            writer.write(picture)
    return path


@pytest.fixture(scope="module")
def frames():
    return next(FileClip.open(EXAMPLES / "ai_woman.mp4").frames(0, FRAMES, batch_size=FRAMES))


@pytest.fixture
def report(frames, tmp_path):
    """Two systems and the real video on one clip; the second system's frames are red."""
    reference = write_clip(tmp_path / "source clip.mp4", frames, pixel_format="yuv420p")
    (tmp_path / "out").mkdir()
    red = frames.copy()
    red[..., 1:] //= 4
    write_clip(tmp_path / "out" / "a.mp4", frames, pixel_format="yuv420p")
    write_clip(tmp_path / "out" / "b.mkv", red, codec="ffv1")
    curves = {
        "times_s": [n / 25 for n in range(FRAMES)],
        "opening": [0.1, 0.2, None, 0.3, 0.4, 0.1, 0.0, 0.1],
        "reference_opening": [0.2] * FRAMES,
        "speech_level": [0, 0.5, 1, 0.5, 0, 0, 0.2, 0.1],
    }

    def system(name, means, generated, **more):
        clip = {"id": "one", "reference": str(reference), "generated": generated, "scores": dict(means)}
        clip |= {"curves": curves, "frames": {"worst": [6, 2], "best": [4]}}
        return {"name": name, "means": means, "clips": [clip], **more}

    systems = [
        system("real", {"psnr": math.inf, "lpips": 0.0, "sync": 9.5}, str(reference), anchor=True),
        system("warp <x>", {"psnr": 31.25, "lpips": 0.0912, "sync": 7.0}, "out/a.mp4"),
        system("network", {"psnr": 33.5, "lpips": 0.25, "sync": None}, "out/b.mkv"),
    ]
    return {
        "title": "Paired & <b>sound</b>",
        "date": "2026-01-02",
        "machine": "a machine",
        "models": {"motion of mini": "0123abcd" * 8},
        "metrics": METRICS,
        "absent": ["FVD: no weights <given>"],
        "notes": ["one clip was <short>"],
        "every": 5,
        "systems": systems,
    }


def read(report: dict, folder: Path) -> Reader:
    path = page.write_page(report, folder)
    assert path == folder / "report.html" and not list(folder.glob(".*"))
    return Reader(path.read_text(encoding="utf-8"))


def test_table_marks_the_best_of_those_who_compete(report, tmp_path):
    rows = read(report, tmp_path).rows
    heads, psnr, lpips, sync = rows[0], rows[2], rows[4], rows[6]
    assert [text for _, text in heads] == ["metric", "real", "warp <x>", "network"]
    assert [cell[1] for cell in psnr] == ["PSNR ↑ dB", "∞", "31.25", "33.50"]
    assert [cell[1] for cell in lpips] == ["LPIPS ↓", "0.000", "0.091", "0.250"]
    assert [cell[1] for cell in sync] == ["Sync ↓", "9.500", "7.000", "–"]
    assert [["best" in css for css, _ in row] for row in (psnr, lpips, sync)] == [
        [False, False, False, True],
        [False, False, True, False],
        [False] * 4,
    ], "the real video and a lone value are not the best of anything"


def test_who_lacks_clips_is_the_best_of_none(report, tmp_path):
    """The clips that it lacks may be those on which the others fail."""
    for system in report["systems"]:
        system["clips"][0]["notes"] = []
    for system in report["systems"][:2]:
        system["clips"] = [*system["clips"], system["clips"][0] | {"id": "two"}]
    heads, psnr, lpips = (read(report, tmp_path).rows[number] for number in (0, 2, 4))
    assert [text for _, text in heads] == ["metric", "real", "warp <x>", "network (1 of 2 clips)"]
    assert not any("best" in css for row in (psnr, lpips) for css, _ in row)
    lines = markdown(report).splitlines()
    assert any("network (1 of 2 clips)" in line for line in lines) and not any("**" in line for line in lines)
    # Of the clip that all have the best is marked, by PSNR and by LPIPS.
    assert sum("best" in css for row in read(report, tmp_path).rows for css, _ in row) == 2


def test_page_stands_alone_and_every_word_is_escaped(report, tmp_path):
    reader = read(report, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|<link|<script src", text)
    assert "<b>sound" not in text and "warp <x>" not in text and "no weights &lt;given&gt;" in text
    assert reader.open == [], "every element is closed"
    for words in ("a machine", "0123abcd", "each 5-th frame", "one clip was &lt;short&gt;", "LPIPS: AlexNet"):
        assert words in text


def test_hostile_words_stay_words_wherever_they_stand(report, tmp_path):
    """In attributes too; an element or an attribute more would be seen."""
    plain = [(tag, sorted(attributes)) for tag, attributes in read(report, tmp_path).tags]
    hostile = "\"><script>alert(1)</script> onload='x' {{ 7 * 7 }}"
    report["metrics"] = [metric | {"label": hostile, "unit": "", "source": hostile} for metric in METRICS]
    report |= {"title": hostile, "date": hostile, "machine": hostile, "models": {hostile: hostile}}
    report |= {"absent": [hostile], "notes": [hostile]}
    for system in report["systems"][1:]:
        system["clips"][0]["notes"] = [hostile]
    report["systems"][0]["name"] = hostile
    for system in report["systems"]:
        system["clips"][0]["id"] = hostile.replace("/", "")
    reader = read(report, tmp_path)
    tags = [tag for tag, _ in reader.tags]
    assert reader.open == [] and tags.count("script") == 1
    assert {name for tag, names in plain for name in names} == {n for _, a in reader.tags for n in a}
    assert [text for _, text in reader.rows[0]] == ["metric", hostile, "warp <x>", "network"]
    assert reader.rows[2][0][1] == f"{hostile} ↑"
    assert hostile in {attributes.get("title") for attributes in reader.all("th")}
    assert "{{ 7 * 7 }}" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_videos_are_embedded_when_small_and_linked_when_not(report, tmp_path, monkeypatch):
    sources = [video["src"] for video in read(report, tmp_path).all("video")]
    assert len(sources) == 3 and all(source.startswith("data:video/mp4;base64,") for source in sources)
    whole = base64.b64decode(sources[1].split(",")[1])
    assert whole == (tmp_path / "out" / "a.mp4").read_bytes()
    monkeypatch.setattr(page, "EMBEDDED_BYTES", 10)
    sources = [video["src"] for video in read(report, tmp_path).all("video")]
    assert sources[0] == "source%20clip.mp4" and sources[1] == "out/a.mp4"
    assert all((tmp_path / unquote(source)).is_file() for source in sources)


def test_what_browsers_do_not_play_is_written_again(report, tmp_path, monkeypatch, frames):
    monkeypatch.setattr(page, "EMBEDDED_BYTES", 10)
    source = read(report, tmp_path).all("video")[2]["src"]
    again, original = FileClip.open(tmp_path / source), FileClip.open(tmp_path / "out" / "b.mkv")
    assert page.plays_everywhere(tmp_path / source) and not page.plays_everywhere(original.path)
    np.testing.assert_allclose(again.times_s, original.times_s, atol=1e-3)
    difference = np.abs(next(again.frames()).astype(int) - next(original.frames()))
    assert difference.mean() < 6


def test_pictures_are_the_named_frames_source_over_result(report, tmp_path):
    reader = read(report, tmp_path)
    captions = re.findall(r"<span>(\d+) · ([\d.]+) s</span>", (tmp_path / "report.html").read_text())
    assert captions == [("6", "0.24"), ("2", "0.08"), ("4", "0.16")] * 2
    pictures = []
    for image in reader.all("img"):
        data = np.frombuffer(base64.b64decode(image["src"].split(",")[1]), np.uint8)
        pictures.append(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int))
    half = pictures[0].shape[0] // 2 - 4
    same, red = pictures[0], pictures[3]
    assert np.abs(same[:half] - same[-half:]).mean() < 8, "the first system's frames are the source's"
    assert np.abs(red[:half] - same[:half]).mean() < 8, "above stands the source"
    assert (red[-half:, :, 0] - red[-half:, :, 1]).mean() > 50 > (red[:half, :, 0] - red[:half, :, 1]).mean()


def test_the_mouth_is_in_the_middle_of_its_picture(frames):
    reader = load_face_reader()
    face = reader.detector.detect(frames[0])[0]
    region = region_from_box(face.box, face.key_points[0], face.key_points[1])
    landmarks = reader.mesh.read([frames[0]], [region])[0][0]
    lips = landmarks[LandmarkLayout.load("mesh478").lips, :2]
    centre, half_px = mouth_window(frames[0], reader.detector)
    assert np.abs(lips - centre).max() < 0.8 * half_px, "all of the lips is in it"
    assert np.linalg.norm(lips.mean(0) - centre) < 0.25 * half_px < 0.4 * np.ptp(lips[:, 0])
    faceless = np.zeros((40, 60, 3), np.uint8)
    assert mouth_window(faceless, reader.detector)[1] == 20


def test_missing_videos_and_frames_are_said_not_raised(report, tmp_path):
    broken = copy.deepcopy(report)
    broken["systems"][1]["clips"][0]["generated"] = "out/none.mp4"
    broken["systems"][2]["clips"][0]["frames"] = {"worst": [2, 99], "best": []}
    broken["systems"][2]["clips"][0].pop("curves")
    reader = read(broken, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert len(reader.all("video")) == 2 and "none.mp4 does not exist" in text
    assert len(reader.all("img")) == 1 and text.count("<svg") == 1
    with pytest.raises(FileNotFoundError, match="nowhere"):
        page.write_page(report, tmp_path / "nowhere")


def points(drawing: str, css: str) -> list[list[tuple[float, float]]]:
    """The strokes of a curve, each a list of (x, y)."""
    path = re.search(rf'<path class="{css}" d="([^"]*)"', drawing)
    strokes = path.group(1).split("M")[1:] if path else []
    return [[tuple(map(float, re.findall(r"[-\d.]+", p))) for p in stroke.split("L")] for stroke in strokes]


def test_curves_break_where_nothing_is_known_and_keep_their_scale():
    times = [n / 25 for n in range(50)]
    wave = [0.1 + 0.1 * math.sin(n / 4) for n in range(50)]
    holed = [None if 20 <= n < 25 else value / 2 for n, value in enumerate(wave)]
    curves = {"times_s": times, "opening": holed, "reference_opening": wave, "speech_level": [5] * 50}
    drawing = draw_curves(curves)
    generated, (reference,) = points(drawing, "generated"), points(drawing, "reference")
    assert [len(stroke) for stroke in generated] == [20, 25] and len(reference) == 50
    ground = float(re.search(r'class="axis" d="M[\d.]+ ([\d.]+)', drawing).group(1))
    for (x, y), (x0, y0) in zip(generated[0], reference, strict=False):
        assert x == x0 and ground - y == pytest.approx((ground - y0) / 2, abs=0.2), "one axis for both"
    assert draw_curves({}) == draw_curves(curves | {"opening": [None] * 50, "reference_opening": None}) == ""
    assert (
        len(
            points(draw_curves(curves | {"times_s": list(range(9000)), "opening": [1] * 9000}), "generated")[
                0
            ]
        )
        < 901
    )
