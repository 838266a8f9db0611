"""Where the clips of a folder are and what their names say: published datasets, our manifest, a plain folder.

A layout is a function from the folder to its sources, or None where the folder does not look like it.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mytalk_core.json_text import number_field, read_object, read_rows, text_field
from mytalk_core.media.container import VIDEO_SUFFIXES

SOUND_SUFFIXES = (".wav", ".m4a", ".flac", ".mp3", ".aac", ".ogg")
MAX_KEY = 80
YOUTUBE_ID = r"[\w-]{11}"


@dataclass(frozen=True)
class Source:
    """A video file to prepare, and what is known of it before it is opened.

    path: relative to the folder; key: unique, safe in archive names; identity: the person, None where nothing
    names one; split: train, val, ... or None; sync: "yes", "unknown" (None too) or anything else, which means
    no; lag_ms: how much later than the sound the lips move; speech: a sound file that belongs to it, relative
    to the folder.
    """

    path: Path
    key: str = ""
    identity: str | None = None
    split: str | None = None
    language: str | None = None
    sync: str | None = None
    lag_ms: float | None = None
    speech: Path | None = None


def find_sources(
    folder: Path, layout: str = "auto", finished: Mapping[str, str] | None = None
) -> tuple[str, list[Source]]:
    """The layout's name and all sources of a folder, sorted by key.

    finished: of a dataset that goes on, the path of each key, which no other file takes over.
    Raises FileNotFoundError if there is no such folder or no video in it, ValueError for a layout that does
    not fit the folder or a damaged manifest.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of clips")
    if layout != "auto" and layout not in LAYOUTS:
        raise ValueError(f"a layout is one of auto, {', '.join(LAYOUTS)}; got {layout!r}")
    for name in LAYOUTS if layout == "auto" else (layout,):
        sources = LAYOUTS[name](folder)
        if sources is not None:
            break
    else:
        raise ValueError(f"{folder} does not look like {layout}: leave --layout out to have it recognised")
    if not sources:
        raise FileNotFoundError(f"{folder} has no video in the {name} layout")
    return name, _with_keys(folder, sources, finished or {})


def left_out(folder: Path, sources: Iterable[Source]) -> int:
    """How many videos of a folder are none of its sources: some names may have had it taken for a dataset."""
    taken = {source.path for source in sources}
    return sum(path not in taken for path in _videos(folder))


def _with_keys(folder: Path, sources: Iterable[Source], finished: Mapping[str, str]) -> list[Source]:
    """Sources, each once, with unique keys and the sound files that lie beside them, sorted."""
    made: dict[str, Source] = {}
    for source in sorted(dict.fromkeys(sources), key=lambda s: s.path.as_posix()):
        wanted = source.key or source.path.with_suffix("").as_posix()
        # WebDataset splits a name at its first dot; a shot's number must not look like part of a name.
        key = re.sub(r"[^\w-]+", "_", wanted, flags=re.ASCII).strip("_")
        path = source.path.as_posix()
        taken = key in made or finished.get(key, path) != path
        if key != wanted.replace("/", "_") or len(key) > MAX_KEY or taken or SHOT.search(key):
            mark = hashlib.sha256(f"{wanted} {path}".encode()).hexdigest()[:8]
            key = f"{key[: MAX_KEY - 9]}_{mark}"
        speech = source.speech or _sound_beside(folder, source.path)
        made[key] = replace(source, key=key, speech=speech)
    return [made[key] for key in sorted(made)]


SHOT = re.compile(r"_shot\d+$")


def shot_key(key: str, shot: int, shots: int) -> str:
    """A sample's key: the source's where it is all one shot, else with the shot's number."""
    return key if shots == 1 else f"{key}_shot{shot:03d}"


def _sound_beside(folder: Path, path: Path) -> Path | None:
    """A sound file of the same name: in the same folder, or in `aac` or `wav` where the video is in `mp4`."""
    stems = [path]
    if "mp4" in path.parts:
        index = path.parts.index("mp4")
        stems += [Path(*path.parts[:index], sound, *path.parts[index + 1 :]) for sound in ("aac", "wav")]
    for stem in stems:
        for suffix in SOUND_SUFFIXES:
            if (folder / stem.with_suffix(suffix)).is_file():
                return stem.with_suffix(suffix)
    return None


def _videos(folder: Path, without: str = "") -> Iterator[Path]:
    """Videos below a folder, relative to it, sorted; no hidden ones and none in folders named `without`.

    Links to folders are followed; one that can be reached in several ways is entered once, by its own name
    where it has one here.
    """
    found: list[Path] = []
    links: list[Path] = []
    folders, entered = [folder], set()
    while folders or links:
        inside = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(inside)
        if real in entered:
            continue
        entered.add(real)
        # A disk's lost+found is nobody's to read.
        with contextlib.suppress(PermissionError), os.scandir(inside) as entries:
            # Entries know what they are: a million files are not asked one by one.
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.name.startswith("."):
                    continue
                path = inside / entry.name
                if entry.is_dir() and entry.name != without:
                    (links if entry.is_symlink() else folders).append(path)
                elif path.suffix.lower() in VIDEO_SUFFIXES and entry.is_file():
                    found.append(path.relative_to(folder))
    yield from sorted(found)


def manifest(folder: Path) -> list[Source] | None:
    """manifest.jsonl: a row a clip with `file`, and where known id, identity, split, language, sync and
    sync_lag_ms."""
    path = folder / "manifest.jsonl"
    if not path.is_file():
        return None
    sources = []
    for where, row in read_rows(path):
        file = text_field(row, "file", where)
        if file is None:
            raise ValueError(f"{where}: a JSON object with `file` was required")
        names = ("id", "identity", "split", "language", "sync")
        text = {name: text_field(row, name, where) for name in names}
        sources.append(
            Source(
                Path(file),
                text["id"] or "",
                identity=text["identity"],
                split=text["split"],
                language=text["language"],
                sync=text["sync"],
                lag_ms=number_field(row, "sync_lag_ms", where),
            )
        )
    return sources


def casual_conversations(folder: Path) -> list[Source] | None:
    """Casual Conversations by its annotations: CasualConversations*.csv with columns for the file and the
    subject, or the published JSON (version 1: subject -> files; version 2: a list with video_name and
    subject_id)."""
    tables = sorted([*folder.glob("CasualConversations*.csv"), *folder.glob("CasualConversations*.json")])
    if not tables:
        return None
    files = {path.as_posix().lower(): path for path in _videos(folder)}
    ends = {path.name.lower(): path for path in files.values()}
    sources = []
    for file, subject in _casual_rows(tables[0]):
        # Tables that were made on Windows have its separators.
        name = file.replace("\\", "/")
        path = files.get(name.lower()) or ends.get(Path(name).name.lower())
        if path is None and not Path(name).suffix:
            path = next((ends[e] for s in VIDEO_SUFFIXES if (e := Path(name).name.lower() + s) in ends), None)
        # Annotations cover the whole dataset; a part of it may be here.
        if path is not None:
            sources.append(Source(path, identity=subject))
    return sources


def _casual_rows(table: Path) -> Iterator[tuple[str, str | None]]:
    """(file, subject) of each annotated video; None for a subject that is left empty."""
    if table.suffix == ".csv":
        # Excel marks its UTF-8 in front.
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            file_column, subject_column = (
                next((c for c in columns if c.strip().lower() in names), None)
                for names in (
                    {"file", "files", "path", "file_path", "filename", "file_name", "video", "video_name"},
                    {"subject_id", "subject", "participant_id", "participant", "identity"},
                )
            )
            if file_column is None or subject_column is None:
                raise ValueError(
                    f"{table}: columns file (or video_name) and subject_id were required; it has "
                    f"{', '.join(columns) or 'none'}"
                )
            for row in reader:
                yield row[file_column] or "", (row[subject_column] or "").strip() or None
        return
    try:
        data = json.loads(table.read_bytes())
        if isinstance(data, dict):
            rows = [(str(file), subject) for subject, row in data.items() for file in row["files"]]
        else:
            rows = [(str(row["video_name"]), text_field(row, "subject_id", str(table))) for row in data]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{table} is not Casual Conversations' annotations ({error!r:.120})") from None
    yield from rows


def voxceleb2(folder: Path) -> list[Source] | None:
    """VoxCeleb2: [dev|test/]mp4/id00012/21Uxsk56VDQ/00001.mp4; dev is train. Sound may lie in aac or wav."""
    pattern = re.compile(rf"(?:.*/)?(id\d{{5}})/({YOUTUBE_ID})/(\d+)\.mp4")
    sources = []
    for path in _videos(folder):
        match = pattern.fullmatch(path.as_posix())
        if match:
            split = "train" if "dev" in path.parts else "test" if "test" in path.parts else None
            sources.append(Source(path, "_".join(match.groups()), match[1], split))
    return sources or None


def talking_head_1kh(folder: Path) -> list[Source] | None:
    """TalkingHead-1KH: [train|val]/cropped_clips/VIDEO_0000_S0_E100_L1_T2_R3_B4.mp4; a YouTube video is a
    person: no other label was published."""
    pattern = re.compile(rf"({YOUTUBE_ID})_(\d+)_S\d+_E\d+_L\d+_T\d+_R\d+_B\d+")
    sources = []
    for path in _videos(folder):
        match = pattern.fullmatch(path.stem)
        if match:
            split = next((s for s in ("train", "val") if s in path.parts), None)
            sources.append(Source(path, path.stem, match[1], split))
    return sources or None


def hdtf(folder: Path) -> list[Source] | None:
    """HDTF: WDA_BarackObama_000.mp4 as its downloader names clips, or BarackObama_0.mp4 as its annotations
    do, with these (*_annotion_time.txt) in the folder or in HDTF_dataset."""
    annotated: dict[str, str] = {}
    for path in [*folder.glob("*_annotion_time.txt"), *folder.glob("HDTF_dataset/*_annotion_time.txt")]:
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            if line.strip():
                annotated[Path(line.split()[0]).stem] = path.name.split("_")[0]
    pattern = re.compile(r"(?:(RD|WDA|WRA)_)?(.+)_(\d{1,3})")
    sources = []
    for path in _videos(folder, without="_videos_raw"):
        match = pattern.fullmatch(path.stem)
        if match is None:
            continue
        subset = match[1] or annotated.get(match[2])
        if not subset:
            continue
        # A politician's videos are numbered after the name; of Radio1 to Radio59 each is somebody else.
        person = match[2] if subset == "RD" else re.sub(r"\d+$", "", match[2])
        sources.append(Source(path, f"{subset}_{match[2]}_{int(match[3]):03d}", person, language="en"))
    return sources or None


def celebv(name: str) -> Callable[[Path], list[Source] | None]:
    """CelebV-HQ or CelebV-Text: NAME_info.json with `clips`, the clips in downloaded_NAME/processed or
    anywhere below. A YouTube video is a person: no other label was published."""

    def layout(folder: Path) -> list[Source] | None:
        table = folder / f"{name}_info.json"
        if table.is_file():
            clips = read_object(table).get("clips")
            rows = clips.values() if isinstance(clips, dict) else [None]
            if not all(isinstance(row, dict) and isinstance(row.get("ytb_id"), str) for row in rows):
                raise ValueError(f"{table}: an object `clips` whose entries have ytb_id was required")
        elif (folder / f"downloaded_{name}").is_dir():
            clips = None
        else:
            return None
        sources = []
        for path in _videos(folder, without="raw"):
            if clips is not None and path.stem not in clips:
                continue
            video = clips[path.stem]["ytb_id"] if clips is not None else path.stem[:11]
            sources.append(Source(path, path.stem, video))
        return sources

    return layout


def plain_folder(folder: Path) -> list[Source]:
    """Videos below a folder: the first folder on the way names the person, train or val before it the split;
    clips that lie directly in the folder have no label."""
    sources = []
    for path in _videos(folder):
        parts = list(path.parts[:-1])
        split = parts.pop(0) if parts and parts[0] in ("train", "val", "test") else None
        sources.append(Source(path, identity=parts[0] if parts else None, split=split))
    return sources


LAYOUTS: dict[str, Callable[[Path], list[Source] | None]] = {
    "manifest": manifest,
    "casual-conversations": casual_conversations,
    "celebv-hq": celebv("celebvhq"),
    "celebv-text": celebv("celebvtext"),
    "voxceleb2": voxceleb2,
    "talkinghead-1kh": talking_head_1kh,
    "hdtf": hdtf,
    "folder": plain_folder,
}
