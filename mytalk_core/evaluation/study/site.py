"""A blind user study as a static web page: a folder to put on any web server, or to open from a disk."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import MediaError
from ...files import replacing
from ...media.browser import CODECS, EXTENSIONS, PIXEL_FORMATS, encoding
from ...media.remux import copy_untagged
from ..pages import render

KEY_FORMAT = "mytalk-study-key-1"


@dataclass(frozen=True)
class Rating:
    """One question asked of every video, answered 1 to 5: column in the results, title, explanation."""

    key: str
    title: str
    hint: str


# The four of Table 3.
RATINGS = (
    Rating("visual_quality", "Visual quality", "Is the picture sharp, natural, free of blur and seams?"),
    Rating("lip_sync", "Lip-sync quality", "Do the lips fit the speech, at the right time?"),
    Rating("details", "Visual details", "Are teeth, skin and beard kept as if filmed?"),
    Rating("identity", "Identity consistency", "Is it one and the same person all the time?"),
)
COLUMNS = ("study", "participant", "position", "video", *(rating.key for rating in RATINGS), "seconds")


@dataclass(frozen=True)
class StudySite:
    """What was written: the folder, the key beside it, systems, clips of each, lines for the user."""

    folder: Path
    key: Path
    systems: tuple[str, ...]
    clips: int
    notes: tuple[str, ...]


def write_site(
    source: Path, site: Path, title: str = "Talking videos", only: Sequence[str] | None = None
) -> StudySite:
    """Write the study of `source` (one subfolder a system, the same file names in each) to the new folder
    `site`, and the key, which says what is what, to `site`.key.json beside it.

    only: the subfolders to take; all where None.

    Raises: FileNotFoundError; ValueError where the systems' files do not match, or something is there
    already; MediaError for a video that browsers do not play.
    """
    # "." and ".." have no name to put the key beside.
    site = site.resolve()
    key = site.with_name(f"{site.name}.key.json")
    check_new(site, key)
    systems = find_videos(source, only)
    notes = [
        note for videos in systems.values() for path in videos.values() if (note := check_playable(path))
    ]
    study = secrets.token_hex(4)
    names = opaque_names(systems)
    # The key takes its name first: without it a site is worth nothing.
    with replacing(site) as building, replacing(key) as written_key:
        (building / "videos").mkdir(parents=True)
        # In the order of the opaque names: times of files must not tell the systems apart.
        for name in sorted(names):
            system, clip = names[name]
            copy_untagged(systems[system][clip], building / "videos" / name)
        (building / "index.html").write_text(page(study, title, sorted(names)), encoding="utf-8")
        videos = {name: {"system": system, "clip": clip} for name, (system, clip) in sorted(names.items())}
        answers = {"format": KEY_FORMAT, "study": study, "title": title, "videos": videos}
        written_key.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    return StudySite(site, key, tuple(systems), len(next(iter(systems.values()))), tuple(notes))


def check_new(site: Path, key: Path) -> None:
    """ValueError if site or key exist: ratings of a study cannot be read without its own key."""
    if not site.parent.is_dir():
        raise FileNotFoundError(f"{site.parent}: no such folder to write {site.name} into; make it first")
    for path in (site, key):
        if path.exists():
            raise ValueError(
                f"{path} is there already; ratings can only be read with the key of their own study: name "
                "another folder, or move it away"
            )


def find_videos(source: Path, only: Sequence[str] | None = None) -> dict[str, dict[str, Path]]:
    """System -> clip -> file. Arguments and errors as `write_site`."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; one with a subfolder a system is needed")
    folders = {path.name: path for path in source.iterdir() if path.is_dir() and path.name[0] != "."}
    missing = [name for name in only or () if name not in folders]
    if missing:
        raise FileNotFoundError(
            f"{source} has no subfolder {missing[0]}; it has {', '.join(sorted(folders))}"
        )
    systems = {}
    for folder in (folders[name] for name in sorted(only or folders)):
        videos = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS]
        if not videos:
            raise ValueError(
                f"{folder} has no video; every subfolder is a system with {', '.join(EXTENSIONS)} files"
            )
        systems[folder.name] = {path.stem: path for path in videos}
        if len(systems[folder.name]) < len(videos):
            raise ValueError(f"{folder} has two videos of one name: keep one of each")
    if not systems:
        raise ValueError(f"{source} has no subfolder; one a system, with the same file names, is needed")
    clips = set().union(*systems.values())
    for system, of_clip in systems.items():
        missing = sorted(clips - set(of_clip))
        if missing:
            raise ValueError(
                f"system {system} lacks {len(missing)} of the {len(clips)} clips (first: {missing[0]}); "
                "every system needs the same file names, or choose with --systems"
            )
    return systems


def check_playable(path: Path) -> str | None:
    """A line where only some browsers play the file; MediaError where none does."""
    codec, pixels = encoding(path)
    if codec not in CODECS:
        raise MediaError(f"{path} is {codec}, which browsers do not play: export it as H.264 in .mp4")
    if pixels not in PIXEL_FORMATS:
        return f"{path} is {codec} in {pixels}; some browsers play only {PIXEL_FORMATS[0]}"
    return None


def opaque_names(systems: dict[str, dict[str, Path]]) -> dict[str, tuple[str, str]]:
    """File name in the site -> (system, clip); random, so that it tells nothing."""
    names: dict[str, tuple[str, str]] = {}
    for system, videos in systems.items():
        for clip, path in videos.items():
            name = ""
            while not name or name in names:
                name = secrets.token_hex(6) + path.suffix.lower()
            names[name] = system, clip
    return names


def page(study: str, title: str, names: list[str]) -> str:
    """The page's HTML, with everything in it but the videos."""
    data = {
        "id": study,
        "videos": names,
        "ratings": [asdict(rating) for rating in RATINGS],
        "columns": COLUMNS,
    }
    return render("study.html", title=title, data=data)
