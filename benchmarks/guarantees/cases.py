"""Generated cases: every kind of source, and what must come of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from pictures import FRAMES, Spec, person, side_by_side, turned, write_pictures, write_speech
from trials import Result, Worker, contents, strewn

from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.pixels import layout_of, planes_of

OUTPUTS = (".mp4", ".mov", ".mkv", ".webm")


@dataclass(frozen=True)
class Case:
    """A source and what must come of it.

    make: writes the source into a folder; edited: how many frames get new lips at least, None for a source
    that is refused with a line that has the word `refusal`; frames: of the output, None as the source's;
    facts: what else of the output must be as the source's; options: of `mytalk sync`.
    """

    name: str
    make: Callable[[Path], Path]
    edited: int | None = FRAMES
    frames: int | None = None
    facts: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    refusal: str = ""
    output: str | None = None
    speech_s: float = 0.45
    speech: str = ".wav"


def video(name: str, frames: Callable[[], np.ndarray] = person, alpha: bool = False, **spec) -> Callable:
    """What writes a file of that name."""
    return lambda folder: write_pictures(folder / name, frames(), Spec(**spec), alpha)


def sized(height: int, width: int) -> Callable[[], np.ndarray]:
    """The woman in the middle of a picture of that size."""

    def make() -> np.ndarray:
        side = min(height, width)
        face = person(side=side)
        frames = np.full((len(face), height, width, 3), 90, np.uint8)
        top, left = (height - side) // 2, (width - side) // 2
        frames[:, top : top + side, left : left + side] = face
        return frames

    return make


def changed(change: Callable[[np.ndarray], None]) -> Callable[[], np.ndarray]:
    """The woman's pictures after something was done to them in place."""

    def make() -> np.ndarray:
        frames = person().copy()
        change(frames)
        return frames

    return make


def people(*names: str) -> Callable[[], np.ndarray]:
    """People beside each other."""
    return lambda: side_by_side([person(name) for name in names])


def cut() -> np.ndarray:
    """A hard cut to another person in the middle."""
    return np.concatenate([person()[: FRAMES // 2], person("cartoon_boy")[FRAMES // 2 :]])


def dissolve() -> np.ndarray:
    """A cross-dissolve to another person."""
    share = np.clip((np.arange(FRAMES) - 2) / (FRAMES - 5), 0, 1)[:, None, None, None]
    mixed = person() * (1 - share) + person("cartoon_boy") * share
    return mixed.astype(np.uint8)


def rotated(name: str, degrees: int) -> Callable[[Path], Path]:
    """A file whose header turns its pictures, as a phone's does."""

    def make(folder: Path) -> Path:
        path = write_pictures(folder / name, np.rot90(person(), degrees // 90, axes=(1, 2)).copy())
        cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
        matrix = np.array([cosine, sine, 0, -sine, cosine, 0, 0, 0, 0]) * 65536
        matrix[8] = 1 << 30
        data = bytearray(path.read_bytes())
        begin = data.index(b"tkhd") + 44
        data[begin : begin + 36] = matrix.astype(">i4").tobytes()
        path.write_bytes(data)
        return path

    return make


def series(pattern: str) -> Callable[[Path], Path]:
    """Numbered pictures; what is named is the pattern, or the folder where it is empty."""

    def make(folder: Path) -> Path:
        (folder / "f").mkdir()
        for number, image in enumerate(person(), 1):
            cv2.imwrite(str(folder / "f" / f"{number:04}.png"), image[..., ::-1])
        return folder / "f" / pattern if pattern else folder / "f"

    return make


def picture(folder: Path) -> Path:
    """One picture."""
    cv2.imwrite(str(folder / "one.png"), person(count=1)[0][..., ::-1])
    return folder / "one.png"


def noise() -> np.ndarray:
    """Nobody."""
    return np.random.default_rng(0).integers(0, 80, (FRAMES, 96, 96, 3), dtype=np.uint8)


def hide(rows: slice, columns: slice, colour: tuple[int, int, int], frames: slice = slice(3, 6)) -> Callable:
    """A flat thing before the picture's part in some frames."""

    def change(pictures: np.ndarray) -> None:
        pictures[frames, rows, columns] = colour

    return changed(change)


MOUTH = slice(150, 240), slice(70, 190)
VARIABLE = tuple(np.cumsum([0, 3600, 1800, 5400, 3600, 7200, 3600, 3003, 3600, 1500]).tolist())
GAP = tuple(3600 * n + (180_000 if n >= 5 else 0) for n in range(FRAMES))
LATE = tuple(3600 * n + 90_000 for n in range(FRAMES))
H264 = {"bf": "0"}
PQ, HLG = (9, 1, 9, 16), (9, 1, 9, 18)

CASES = [
    # Containers and codecs.
    Case("mp4 H.264", video("a.mp4")),
    Case("mov H.264", video("a.mov")),
    Case("mkv H.264", video("a.mkv")),
    Case("mp4 HEVC", video("a.mp4", codec="libx265", options={"x265-params": "log-level=none"})),
    Case("mp4 AV1", video("a.mp4", codec="libsvtav1", options={"preset": "10"})),
    Case("webm VP8", video("a.webm", codec="libvpx")),
    Case("webm VP9", video("a.webm", codec="libvpx-vp9", options={"deadline": "realtime"})),
    Case("mkv FFV1", video("a.mkv", codec="ffv1")),
    Case("mov ProRes", video("a.mov", codec="prores_ks", pix_fmt="yuv422p10le")),
    Case("mov DNxHR", video("a.mov", codec="dnxhd", pix_fmt="yuv422p", options={"profile": "dnxhr_sq"})),
    Case("avi MPEG-4", video("a.avi", codec="mpeg4")),
    Case("avi MJPEG", video("a.avi", codec="mjpeg", pix_fmt="yuvj420p")),
    Case("mpg MPEG-2", video("a.mpg", codec="mpeg2video")),
    Case("ts H.264", video("a.ts")),
    Case("flv", video("a.flv", codec="flv")),
    Case("wmv", video("a.wmv", codec="wmv2")),
    # Rates and times.
    *(
        Case(f"{float(rate):.3f} frames/s", video("a.mp4", rate=rate, options=H264), speech_s=0.2)
        for rate in (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(12), Fraction(50), Fraction(60))
    ),
    Case("variable rate", video("a.mp4", pts=VARIABLE, options=H264)),
    Case("a gap of 2 s in the stamps", video("a.mkv", pts=GAP, options=H264)),
    Case("stamps that begin at 1 s", video("a.mkv", pts=LATE, options=H264)),
    # Rotations and sizes.
    *(Case(f"turned by {d} in the header", rotated("a.mp4", d)) for d in (90, 180, 270)),
    Case("odd size", video("a.mkv", sized(255, 257), codec="ffv1")),
    Case("odd size, 4:4:4 H.264", video("a.mp4", sized(255, 257), pix_fmt="yuv444p")),
    Case("portrait", video("a.mp4", sized(480, 270))),
    Case("wide", video("a.mp4", sized(256, 640))),
    Case("96 px", video("a.mp4", sized(96, 96))),
    Case("1024 px", video("a.mp4", sized(1024, 1024))),
    # Pixel formats.
    *(
        Case(name, video("a.mkv", codec=codec, pix_fmt=name), facts=("depth",))
        for name, codec in (
            ("yuv422p", "libx264"),
            ("yuv420p10le", "libx264"),
            ("yuv444p10le", "ffv1"),
            ("yuv411p", "ffv1"),
            ("yuv420p16le", "ffv1"),
            ("gbrp", "ffv1"),
            ("gray", "ffv1"),
            ("yuvj420p", "mjpeg"),
        )
    ),
    # Alpha, fields, shape of pixels, HDR.
    Case("alpha, VP9", video("a.webm", alpha=True, codec="libvpx-vp9", pix_fmt="yuva420p"), facts=("alpha",)),
    Case(
        "alpha, ProRes",
        video("a.mov", alpha=True, codec="prores_ks", pix_fmt="yuva444p10le"),
        facts=("alpha",),
    ),
    Case(
        "alpha, FFV1",
        video("a.mkv", alpha=True, codec="ffv1", pix_fmt="bgra"),
        facts=("alpha",),
        options=("--codec", "ffv1"),
    ),
    *(
        Case(
            f"interlaced, {name}",
            video("a.mkv", options={"flags": "+ildct+ilme", "x264-params": f"{name}=1"}),
            facts=("fields",),
        )
        for name in ("tff", "bff")
    ),
    Case("pixels 4:3", video("a.mp4", aspect=Fraction(4, 3)), facts=("aspect",)),
    Case("pixels 64:45 in webm", video("a.mkv", aspect=Fraction(64, 45)), facts=("aspect",), output=".webm"),
    Case("HDR, PQ", video("a.mp4", pix_fmt="yuv420p10le", colour=PQ), facts=("depth", "colour")),
    Case("HDR, HLG", video("a.mov", pix_fmt="yuv420p10le", colour=HLG), facts=("depth", "colour")),
    # Faces.
    Case("no face", video("a.mkv", noise, codec="ffv1"), edited=None, refusal="visible face"),
    Case("no face in 3 frames", video("a.mkv", hide(slice(None), slice(None), (90, 90, 90))), edited=7),
    Case("two people, left", video("a.mp4", people("ai_woman", "cartoon_boy")), options=("--face", "left")),
    Case("two people, right", video("a.mp4", people("ai_woman", "cartoon_boy")), options=("--face", "right")),
    Case(
        "three people, the third",
        video("a.mp4", people("ai_woman", "cartoon_boy", "ai_woman")),
        options=("--face", "2"),
    ),
    Case(
        "a fourth of two",
        video("a.mp4", people("ai_woman", "cartoon_boy")),
        edited=None,
        options=("--face", "3"),
        refusal="choose 0 to 1",
    ),
    Case("hard cut", video("a.mkv", cut), edited=FRAMES // 2),
    Case("dissolve", video("a.mkv", dissolve), edited=3),
    Case(
        "a hand's colour over the mouth in 3 frames", video("a.mkv", hide(*MOUTH, (200, 150, 120))), edited=7
    ),
    Case("blue over the mouth in 3 frames", video("a.mkv", hide(*MOUTH, (60, 90, 160))), edited=7),
    Case("turned by 20 degrees", video("a.mp4", lambda: turned(person(), 20))),
    Case("turned by 90 degrees", video("a.mp4", lambda: turned(person(), 90))),
    Case("turned by 200 degrees", video("a.mp4", lambda: turned(person(), 200))),
    # Packets of the source where no mouth is new.
    *(
        Case(
            f"copy, {name}",
            video(file, hide(slice(None), slice(None), (90, 90, 90), slice(0, FRAMES // 2)), **spec),
            edited=FRAMES // 2,
            options=("--codec", "copy"),
            facts=("first frames",),
        )
        for name, file, spec in (
            ("mp4 H.264", "a.mp4", {"options": {"g": "5"}}),
            ("mkv H.264", "a.mkv", {"options": {"g": "5"}}),
            ("ts H.264", "a.ts", {"options": {"g": "5"}}),
            (
                "mp4 HEVC",
                "a.mp4",
                {"codec": "libx265", "options": {"g": "5", "x265-params": "log-level=none"}},
            ),
            ("10 bit", "a.mp4", {"pix_fmt": "yuv420p10le", "options": {"g": "5"}}),
            ("variable rate", "a.mp4", {"pts": VARIABLE, "options": {"g": "5"}}),
        )
    ),
    Case(
        "copy of VP9",
        video("a.webm", codec="libvpx-vp9", options={"deadline": "realtime"}),
        edited=None,
        options=("--codec", "copy"),
        output=".mp4",
        refusal="leave codec copy out",
    ),
    Case(
        "copy of a loop",
        video("a.mp4"),
        edited=None,
        options=("--codec", "copy", "--sync-mode", "loop"),
        speech_s=0.92,
        refusal="choose sync mode silence",
    ),
    # Series, lengths, sounds.
    Case("one picture", picture, edited=11, frames=12, speech_s=0.45, output=".mp4"),
    Case("a series", series("%04d.png"), output=".mp4"),
    Case("a folder of pictures", series(""), output=".mp4"),
    Case("loop", video("a.mp4"), edited=20, frames=23, options=("--sync-mode", "loop"), speech_s=0.92),
    Case("bounce", video("a.mp4"), edited=20, frames=23, options=("--sync-mode", "bounce"), speech_s=0.92),
    Case("remap", video("a.mp4"), edited=20, frames=23, options=("--sync-mode", "remap"), speech_s=0.92),
    Case("cut off", video("a.mp4"), edited=4, frames=5, options=("--sync-mode", "cut_off"), speech_s=0.2),
    *(
        Case(f"speech in {suffix[1:]}", video("a.mp4"), speech=suffix)
        for suffix in (".mp3", ".m4a", ".ogg", ".flac")
    ),
]
QUICK = ("mp4 H.264", "variable rate", "odd size", "no face", "alpha, FFV1")


def run_case(case: Case, folder: Path, worker: Worker) -> Result:
    """Make a case's source, lip-sync it, and look at what came of it."""
    folder.mkdir()
    try:
        source = case.make(folder)
    except (av.error.FFmpegError, ValueError) as error:
        return Result("case", case.name, "a source", f"this FFmpeg cannot make it: {error}", True)
    speech = write_speech(folder / f"speech{case.speech}", case.speech_s)
    suffix = case.output or (source.suffix if source.suffix in OUTPUTS else ".mkv")
    output, report = folder / f"out{suffix}", folder / "report.json"
    before = contents(folder)
    arguments = ["sync", str(source), str(speech), "-o", str(output), "--report", str(report), "--steps", "2"]
    outcome, lines = worker.ask("command", [*arguments, *case.options])
    litter = strewn(before, folder, {output.name, report.name}, worker.home)
    if case.edited is None:
        good = outcome == "refused" and case.refusal in lines[-1] and not litter and not output.exists()
        observed = f"{outcome}{': ' + lines[-1] if lines else ''}"
        return Result("case", case.name, f"refused: {case.refusal}", _words(observed, litter), good)
    if outcome != "made":
        expected = f"{case.edited} or more frames with new lips"
        return Result(
            "case", case.name, expected, _words(f"{outcome}: {' '.join(lines)[:200]}", litter), False
        )
    expected, observed, good = compare(case, source, output, json.loads(report.read_text()))
    return Result("case", case.name, expected, _words(observed, litter), good and not litter)


def compare(case: Case, source: Path, output: Path, report: dict) -> tuple[str, str, bool]:
    """Expected, observed, and whether they agree."""
    result = FileClip.open(output)
    decoded = sum(1 for _ in result.pictures())
    of_file = source.is_file() and case.frames is None
    clip = FileClip.open(source) if of_file else None
    frames = case.frames or (len(clip) if clip is not None else FRAMES)
    words, seen = [f"{frames} frames"], [f"{decoded} frames"]
    if clip is not None:
        words.append(f"{clip.width}x{clip.height}")
        seen.append(f"{result.width}x{result.height}")
        words.append("times kept")
        apart = np.abs(result.times_s - clip.times_s).max() if len(result) == len(clip) else np.inf
        seen.append("times kept" if apart < 1.1e-3 else f"times off by {apart:.3g} s")
        for fact in case.facts:
            words.append(f"{fact} {FACTS[fact](clip)}")
            seen.append(f"{fact} {FACTS[fact](result)}")
    edited = report["frames_edited"]
    expected = f"{', '.join(words)}, {case.edited} or more edited"
    return expected, f"{', '.join(seen)}, {edited} edited", words == seen and edited >= case.edited


def first_frames(clip: FileClip) -> str:
    """A short hash of the samples of the first half."""
    digest = hashlib.sha256()
    for picture in clip.pictures(range(FRAMES // 2)):
        for plane in planes_of(picture.frame):
            digest.update(plane.tobytes())
    return digest.hexdigest()[:8]


FACTS: dict[str, Callable[[FileClip], object]] = {
    "first frames": first_frames,
    "depth": lambda clip: min(layout_of(clip.format_name).depth, 10),
    "alpha": lambda clip: layout_of(clip.format_name).has_alpha,
    "fields": lambda clip: clip.field_order,
    "aspect": lambda clip: clip.sample_aspect_ratio,
    "colour": lambda clip: (clip.colour.matrix, clip.colour.primaries, clip.colour.transfer),
}


def _words(observed: str, litter: str) -> str:
    return f"{observed}; {litter}" if litter else observed
