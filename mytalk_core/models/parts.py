"""A model's folder: which parts it has, whether their files are whole, and its model card."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..appearance.networks.generator import AppearanceGenerator
from ..appearance.networks.refiner import MouthRefiner
from ..checkpoint.pretrained import CONFIG_NAME, WEIGHTS_NAME, PretrainedModel
from ..errors import WeightsError
from ..expert.sync_expert import SyncExpert
from ..files import write_text
from ..json_text import number_field, read_object, read_rows, text_field
from ..motion.denoiser import MotionDenoiser
from ..motion.identity import IdentityExtractor
from ..motion.space import LandmarkSpace
from ..speech.features import SpeechEncoder

PARTS: dict[str, type[PretrainedModel] | type[SpeechEncoder]] = {
    "motion": MotionDenoiser,
    "space": LandmarkSpace,
    "identity": IdentityExtractor,
    "speech": SpeechEncoder,
    "appearance": AppearanceGenerator,
    "refiner": MouthRefiner,
    "sync": SyncExpert,
}
NEEDED = ("motion", "space", "identity")
CARD_NAME = "README.md"
# So that a card somebody wrote by hand is never overwritten.
MARK = "<!-- written by mytalk weights push -->"
# What the Hub's own page writes into a new repository: a licence, and no card.
HEAD_ALONE = re.compile(r"\s*(---\s*\n.*?\n---\s*)?", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """A part of a model: its class, format version (0 for a speech encoder), bytes and SHA-256 of weights."""

    name: str
    kind: str
    format_version: int
    size: int
    sha256: str


@dataclass(frozen=True)
class DataSource:
    """Where training data came from: name or address, licence, clips and hours (0 where not known)."""

    name: str
    licence: str
    clips: int = 0
    hours: float = 0.0

    @property
    def cleared(self) -> bool:
        """Whether a licence is known."""
        return bool(self.licence) and "none" not in self.licence.lower()


def part_names(folder: Path) -> tuple[str, ...]:
    """The parts that have a subfolder with any of their files."""
    names = (CONFIG_NAME, WEIGHTS_NAME)
    return tuple(part for part in PARTS if any((folder / part / name).is_file() for name in names))


def verify_part(folder: Path, name: str) -> Part:
    """Check one part's files: class, version, hash, fields, and every tensor's name and shape.

    Raises FileNotFoundError and WeightsError as loading it would.
    """
    cls, path = PARTS[name], folder / name / WEIGHTS_NAME
    if issubclass(cls, SpeechEncoder):
        encoder = SpeechEncoder.from_pretrained(folder / name)
        return Part(name, cls.__name__, 0, path.stat().st_size, encoder.sha256)
    description = cls.verify(folder / name)
    return Part(name, cls.__name__, description["format_version"], path.stat().st_size, description["sha256"])


def missing_parts(folder: Path) -> tuple[str, ...]:
    """Parts that motion cannot be generated without and that the folder lacks."""
    missing = [name for name in NEEDED if name not in part_names(folder)]
    if "motion" not in missing and "speech" not in part_names(folder):
        config = read_object(folder / "motion" / CONFIG_NAME).get("config")
        own = isinstance(config, dict) and config.get("speech_encoder") == "speech"
        missing += ["speech"] if own else []
    return tuple(missing)


def read_sources(manifest: Path, splits: tuple[str, ...]) -> list[DataSource]:
    """The sources of a manifest's rows (JSON lines with split, source, licence and seconds), added up.

    What stands before the first colon of `source`, that of https:// left out, names it.

    Raises WeightsError if no row is of these splits or a row lacks its source, ValueError for a line that is
    no such row.
    """
    clips: dict[tuple[str, str], list[float]] = defaultdict(list)
    for where, row in read_rows(manifest):
        if text_field(row, "split", where) not in splits:
            continue
        source = text_field(row, "source", where)
        if not source:
            raise WeightsError(f"{where}: no source: say where every clip came from")
        key = (re.split(r":(?!//)", source)[0], text_field(row, "licence", where) or "none stated")
        clips[key].append(number_field(row, "seconds", where) or 0.0)
    if not clips:
        raise WeightsError(
            f"{manifest} has no row of split {' or '.join(splits)}; give the splits trained on"
        )
    return [
        DataSource(*key, len(seconds), round(sum(seconds) / 3600, 2))
        for key, seconds in sorted(clips.items())
    ]


def model_card(
    repository: str,
    parts: list[Part],
    licence: str,
    sources: list[DataSource],
    notes: str = "",
    revision: str | None = None,
) -> str:
    """The README.md of a repository of weights: licence, parts, data sources, what it is for.

    licence: an identifier such as apache-2.0; notes: Markdown of one's own, such as measurements; revision:
    the branch that the model is on. Weights with a source that nobody licensed are marked as research
    weights.

    Raises WeightsError without a licence or without sources.
    """
    if not licence.strip() or not sources:
        raise WeightsError("a model card needs the weights' licence and every source of their training data")
    research = not all(source.cleared for source in sources)
    table = ["| part | class | format | bytes | SHA-256 |", "|---|---|---|---|---|"]
    table += [
        f"| {p.name} | {p.kind} | {p.format_version or ''} | {p.size:,} | `{p.sha256}` |" for p in parts
    ]
    data = ["| source | licence | clips | hours |", "|---|---|---|---|"]
    data += [f"| {s.name} | {s.licence} | {s.clips or ''} | {s.hours or ''} |" for s in sources]
    tags = ["lip-sync", "talking-head", "mytalk", *(["research"] if research else [])]
    head = ["---", f"license: {licence}", "library_name: mytalk", "pipeline_tag: video-to-video", "tags:"]
    warning = (
        "**Research weights**: some of the training data below has no stated licence.\n\n" if research else ""
    )
    name = f"hub:{repository}" + (f" --revision {revision}" if revision is not None else "")
    return "\n".join(
        [
            *head,
            *(f"- {tag}" for tag in tags),
            "---",
            MARK,
            f"# {repository}\n",
            f"{warning}Weights for MyTalk: talking videos whose lips follow a given speech.\n",
            f"    mytalk sync video.mp4 speech.wav -o out.mp4 --model {name}\n",
            "## Parts\n",
            *table,
            "\n## Training data\n",
            *data,
            f"\n## Licence\n\nThe weights: {licence}. The data keeps its own licences, named above.\n",
            *([notes.strip() + "\n"] if notes.strip() else []),
            "## Use\n\nOnly for people who agreed to be shown speaking; leave the AI-edited mark in.\n",
        ]
    )


def model_files(parts: list[Part]) -> tuple[str, ...]:
    """What a repository gets of a model's folder: its parts' files, the card and licences; as patterns."""
    return (
        *(f"{p.name}/{name}" for p in parts for name in (CONFIG_NAME, WEIGHTS_NAME)),
        CARD_NAME,
        "LICENSE*",
    )


def check_card(card: str | None, where: str) -> None:
    """Raise FileExistsError for a card that was written by hand. card: its text, None where there is none."""
    if card is not None and MARK not in card and not HEAD_ALONE.fullmatch(card):
        raise FileExistsError(f"{where} was written by hand; move it away, or pass its text with --notes")


def write_card(folder: Path, card: str) -> Path:
    """Write README.md into a model's folder; FileExistsError if one is there that was written by hand."""
    path = folder / CARD_NAME
    check_card(path.read_text(encoding="utf-8") if path.exists() else None, str(path))
    write_text(path, card)
    return path
