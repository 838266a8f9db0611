"""The pack imports and lip-syncs where torchaudio is absent or does not fit torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parents[1]
RUN = """
import importlib, pkgutil, sys
{hide}
import mytalk_core
for module in pkgutil.walk_packages(mytalk_core.__path__, "mytalk_core."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from mytalk_core.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def cut(source: Path, target: Path, frames: int) -> Path:
    """The first frames of a video."""
    with av.open(str(source)) as video, av.open(str(target), "w") as out:
        stream = video.streams.video[0]
        copy = out.add_stream("libx264", rate=stream.average_rate)
        copy.width, copy.height, copy.pix_fmt = stream.width, stream.height, "yuv420p"
        for _, frame in zip(range(frames), video.decode(stream), strict=False):
            out.mux(copy.encode(frame))
        out.mux(copy.encode(None))
    return target


@pytest.mark.parametrize("torchaudio", ["absent", "broken"])
def test_a_lip_sync_needs_no_torchaudio(torchaudio, tmp_path, examples):
    hide = "sys.modules['torchaudio'] = None" if torchaudio == "absent" else ""
    broken = tmp_path / "path" / "torchaudio"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise OSError('libtorchaudio.so: undefined symbol')\n")
    path = os.pathsep.join([str(broken.parent), str(ROOT)])
    video, output = cut(examples / "ai_woman.mp4", tmp_path / "three.mp4", 3), tmp_path / "out.mp4"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            RUN.format(hide=hide),
            "sync",
            video,
            examples / "speech_en.wav",
            "-o",
            output,
        ],
        env={**os.environ, "PYTHONPATH": path if torchaudio == "broken" else str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with av.open(str(output)) as written:
        assert sum(1 for _ in written.decode(video=0)) == 3
