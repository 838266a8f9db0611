"""Many videos: what is to be made, from a list or from two folders, checked before any work."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

from ..arguments import UNUSED_OF_A_VIDEO, parse_frame_rate
from ..errors import MediaError
from ..face.choice import check_choice, choice_files, seen_from
from ..files import check_outputs, plain_name, stamp, stamp_of_all
from ..json_text import read_object, read_rows, text_field
from ..media.container import VIDEO_SUFFIXES
from ..media.encoders import check_settings, choose_codec
from ..media.source import clip_files
from ..media.timeline import SYNC_MODES
from ..motion.generate import MotionOptions

FILES = ("video", "speech", "output")
# By the words of `Job.facts`.
SOURCES = ("video", "speech", "emotion")
REPORT = ".json"


@dataclass(frozen=True)
class Settings:
    """How one video is made, as `lip_sync` has it. Raises ValueError for what no video could make right."""

    sync_mode: str = "silence"
    frame_rate: Fraction | None = None
    face: str = "largest"
    codec: str | None = None
    crf: int = 18
    options: MotionOptions = MotionOptions()
    strict: bool = False
    emotion: Path | None = None

    def __post_init__(self) -> None:
        check_choice(self.face)
        if self.sync_mode not in SYNC_MODES:
            raise ValueError(
                f"a sync mode of {', '.join(SYNC_MODES)} was required, but {self.sync_mode!r} arrived"
            )

    def with_row(self, row: dict[str, str]) -> Settings:
        """The same, but for what a row of a list says, by the names in `COLUMNS`. Raises ValueError."""
        said: dict[str, Any] = {}
        for name, text in row.items():
            try:
                said[name] = COLUMNS[name](text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        motion = {name: said.pop(name) for name in list(said) if name in MOTION}
        settings = replace(self, **said, options=replace(self.options, **motion))
        before, after = (vars(how) | vars(how.options) for how in (self, settings))
        changed = {name: name for name in row if after[name] != before[name]}
        for rule in UNUSED_OF_A_VIDEO:
            rule.check(changed, after)
        return settings


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"a whole number was required; got {text!r:.60}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number was required; got {text!r:.60}") from None


# What a row may say beside its files, and how its text is read.
MOTION: dict[str, Callable[[str], Any]] = {
    "steps": _whole,
    "guidance": _number,
    "sampler": str,
    "temperature": _number,
    "expression": _number,
    "manner": str,
    "emotion_strength": _number,
    "seed": _whole,
}
COLUMNS: dict[str, Callable[[str], Any]] = MOTION | {
    "sync_mode": str,
    "frame_rate": parse_frame_rate,
    "face": str,
    "codec": str,
    "crf": _whole,
}


@dataclass(frozen=True)
class Job:
    """One video to make. where: what the user knows it by, as "list.csv, line 3"; output: in the batch's
    folder; settings: how."""

    where: str
    video: Path
    speech: Path
    output: Path
    settings: Settings

    @property
    def report(self) -> Path:
        """The file that says how it went, beside the output: `NAME.mp4.json`."""
        return self.output.with_name(self.output.name + REPORT)

    def facts(self, made_by: dict[str, str | None]) -> dict[str, Any]:
        """What the result follows from, for its report; another fact is another job. made_by: the model."""
        settings = asdict(self.settings) | {"frame_rate": str(self.settings.frame_rate or "")}
        files = {"video": [str(self.video), *_stamp_of_clip(self.video)]}
        files["speech"] = [str(self.speech), *(stamp(self.speech) or ())]
        if (emotion := settings.pop("emotion")) is not None:
            files["emotion"] = [str(emotion), *_stamp_of_clip(emotion)]
        # A photo that is gone is its own job's failure.
        with suppress(OSError):
            for path in choice_files(self.settings.face):
                files["face_file"] = [str(path), *(stamp(path) or ())]
        return files | {"output": self.output.name} | settings | made_by

    @property
    def is_free(self) -> bool:
        """Whether nothing has the output's name, and its report's at most one that failed."""
        if self.output.exists() or self.output.is_symlink():
            return False
        if not self.report.exists():
            return True
        with suppress(ValueError, OSError):
            return "error" in read_object(self.report)
        return False

    def is_done(self, made_by: dict[str, str | None]) -> bool:
        """Whether the output is there, whole, as it was made, and was made of just this."""
        if not self.output.is_file() or not self.report.is_file():
            return False
        with suppress(ValueError, OSError):
            report = read_object(self.report)
            # A report of before sizes were noted has none.
            size = report.get("bytes", self.output.stat().st_size)
            same = size == self.output.stat().st_size and _agree(self.facts(made_by), report.get("job"))
            return "error" not in report and same
        return False


def _agree(facts: dict[str, Any], before: Any) -> bool:
    """Whether a job's facts are those of before. Of a source that is gone since its path is enough: nothing
    could be made anew of it."""
    if not isinstance(before, dict):
        return False
    for word in SOURCES:
        known = before.get(word)
        if isinstance(known, list) and known[:1] == facts.get(word):
            facts = facts | {word: known}
    return facts == before


def _stamp_of_clip(path: Path) -> Sequence[int | str]:
    """The stamp of a video file, one of all pictures of a series; none where nothing is."""
    with suppress(ValueError, OSError):
        files = clip_files(path)
        if files != (path,):
            return (stamp_of_all(files),)
    return stamp(path) or ()


def read_jobs(
    source: Path, speeches: Path | None, folder: Path, settings: Settings, suffix: str = ".mp4"
) -> list[Job]:
    """The jobs of a list (.csv with a header, else JSON lines), or of a folder of videos with the folder of
    their speeches, or with one speech that all say. folder: of the outputs, absolute in the jobs; settings:
    of rows that say nothing else; suffix: of the outputs of a folder of videos.

    Raises FileNotFoundError; ValueError for a row that is not right, before any video is opened, or an output
    that leaves the folder, replaces an input, or has the name of another.
    """
    if speeches is not None:
        jobs = list(_paired(source, speeches, folder.resolve(), settings, suffix))
    else:
        jobs = [_job(row, where, source, folder.resolve(), settings) for where, row in _rows(source)]
    if not jobs:
        raise ValueError(f"{source}: at least one video was required, but there is none")
    for job in jobs:
        try:
            check_settings(choose_codec(job.output, job.settings.codec), job.settings.crf)
        except ValueError as error:
            raise ValueError(f"{job.where}: {error}") from None
    lists = [source] if speeches is None else []
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outputs = {f"{job.where}, output": job.output for job in jobs}
        reports = {f"{job.where}, report": job.report for job in jobs}
        check_outputs(outputs | reports, [*lists, *_inputs(jobs)])
    except MediaError:
        if made:
            folder.rmdir()
        raise
    return jobs


def _inputs(jobs: Sequence[Job]) -> Iterable[Path]:
    for job in jobs:
        # A series that is not there is its own job's failure.
        with suppress(ValueError, OSError):
            yield from clip_files(job.video)
        yield job.speech
        yield from choice_files(job.settings.face)
        if job.settings.emotion is not None:
            yield job.settings.emotion


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.is_dir():
        raise ValueError(
            f"{path}: a list (.csv or .jsonl) was required, but it is a folder: name the folder of the "
            "speeches behind it, files of the same names"
        )
    return _csv_rows(path) if path.suffix.lower() == ".csv" else read_rows(path)


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: UTF-8 text was required, but other bytes arrived: save it so") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from _checked_rows(path, reader)
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: cells parted by commas were required, quotes closed, but this "
            f"cannot be read ({error})"
        ) from None


def _checked_rows(path: Path, reader: csv.DictReader) -> Iterator[tuple[str, dict[str, Any]]]:
    header = reader.fieldnames or []
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: every column once was required, but {twice[0]!r} arrived more than once")
    if not {"video", "speech"} <= set(header):
        raise ValueError(
            f"{path}: a first line with the columns video and speech, parted by commas, was required, but "
            f"{', '.join(header) or 'nothing'} arrived"
        )
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if None in row:
            raise ValueError(f"{where}: {len(header)} cells were required, but more arrived: quote commas")
        yield where, dict(row)


def _job(row: dict[str, Any], where: str, source: Path, folder: Path, settings: Settings) -> Job:
    """A row as a job; its paths are relative to the list."""
    unknown = [name for name in row if name not in FILES and name not in COLUMNS]
    if unknown:
        known = ", ".join((*FILES, *COLUMNS))
        raise ValueError(f"{where}: columns of {known} were required, but {unknown[0]!r} arrived")
    texts = {name: text for name in row if (text := text_field(row, name, where)) is not None}
    for name in ("video", "speech"):
        if name not in texts:
            raise ValueError(f"{where}: a {name} was required, but none arrived")
    beside = source.resolve().parent
    video, speech = beside / texts.pop("video"), beside / texts.pop("speech")
    output = plain_name(texts.pop("output", f"{video.stem}.mp4"), f"{where}, output")
    if "face" in texts:
        texts["face"] = seen_from(beside, texts["face"])
    try:
        return Job(where, video, speech, folder / output, settings.with_row(texts))
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{where}, {error}") from None


def _paired(videos: Path, speeches: Path, folder: Path, settings: Settings, suffix: str) -> Iterator[Job]:
    """A job for each video of a folder, with the file of its name in the other, or with one for all."""
    if not videos.is_dir():
        raise FileNotFoundError(f"{videos}: a folder of videos was required, but this is none")
    speech_of = _named_speech(speeches) if speeches.is_dir() else _only_speech(speeches)
    for video in sorted(videos.resolve().iterdir()):
        if video.suffix.lower() not in VIDEO_SUFFIXES or video.name.startswith("."):
            continue
        name = plain_name(f"{video.stem}{suffix}", str(video))
        yield Job(str(videos / video.name), video, speech_of(video), folder / name, settings)


def _named_speech(speeches: Path) -> Callable[[Path], Path]:
    """The speech of a video: the file of its name in a folder."""
    sounds: dict[str, list[Path]] = {}
    for path in sorted(speeches.resolve().iterdir()):
        if path.is_file() and not path.name.startswith("."):
            sounds.setdefault(path.stem, []).append(path)

    def speech_of(video: Path) -> Path:
        found = sounds.get(video.stem, [])
        if len(found) != 1:
            names = " and ".join(path.name for path in found) or "none"
            raise ValueError(
                f"{video}: one speech of its name was required in {speeches}, but {names} arrived: add it, "
                "or write a list"
            )
        return found[0]

    return speech_of


def _only_speech(speech: Path) -> Callable[[Path], Path]:
    """The speech of every video. Raises FileNotFoundError."""
    if not speech.is_file():
        raise FileNotFoundError(
            f"{speech}: a folder of speeches, or a file that every video says, was required, but neither is "
            "there"
        )
    return lambda video: speech.resolve()


def under_free_names(jobs: Sequence[Job], made_by: dict[str, str | None]) -> list[Job]:
    """The jobs, none of which replaces a file: an output keeps its name where nothing has it yet but its own
    result, else it takes the next free one of NAME_2.mp4, NAME_3.mp4, and so on. made_by: see `Job.facts`."""
    taken = {job.output.name.casefold() for job in jobs}
    named = []
    for job in jobs:
        if not (job.is_free or job.is_done(made_by)):
            job = next(other for other in _renamed(job, taken) if other.is_free or other.is_done(made_by))
            taken.add(job.output.name.casefold())
        named.append(job)
    return named


def _renamed(job: Job, taken: Container[str]) -> Iterator[Job]:
    """The job under one name after the other, without end."""
    for number in count(2):
        output = job.output.with_stem(f"{job.output.stem}_{number}")
        if output.name.casefold() not in taken:
            yield replace(job, output=output)
