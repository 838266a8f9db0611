"""The command line of the preparation, and those of its choices that decide what a dataset holds."""

from __future__ import annotations

import argparse
import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mytalk_core.arguments import DefaultsHelpFormatter, Parser, UnusedOptions, add_device, at_least
from mytalk_core.face.alignment import UNITS
from mytalk_core.files import write_text
from mytalk_core.json_text import read_object

from .adapters import LAYOUTS
from .filters import Limits
from .journal import journalled
from .preparation_report import REPORT_NAMES
from .shards import INDEX_NAME

SETTINGS_NAME = "settings.json"
CROP_PX = (UNITS, 2 * UNITS)
LIMIT_HELP = {
    "min_seconds": "shortest shot that becomes a sample, s",
    "min_present": "least share of frames with the face, 0 to 1",
    "min_dominance": "least share of the speaker among all faces, by area and time, 0 to 1: the speaker is "
    "the largest face",
    "min_face_px": "least median width of the face in the frame, px",
    "max_yaw_deg": "most the head may be turned, median, degrees",
    "min_detail": "least variance of the Laplacian about the mouth in the 256 px crop: blur is low",
    "min_confidence": "least confidence of the lip-sync expert",
    "max_lag_ms": "most that lips and sound may be apart before they are brought together, ms",
}

UNUSED = (
    UnusedOptions(
        ("crop_every", "crop_px", "jpeg_quality"), lambda of: of["no_crops"], "no crops are kept (--no-crops)"
    ),
    UnusedOptions(
        ("sync_expert", "min_confidence", "max_lag_ms"),
        lambda of: of["sync"] == "off",
        "--sync off compares no lips with any sound",
    ),
)


@dataclass(frozen=True)
class Settings:
    """What decides a dataset's content; runs into one dataset must agree on all of it.

    sync: manifest (the source's own word where it has one, else the expert's), expert, or off. crop_every:
    0 for no crops. crop_px: their side. same_person: cosine above which two unnamed samples are one
    person; None for the recogniser's own.
    """

    folder: str
    layout: str
    sync: str = "manifest"
    sync_expert: str = "mini"
    crop_every: int = 1
    crop_px: int = UNITS
    jpeg_quality: int = 95
    shard_mb: int = 512
    face_recogniser: str | None = None
    same_person: float | None = None
    limits: Limits = Limits()


def parse(arguments: list[str] | None, program: str | None) -> argparse.Namespace:
    """The command line as a namespace; exits on a mistake as argparse does."""
    parser = Parser(
        prog=program,
        description="Turn a folder of talking videos into a dataset to train on: tar shards with an index.",
        formatter_class=DefaultsHelpFormatter,
    )
    defaults = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
    parser.add_argument("folder", type=Path, help="clips, in any of the layouts")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--layout", default="auto", choices=["auto", *LAYOUTS], help="how FOLDER is laid out")
    parser.add_argument(
        "--splits", nargs="+", default=["train"], help="splits to take, where sources name one"
    )
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="only the first N sources, by key")
    parser.add_argument(
        "--sync",
        default=defaults["sync"],
        choices=["manifest", "expert", "off"],
        help="who says that lips and sound agree, and how late the lips are: manifest is a source's own "
        "sync and sync_lag_ms, and the expert's word where these are missing or unknown; off takes all as "
        "they are",
    )
    parser.add_argument(
        "--sync-expert", default=defaults["sync_expert"], help="mini, a model's folder, or expert.train's"
    )
    parser.add_argument(
        "--no-crops", action="store_true", help="landmarks, movement and speech only: no pictures"
    )
    parser.add_argument(
        "--crop-every",
        type=at_least(1),
        default=defaults["crop_every"],
        metavar="N",
        help="a crop of each N-th frame",
    )
    parser.add_argument(
        "--crop-px",
        type=int,
        choices=CROP_PX,
        default=defaults["crop_px"],
        help="side of a crop; 512 for faces of some 200 px and more, whose pixels a refiner is to learn from",
    )
    parser.add_argument("--jpeg-quality", type=int, default=defaults["jpeg_quality"], help="1 to 100")
    parser.add_argument(
        "--shard-mb", type=at_least(1), default=defaults["shard_mb"], help="size of a full shard"
    )
    parser.add_argument(
        "--face-recogniser",
        help="ONNX file (SFace, ArcFace) that tells unnamed people apart; else landmarks do, less well",
    )
    parser.add_argument(
        "--same-person", type=float, help="cosine above which two unnamed samples are one person"
    )
    parser.add_argument(
        "--tracks",
        type=Path,
        help="folder of KEY.safetensors that mytalk landmarks wrote: these sources are not tracked again, "
        "nor searched for further faces",
    )
    add_device(parser)
    limits = parser.add_argument_group("limits; a shot that misses one is left out, and reported")
    for field in fields(Limits):
        flag = "--" + field.name.replace("_", "-")
        limits.add_argument(flag, type=float, default=field.default, help=LIMIT_HELP[field.name])
    parser.unused += UNUSED
    return parser.parse_args(arguments)


def settings_of(args: argparse.Namespace, layout: str) -> Settings:
    """The settings of a command line; ValueError for numbers out of range."""
    if not 1 <= args.jpeg_quality <= 100:
        raise ValueError(f"--jpeg-quality must be 1 to 100; got {args.jpeg_quality}")
    return Settings(
        folder=str(args.folder.resolve()),
        layout=layout,
        sync=args.sync,
        sync_expert=args.sync_expert,
        crop_every=0 if args.no_crops else args.crop_every,
        crop_px=args.crop_px,
        jpeg_quality=args.jpeg_quality,
        shard_mb=args.shard_mb,
        face_recogniser=args.face_recogniser,
        same_person=args.same_person,
        limits=Limits(**{f.name: getattr(args, f.name) for f in fields(Limits)}),
    )


def agree(output: Path, settings: Settings) -> None:
    """Note the settings in a new dataset, or check that they are those of an old one.

    Raises ValueError naming what differs, or what a preparation would replace that no run of it has noted.
    """
    path, wanted = output / SETTINGS_NAME, asdict(settings)
    noted = path.exists()
    held = [output / name for name in (INDEX_NAME, *REPORT_NAMES) if (output / name).exists()]
    held += output.glob("shard-*.tar")
    # The index is written last: one without a journal is of a dataset that cannot be gone on with.
    if held and not (noted and (journalled(output) or not (output / INDEX_NAME).exists())):
        raise ValueError(
            f"{output} holds {held[0].name}, but not the {SETTINGS_NAME} and journal by which a preparation "
            "goes on, and would be written over: name another -o"
        )
    if not noted:
        output.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    found = read_object(path)
    if not isinstance(found.get("limits", {}), dict):
        raise ValueError(f"{path} is damaged: name another -o")
    # What could not be chosen when it was begun was as it is by default.
    found = asdict(Settings(folder="", layout="")) | found
    differing = [
        f"{name} was {before!r}, now {now!r}" for name, before, now in _pairs(found, wanted) if before != now
    ]
    if differing:
        raise ValueError(
            f"{output} was begun with other settings ({'; '.join(differing)}): use the same, or another -o"
        )


def _pairs(found: dict[str, Any], wanted: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    flat = [
        {**{k: v for k, v in row.items() if k != "limits"}, **row.get("limits", {})}
        for row in (found, wanted)
    ]
    return [(name, flat[0].get(name), flat[1].get(name)) for name in sorted(flat[0] | flat[1])]
