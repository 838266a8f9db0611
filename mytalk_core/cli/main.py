"""The `mytalk` command."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .. import __version__
from ..files import check_outputs, write_text
from ..program import in_one_line
from . import benchmark, evaluate, info, prepare, study, weights
from .progress import bars


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code, as `in_one_line` makes it."""
    args = _parser().parse_args(argv)
    return in_one_line(lambda: args.run(args), "mytalk")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mytalk", description="Lip-sync a talking video to any speech; everything but the mouth stays."
    )
    parser.add_argument("--version", action="version", version=f"mytalk {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_sync(commands)
    _add_landmarks(commands)
    for command in (benchmark, evaluate, info, prepare, study, weights):
        command.add(commands)
    return parser


def _add_sync(commands: argparse._SubParsersAction) -> None:
    sync = commands.add_parser(
        "sync",
        help="make a video's lips follow a speech",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sync.set_defaults(run=_sync)
    sync.add_argument("video", type=Path, help="a video with a visible face, any container")
    sync.add_argument("speech", type=Path, help="a sound file, or a video whose sound is taken")
    sync.add_argument("-o", "--output", type=Path, required=True, help=".mp4, .mov, .mkv or .webm")
    sync.add_argument(
        "--sync-mode",
        default="silence",
        choices=["cut_off", "loop", "bounce", "silence", "remap"],
        help="where lengths differ: silence keeps the video's frames (a shorter speech is followed by "
        "silence, a longer one is cut); cut_off ends with the shorter; loop and bounce repeat the video, "
        "remap re-times it, to the speech's length",
    )
    sync.add_argument("--face", default="largest", help="largest, left, right, or a number: 0 is the largest")
    sync.add_argument("--model", default="mini", help="mini, a folder, or hub:OWNER/NAME")
    sync.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    sync.add_argument(
        "--renderer",
        default="auto",
        help="what draws the new lips: warp, network, generator (the paper's, where the model has one), or "
        "auto: a network its makers prefer, else warp",
    )
    sync.add_argument("--steps", type=int, default=10, help="sampling steps of the motion, 1 to 1000")
    sync.add_argument("--guidance", type=float, default=1.0, help="how hard the motion follows the speech")
    sync.add_argument("--sampler", default="dpmpp_2m", choices=["dpmpp_2m", "ddim", "ddpm"])
    sync.add_argument("--temperature", type=float, default=0.3, help="variety of the motion, 0 to 1")
    sync.add_argument("--expression", type=float, default=1.0, help="scale of the movement")
    sync.add_argument("--seed", type=int, default=0, help="the same seed gives the same motion")
    sync.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    sync.add_argument("--dtype", default="auto", choices=["auto", "float32", "float16", "bfloat16"])
    sync.add_argument(
        "--codec", choices=["h264", "prores", "vp9", "ffv1"], help="by default what suits the extension"
    )
    sync.add_argument("--crf", type=int, default=18, help="quality of h264 and vp9, lower is better")
    sync.add_argument("--report", type=Path, help="write what was done as JSON")
    sync.add_argument("--save-motion", type=Path, help="write the generated landmarks as safetensors")
    sync.add_argument("--save-mask", type=Path, help="write a lossless .mkv of which pixels were edited")


def _add_landmarks(commands: argparse._SubParsersAction) -> None:
    landmarks = commands.add_parser(
        "landmarks",
        help="write a face's landmarks in every frame",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    landmarks.set_defaults(run=_landmarks)
    landmarks.add_argument("video", type=Path)
    landmarks.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
    landmarks.add_argument("--face", default="largest", help="largest, left, right, or a number")
    landmarks.add_argument("--preview", type=Path, help="also write the video with the mesh drawn over it")
    landmarks.add_argument("--device", default="auto")


def _sync(args: argparse.Namespace) -> None:
    from ..motion.generate import MotionOptions
    from ..pipeline.stages import lip_sync

    options = MotionOptions(
        args.steps, args.guidance, args.seed, args.sampler, args.temperature, args.expression
    )
    outputs = {
        "-o": args.output,
        "--report": args.report,
        "--save-motion": args.save_motion,
        "--save-mask": args.save_mask,
    }
    check_outputs(outputs, [args.video, args.speech])
    with bars() as progress:
        report = lip_sync(
            args.video,
            args.speech,
            args.output,
            model=args.model,
            revision=args.revision,
            renderer=args.renderer,
            face=args.face,
            sync_mode=args.sync_mode,
            options=options,
            device=args.device,
            dtype=args.dtype,
            codec=args.codec,
            crf=args.crf,
            save_motion=args.save_motion,
            save_mask=args.save_mask,
            progress=progress,
        )
    for warning in report.warnings:
        print(f"mytalk: note: {warning}", file=sys.stderr)
    if args.report is not None:
        write_text(args.report, json.dumps(report.to_dict(), indent=2) + "\n")
    print(f"{args.output}: {report.frames} frames, {report.frames_edited} edited, {report.duration_s} s")


def _landmarks(args: argparse.Namespace) -> None:
    from ..face.preview import write_preview
    from ..face.tracker import load_face_reader
    from ..media.video import Clip
    from ..pipeline.stages import choose_device, read_face

    check_outputs({"-o": args.output, "--preview": args.preview}, [args.video])
    clip = Clip.open(args.video)
    with bars() as progress:
        track = read_face(clip, load_face_reader(choose_device(args.device)), args.face, progress)
        track.save(args.output)
        if args.preview is not None:
            write_preview(clip, track, args.preview, lambda done: progress("preview", done, len(clip)))
    print(f"{args.output}: {len(track)} frames, {int(track.present.sum())} with the face")
