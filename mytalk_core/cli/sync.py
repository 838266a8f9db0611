"""`mytalk sync`: a video's lips follow a speech."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import (
    FACE_HELP,
    RECOGNITION_HELP,
    UNUSED_OF_A_VIDEO,
    VIDEO_HELP,
    DefaultsHelpFormatter,
    Parser,
    add_device,
    add_dtype,
    add_frame_rate,
    add_model,
)
from ..collector import collector_paused
from ..files import check_outputs, write_text
from ..progress import bars

if TYPE_CHECKING:
    from ..pipeline.jobs import Settings


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    sync = commands.add_parser(
        "sync",
        help="make a video's lips follow a speech",
        formatter_class=DefaultsHelpFormatter,
    )
    sync.set_defaults(run=run)
    sync.add_argument(
        "video",
        type=Path,
        help=VIDEO_HELP,
    )
    sync.add_argument(
        "speech", type=Path, nargs="?", help="a sound file, or a video whose sound is taken; or --speaker"
    )
    sync.add_argument("-o", "--output", type=Path, required=True, help=".mp4, .m4v, .mov, .mkv or .webm")
    sync.add_argument(
        "--speaker",
        action="append",
        metavar="WHO=SPEECH",
        help="instead of a speech, once for each who speaks: WHO as for --face, and what that mouth follows "
        "from the beginning on; the other faces stay, and all speeches are heard at once",
    )
    add_options(sync)
    sync.add_argument(
        "--resume",
        action="store_true",
        help="for long videos: keep what is finished in the folder OUTPUT.resume until the output is whole, "
        "and go on with it after a kill; takes disk space, often more than the output",
    )
    sync.add_argument(
        "--credentials",
        nargs=2,
        type=Path,
        metavar=("CERTIFICATES", "KEY"),
        help="sign the output with content credentials (C2PA): that a model edited it, and what it was "
        "before; a chain of certificates and its private key, PEM; .mp4 and .mov; needs mytalk[provenance]",
    )
    sync.add_argument("--report", type=Path, help="write what was done as JSON")
    sync.add_argument("--save-motion", type=Path, help="write the generated landmarks as safetensors")
    sync.add_argument("--save-mask", type=Path, help="write a lossless .mkv of which pixels were edited")


def add_options(parser: Parser) -> None:
    """How a video is made, and by which model: what `mytalk batch` has too."""
    parser.unused += UNUSED_OF_A_VIDEO
    parser.add_argument(
        "--sync-mode",
        default="silence",
        choices=["cut_off", "loop", "bounce", "silence", "remap"],
        help="where lengths differ: silence keeps the video's frames (a shorter speech is followed by "
        "silence, a longer one is cut); cut_off ends with the shorter; loop and bounce repeat the video, "
        "remap re-times it, to the speech's length",
    )
    add_frame_rate(parser)
    parser.add_argument("--face", default="largest", help=FACE_HELP)
    parser.add_argument("--recognition", type=Path, metavar="FILE", help=RECOGNITION_HELP)
    add_model(parser)
    parser.add_argument(
        "--renderer",
        default="auto",
        help="what draws the new lips: network; warp, which is faster and needs none; generator (the "
        "paper's, where the model has one); or auto: network, but warp where the model has none",
    )
    parser.add_argument("--steps", type=int, default=10, help="sampling steps of the motion, 1 to 1000")
    parser.add_argument(
        "--guidance", type=float, default=1.0, help="how closely it follows the speech, 0 to 10"
    )
    parser.add_argument(
        "--sampler", default="dpmpp_2m", choices=["dpmpp_2m", "ddim", "ddpm"], help="how the motion is drawn"
    )
    parser.add_argument("--temperature", type=float, default=0.3, help="variety of the motion, 0 to 1")
    parser.add_argument("--expression", type=float, default=1.0, help="scale of the movement, 0 to 10")
    parser.add_argument(
        "--manner",
        default="own",
        choices=["own", "model"],
        help="how far the mouth opens: own, about as far as this person's does in the video, modestly "
        "where it hardly moves there; model, as far as most people's",
    )
    parser.add_argument(
        "--emotion",
        type=Path,
        metavar="FILE",
        help="a video or picture of somebody, whose expression the face takes on in place of its own: raised "
        "corners, tense lips, and of a video that speaks how far the mouth opens",
    )
    parser.add_argument(
        "--emotion-strength",
        type=float,
        default=1.0,
        help="how much of --emotion's, 0 to 2; 1 is as much as is seen there",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same motion")
    add_device(parser)
    add_dtype(parser)
    parser.add_argument(
        "--codec",
        choices=["h264", "prores", "vp9", "ffv1", "copy"],
        help="by default what suits the extension; copy leaves the source's groups of pictures (H.264, HEVC) "
        "without a new mouth as they are, bit for bit, and encodes the others to match, at a crf of its own",
    )
    parser.add_argument("--crf", type=int, default=18, help="quality of h264 and vp9, lower is better")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="an error instead of a note, and no output, where the source does not suit (small, turned, "
        "blurred, covered or cut-off face), or the mouth does not move, or not as intended",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """What `add_options` gathered of one video. Raises ValueError for what no video could make right."""
    from ..motion.generate import MotionOptions
    from ..pipeline.jobs import Settings

    options = MotionOptions(
        steps=args.steps,
        guidance=args.guidance,
        seed=args.seed,
        sampler=args.sampler,
        temperature=args.temperature,
        expression=args.expression,
        manner=args.manner,
        emotion_strength=args.emotion_strength,
    )
    return Settings(
        sync_mode=args.sync_mode,
        frame_rate=args.frame_rate,
        face=args.face,
        codec=args.codec,
        crf=args.crf,
        options=options,
        strict=args.strict,
        emotion=args.emotion,
    )


def run(args: argparse.Namespace) -> None:
    """Lip-sync, and say what stayed as it was."""
    with collector_paused():
        from ..face.choice import choice_files
        from ..media.source import clip_files
        from ..pipeline.lip_sync import lip_sync

    how = settings_of(args)
    outputs = {
        "-o": args.output,
        "--report": args.report,
        "--save-motion": args.save_motion,
        "--save-mask": args.save_mask,
    }
    speakers = [speaker(text) for text in args.speaker or ()]
    read = [*(args.credentials or ()), *([] if args.speech is None else [args.speech])]
    for who, path in [(how.face, None), *speakers]:
        read += [*choice_files(who), *([] if path is None else [path])]
    read += [] if args.emotion is None else clip_files(args.emotion)
    check_outputs(outputs, [*clip_files(args.video), *read])
    with _kept(args), bars() as progress:
        report = lip_sync(
            args.video,
            args.speech,
            args.output,
            model=args.model,
            revision=args.revision,
            renderer=args.renderer,
            face=how.face,
            speakers=speakers,
            recognition=args.recognition,
            emotion=how.emotion,
            sync_mode=how.sync_mode,
            frame_rate=how.frame_rate,
            options=how.options,
            device=args.device,
            dtype=args.dtype,
            codec=how.codec,
            crf=how.crf,
            save_motion=args.save_motion,
            save_mask=args.save_mask,
            credentials=args.credentials,
            resume=args.resume,
            strict=how.strict,
            progress=progress,
        )
    for warning in report.warnings:
        print(f"mytalk: note: {warning}", file=sys.stderr)
    if args.report is not None:
        write_text(args.report, json.dumps(report.to_dict(), indent=2) + "\n")
    print(f"{args.output}: {report.frames} frames, {report.frames_edited} edited, {report.duration_s} s")


def speaker(text: str) -> tuple[str, Path]:
    """Who, and the file of what is said, of WHO=SPEECH. Raises ValueError.

    A file's name may have an equals sign in it: the speech is the longest part that is a file.
    """
    parts = text.split("=")
    cuts = [("=".join(parts[:i]), Path("=".join(parts[i:]))) for i in range(1, len(parts))]
    cuts = [(who, path) for who, path in cuts if who and path.name]
    if not cuts:
        raise ValueError(f"a speaker is WHO=SPEECH, such as left=speech.wav; got {text!r}")
    return next((cut for cut in cuts if cut[1].is_file()), cuts[0])


@contextmanager
def _kept(args: argparse.Namespace) -> Iterator[None]:
    """Say how to go on where the block is stopped and has kept something."""
    from ..pipeline.journal import folder_of

    try:
        yield
    except (KeyboardInterrupt, OSError, ValueError):
        folder = folder_of(args.output)
        if args.resume and folder.is_dir():
            print(
                f"mytalk: note: what is finished is kept in {folder}: the same command goes on",
                file=sys.stderr,
            )
        raise
