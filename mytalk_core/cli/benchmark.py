"""`mytalk benchmark`: the protocols of section 4.1 over a folder of clips, generated and evaluated."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import DefaultsHelpFormatter, UnusedOptions, add_device, add_dtype, add_model
from ..files import replacing
from .evaluate import SLOW

if TYPE_CHECKING:
    from ..evaluation.benchmark.generation import LoadedNetworks
    from ..evaluation.benchmark.protocol import Pair
    from ..evaluation.clip_files import ClipFiles
    from ..evaluation.compare import Scoring

HALVES = (
    "every mouth is drawn from its true landmarks, with references from the other half of the clip, 0.6 s or "
    "more away; covered mouths too"
)


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    benchmark = commands.add_parser(
        "benchmark",
        help="generate a test set by a protocol of the paper, and evaluate it",
        description="Generates OUT/RENDERER/CLIP.mp4 for every clip of FOLDER, then evaluates. Run again "
        "with the same folder to go on where it stopped, or to add a renderer.",
        formatter_class=DefaultsHelpFormatter,
    )
    benchmark.set_defaults(run=run)
    benchmark.add_argument("folder", type=Path, help="of videos, or with a manifest.jsonl (id, file, split)")
    benchmark.add_argument(
        "--protocol",
        required=True,
        choices=["paired", "unpaired", "landmarks"],
        help="paired: each clip speaks its own words; unpaired: another clip's; landmarks: the true "
        "landmarks drive the renderer, with references from the other half of the clip",
    )
    benchmark.add_argument(
        "--renderer", nargs="+", default=["auto"], help="one or more of auto, generator, network, warp"
    )
    add_model(benchmark)
    benchmark.add_argument("--split", help="rows of the manifest to take; all without")
    benchmark.add_argument("--seed", type=int, default=0, help="of the pairing and of the motion")
    benchmark.add_argument("--limit", type=int, help="only the first clips")
    benchmark.add_argument("--seconds", type=float, help="only the beginning of every clip")
    benchmark.add_argument("--crf", type=int, default=18, help="quality of the H.264 files")
    add_device(benchmark)
    add_dtype(benchmark)
    benchmark.add_argument("--every", type=int, default=1, help="score the pictures of each N-th frame")
    benchmark.add_argument("--weights", help="folder or hub:OWNER/NAME with the metrics' networks")
    benchmark.add_argument(
        "--skip", nargs="*", default=list(SLOW), metavar="KEY", help="metrics to leave out"
    )
    benchmark.add_argument("--no-evaluation", dest="evaluate", action="store_false", help="only generate")
    benchmark.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    benchmark.unused += [
        UnusedOptions(
            ("every", "weights", "skip"), lambda of: not of["evaluate"], "nothing is scored (--no-evaluation)"
        )
    ]


def run(args: argparse.Namespace) -> None:
    """Generate what is not there yet, then evaluate."""
    from ..evaluation.benchmark import protocol
    from ..evaluation.compare import Scoring
    from ..evaluation.metric import check_keys
    from ..evaluation.report.page import check_report
    from ..media.encoders import check_crf
    from ..motion.generate import MotionOptions

    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f"--seconds must be above 0; got {args.seconds}")
    check_crf("h264", args.crf)
    MotionOptions(seed=args.seed)
    scoring = Scoring(args.every, args.protocol != "unpaired", check_keys(args.skip))
    clips = protocol.list_clips(args.folder, args.split)
    pairs = protocol.plan_pairs(clips, args.protocol, args.seed, args.limit)
    tools, settings, systems = _load(args)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.evaluate:
        check_report(args.output, [clip.path for clip in clips])
    record = protocol.open_record(args.output, settings)
    protocol.note_systems(record, systems, args.output)
    for pair in pairs:
        protocol.note_pair(record, pair, args.output)
    made = []
    for number, pair in enumerate(pairs, 1):
        protocol.save_record(args.output, record)
        print(f"[{number}/{len(pairs)}] {pair.clip.name} speaks {pair.speech.name}", flush=True)
        files = _make(pair, tools, args, record)
        if files is not None:
            made.append(files)
    protocol.save_record(args.output, record)
    if not made:
        raise ValueError(f"none of {len(pairs)} clips could be made; {args.output}/protocol.json says why")
    if args.evaluate:
        _evaluate(made, args, scoring, record)


def _load(args: argparse.Namespace) -> tuple[LoadedNetworks, dict, dict[str, dict[str, str]]]:
    """The models; what all results of a folder have in common; the weights of each system."""
    from ..appearance.renderers import load_renderer
    from ..evaluation.benchmark.generation import LoadedNetworks
    from ..face.reader import load_face_reader
    from ..motion.generate import MotionModel
    from ..pipeline.device import choose_device, choose_dtype

    device = choose_device(args.device)
    dtype = choose_dtype(args.dtype, device)
    motion = None
    renderers, systems = {}, {}
    for name in args.renderer:
        loaded = load_renderer(name, args.model, args.revision, device, dtype)
        renderers[loaded.name] = loaded
        systems[loaded.name] = loaded.hashes
    if args.protocol != "landmarks":
        motion = MotionModel.from_pretrained(args.model, args.revision, device, dtype)
    settings = {
        "protocol": args.protocol,
        "seed": args.seed,
        "seconds": args.seconds,
        "crf": args.crf,
        "models": {} if motion is None else motion.hashes,
    }
    return LoadedNetworks(load_face_reader(device), motion, renderers), settings, systems


def _make(pair: Pair, tools: LoadedNetworks, args: argparse.Namespace, record: dict) -> ClipFiles | None:
    """Write what is missing of one clip. None where it cannot be made: it is left out of every system, and
    the record says why."""
    from ..errors import MediaError, NoFaceError
    from ..evaluation.benchmark.generation import Generation, generate
    from ..evaluation.clip_files import ClipFiles
    from ..motion.generate import MotionOptions
    from ..progress import bars

    name = pair.clip.name
    # Those of earlier runs stand in the report too.
    files = {system: args.output / system / f"{name}.mp4" for system in record["systems"]}
    missing = {system: files[system] for system in tools.renderers if not files[system].is_file()}
    record["left_out"].pop(name, None)
    for path in missing.values():
        path.parent.mkdir(exist_ok=True)
    try:
        pair = _beginning(pair, args)
        if missing:
            with bars() as progress:
                how = Generation(MotionOptions(seed=args.seed), args.crf)
                generate(pair, missing, tools, how, progress)
    except (MediaError, NoFaceError) as error:
        record["left_out"][name] = str(error)
        print(f"mytalk: note: {name} is left out: {error}", file=sys.stderr)
        return None
    return ClipFiles(name, pair.clip.path, {key: path for key, path in files.items() if path.is_file()})


def _beginning(pair: Pair, args: argparse.Namespace) -> Pair:
    """The pair with its clip cut to --seconds, packet by packet: the real video stays what it is."""
    from ..evaluation.benchmark.protocol import ClipFile, Pair
    from ..media.remux import copy_untagged

    if args.seconds is None:
        return pair
    source = pair.clip.path
    suffix = ".mp4" if source.suffix.lower() in (".mp4", ".mov", ".m4v") else ".mkv"
    cut = args.output / "reference" / f"{pair.clip.name}{suffix}"
    if not cut.is_file():
        cut.parent.mkdir(exist_ok=True)
        with replacing(cut) as temporary:
            copy_untagged(source, temporary, args.seconds)
    clip = ClipFile(pair.clip.name, cut)
    return Pair(clip, clip if pair.speech == pair.clip else pair.speech)


def _evaluate(clips: list[ClipFiles], args: argparse.Namespace, scoring: Scoring, record: dict) -> None:
    """Score what was made beside the real videos; write and print the report."""
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.networks.metric_networks import find_networks
    from ..evaluation.report.page import write_page
    from ..evaluation.report.report import markdown, write_report
    from ..pipeline.device import choose_device

    networks = find_networks(args.weights, scoring.skip, choose_device(args.device))
    model = Path(args.model).name
    models = {f"{part} of {model}": digest for part, digest in record["models"].items()}
    for system, hashes in record["systems"].items():
        models |= {f"{part} of {model}, {system}": digest for part, digest in hashes.items()}
    notes = [f"{name}: left out, {why}" for name, why in record["left_out"].items()]
    if args.protocol == "landmarks":
        notes.append(HALVES)
    title = f"{args.folder.resolve().name}, {args.protocol} protocol, seed {args.seed}"
    evaluation = Evaluation(
        networks, scoring, args.output, args.output / "cache", title=title, models=models, notes=notes
    )
    report = evaluation.run(clips, lambda clip, system, done, total: print(f"{clip}: {system}", flush=True))
    write_report(report, args.output)
    print(markdown(report))
    print(write_page(report, args.output))
