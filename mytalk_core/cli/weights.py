"""`mytalk weights`: what is here, download, check, publish."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..arguments import DefaultsHelpFormatter, UnusedOptions


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command and its four actions."""
    weights = commands.add_parser("weights", help="list, download, verify or publish models")
    actions = weights.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", help="bundled models and those in the Hub's cache", formatter_class=DefaultsHelpFormatter
    )
    listing.set_defaults(run=_list)
    listing.add_argument("--json", action="store_true", help="as JSON, with parts and folders")

    download = actions.add_parser(
        "download",
        help="fetch a model from the Hub, for use without a connection",
        formatter_class=DefaultsHelpFormatter,
    )
    download.set_defaults(run=_download)
    download.add_argument("repository", help="OWNER/NAME")
    download.add_argument("--revision", help="branch, tag or commit")
    download.add_argument("-o", "--output", type=Path, help="folder to put it in; by default the Hub's cache")

    verify = actions.add_parser(
        "verify",
        help="check hashes, versions and every tensor's shape",
        formatter_class=DefaultsHelpFormatter,
    )
    verify.set_defaults(run=_verify)
    verify.add_argument("model", nargs="?", default="mini", help="mini, a folder, or hub:OWNER/NAME")
    verify.add_argument("--revision", help="branch, tag or commit")

    push = actions.add_parser(
        "push",
        help="write the model card and upload a model to the Hub",
        formatter_class=DefaultsHelpFormatter,
    )
    push.set_defaults(run=_push)
    push.add_argument("folder", type=Path, help="with motion, space, identity and what else there is")
    push.add_argument("repository", help="OWNER/NAME")
    push.add_argument("--licence", required=True, help="of the weights: apache-2.0, cc-by-nc-4.0, ...")
    push.add_argument(
        "--data-source",
        action="append",
        default=[],
        metavar="NAME=LICENCE",
        help="where training data came from, and its licence; repeat for each",
    )
    push.add_argument("--manifest", type=Path, help="manifest.jsonl trained on: its rows name the sources")
    push.add_argument("--splits", nargs="+", default=["train"], help="splits of the manifest trained on")
    push.add_argument("--notes", type=Path, help="Markdown to add to the card, such as measurements")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    push.add_argument("--revision", help="branch to push to, made if there is none")
    push.add_argument("--message", default="Upload MyTalk weights", help="of the commit")
    push.add_argument("--dry-run", action="store_true", help="only verify and print the card")
    push.unused += [UnusedOptions(("splits",), lambda of: of["manifest"] is None, "there is no --manifest")]


def _list(args: argparse.Namespace) -> None:
    from ..checkpoint import hub
    from ..checkpoint.pretrained import BUNDLED
    from ..models.parts import missing_parts, part_names

    folders = {path.name: path for path in sorted(BUNDLED.iterdir()) if part_names(path)}
    folders |= {f"hub:{name}": path for name, path in hub.cached_models().items()}
    rows: list[dict[str, Any]] = []
    for name, folder in folders.items():
        size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
        parts, missing = part_names(folder), missing_parts(folder)
        rows.append({"name": name, "parts": parts, "missing": missing, "bytes": size, "folder": str(folder)})
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        lacks = f"; lacks {', '.join(row['missing'])}" if row["missing"] else ""
        print(f"{row['name']:<32}{row['bytes'] / 1e6:>9.1f} MB  {', '.join(row['parts'])}{lacks}")


def _download(args: argparse.Namespace) -> None:
    from ..checkpoint import hub

    repository = args.repository.removeprefix("hub:")
    folder = hub.download_all(repository, args.revision, args.output)
    _check(folder)
    encoder = _foreign_speech_encoder(folder)
    if encoder is not None:
        from ..checkpoint.pretrained import resolve_folder

        print(f"speech encoder: {resolve_folder(encoder)}")
    print(folder)


def _foreign_speech_encoder(folder: Path) -> str | None:
    """The speech encoder's own source, if the model does not bring it."""
    from ..motion.denoiser import MotionDenoiser

    name = MotionDenoiser.read_config(folder, "motion").speech_encoder
    return None if name == "speech" else name


def _verify(args: argparse.Namespace) -> None:
    from ..checkpoint.pretrained import resolve_whole

    folder = resolve_whole(args.model, args.revision)
    _check(folder)


def _check(folder: Path) -> list:
    """Verify every part, printing a line for each; WeightsError naming the parts that fail or are missing."""
    from ..errors import WeightsError
    from ..models.parts import missing_parts, part_names, verify_part

    parts, problems = [], []
    for name in part_names(folder):
        try:
            part = verify_part(folder, name)
        except (WeightsError, FileNotFoundError) as error:
            problems.append(str(error))
            print(f"{name:<12}FAILED")
            continue
        parts.append(part)
        print(f"{name:<12}ok  {part.kind}, {part.size / 1e6:.1f} MB, sha256 {part.sha256[:16]}...")
    missing = missing_parts(folder) if not problems else ()
    if missing:
        problems.append(f"{folder} lacks {', '.join(missing)}, which a model needs")
    if problems:
        raise WeightsError("; ".join(problems))
    return parts


def _push(args: argparse.Namespace) -> None:
    from ..checkpoint import hub
    from ..models.parts import (
        CARD_NAME,
        DataSource,
        check_card,
        model_card,
        model_files,
        read_sources,
        write_card,
    )

    repository = args.repository.removeprefix("hub:")
    hub.check_name(repository)
    if not args.folder.is_dir():
        raise FileNotFoundError(f"{args.folder}: no such folder")
    sources = [DataSource(*_pair(text)) for text in args.data_source]
    if args.manifest is not None:
        sources += read_sources(args.manifest, tuple(args.splits))
    notes = args.notes.read_text(encoding="utf-8") if args.notes is not None else ""
    parts = _check(args.folder)
    _check_speech_encoder(args.folder)
    card = model_card(repository, parts, args.licence, sources, notes, args.revision)
    if args.dry_run:
        print(card)
        return
    check_card(hub.read_text(repository, CARD_NAME, args.revision), f"{CARD_NAME} of {repository}")
    write_card(args.folder, card)
    files = model_files(parts)
    print(hub.upload(args.folder, files, repository, args.message, args.private, args.revision))


def _check_speech_encoder(folder: Path) -> None:
    """ValueError if the model reads speech by an encoder that others do not have."""
    from ..checkpoint import hub
    from ..checkpoint.pretrained import BUNDLED

    name = _foreign_speech_encoder(folder)
    if name is None or (BUNDLED / name).parent == BUNDLED and (BUNDLED / name).is_dir():
        return
    if Path(name).is_absolute() or not hub.is_repository(name.removeprefix("hub:")):
        raise ValueError(
            f"the model's speech encoder is {name!r}, which only this machine has: put it into the subfolder "
            "speech and name it so in motion/config.json, or name a Hub repository"
        )


def _pair(text: str) -> tuple[str, str]:
    name, equals, licence = text.rpartition("=")
    if not equals or not name or not licence:
        raise ValueError(f"--data-source must be NAME=LICENCE; got {text!r}")
    return name, licence
