"""`mytalk landmarks`: a face's landmarks in every frame."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..arguments import (
    FACE_HELP,
    RECOGNITION_HELP,
    VIDEO_HELP,
    DefaultsHelpFormatter,
    add_device,
    add_frame_rate,
)
from ..collector import collector_paused
from ..files import check_outputs, replacing
from ..progress import bars


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    landmarks = commands.add_parser(
        "landmarks",
        help="write a face's landmarks in every frame",
        formatter_class=DefaultsHelpFormatter,
    )
    landmarks.set_defaults(run=run)
    landmarks.add_argument(
        "video",
        type=Path,
        help=VIDEO_HELP,
    )
    landmarks.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
    add_frame_rate(landmarks)
    landmarks.add_argument("--face", default="largest", help=FACE_HELP)
    landmarks.add_argument("--recognition", type=Path, metavar="FILE", help=RECOGNITION_HELP)
    landmarks.add_argument("--preview", type=Path, help="also write the video with the mesh drawn over it")
    add_device(landmarks)


def run(args: argparse.Namespace) -> None:
    """Track the face, write its landmarks and, if asked for, the mesh."""
    with collector_paused():
        from ..expert.scorer import ExpertScorer
        from ..face.choice import check_choice, choice_files
        from ..face.preview import draw_mesh
        from ..face.reader import load_face_reader
        from ..media.encoders import choose_codec
        from ..media.source import clip_files, open_clip
        from ..pipeline.choosing import choose
        from ..pipeline.device import choose_device
        from ..pipeline.stages import track
        from ..pipeline.write import write

    check_choice(args.face)
    check_outputs(
        {"-o": args.output, "--preview": args.preview}, [*clip_files(args.video), *choice_files(args.face)]
    )
    if args.output.suffix.lower() != ".safetensors":
        raise ValueError(
            f"-o: a name ending in .safetensors was required, but {args.output.name!r} arrived: change its "
            "extension; the video with the mesh is --preview"
        )
    if args.preview is not None:
        choose_codec(args.preview, None)
    clip = open_clip(args.video, args.frame_rate)
    with bars() as progress:
        reader = load_face_reader(choose_device(args.device), args.recognition)
        faces = track(reader, clip, progress)
        face = choose(reader, clip, faces, args.face, ExpertScorer.from_pretrained)
        with replacing(args.output) as temporary:
            face.save(temporary)
            if args.preview is not None:
                write(
                    draw_mesh(clip, face),
                    args.preview,
                    progress=lambda done, total, picture: progress("preview", done, total),
                )
    print(f"{args.output}: {len(face)} frames, {int(face.present.sum())} with the face")
