"""`benchmarks/speed.py` runs, and its table has every stage."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from repository import EXAMPLES, ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="CPU seconds of a child are not told there")
def test_the_table_is_written(tmp_path):
    out = tmp_path / "speed.md"
    sources = [str(EXAMPLES / "ai_woman.mp4"), str(EXAMPLES / "speech_en.wav")]
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), *sources, "--quick", "-o", str(out)]
    subprocess.run(command, check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
    text = out.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| 256 px (256x256) | cpu, 1 |"))
    stages = [float(cell) for cell in row.split("|")[3:10]]
    assert all(seconds > 0 for seconds in stages)
    assert stages[5] == pytest.approx(sum(stages[1:5]), abs=3e-4), "the whole is not its stages"
    for row in ("0.2 s", "0.4 s", "1", "2", "`mytalk --help`", "`mytalk sync, one frame`"):
        assert re.search(rf"^\| {re.escape(row)} \| [0-9.]+ \|", text, re.MULTILINE), row
    compared = re.findall(
        r"^\| `(\w+)` \| 256 px \(256x256\) \| [0-9.]+ \| ([0-9.]+) \| ([0-9.]+) \|", text, re.MULTILINE
    )
    assert [name for name, *_ in compared] == ["warp", "network"]
    for _, seconds, times in compared:
        assert float(times) == pytest.approx(float(seconds) / float(compared[0][1]), rel=0.05)


def test_the_table_of_devices_is_written(tmp_path):
    out = tmp_path / "speed.md"
    sources = [str(EXAMPLES / "ai_woman.mp4"), str(EXAMPLES / "speech_en.wav")]
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), *sources, "--quick", "-o", str(out)]
    subprocess.run([*command, "--devices", "cpu"], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
    for renderer in ("warp", "network"):
        rows = [line for line in out.read_text().splitlines() if line.startswith(f"| `{renderer}` |")]
        rates, walls = ([cell.strip() for cell in row.split("|")[2:-1]] for row in rows)
        assert rates[:4] == ["256 px (256x256)", "cpu, 1", "float32", "1"]
        assert all(float(rate) > 0 for rate in rates[4:7])
        assert sum(map(int, rates[7:])) == pytest.approx(100, abs=3)
        assert walls[:2] == rates[:2]
        *stages, whole, prepared, pixels, composite, _ = map(float, walls[2:])
        assert len(stages) == 5 and min(*stages, whole, prepared) > 0
        assert prepared + pixels + composite == pytest.approx(whole, abs=0.03), (
            "the renderer is not its parts"
        )


def test_networks_of_the_published_shape(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import torch
    from wav2lip_shape import FACE_PX, MEL, S3FD, Generator

    generator, detector = Generator().eval(), S3FD().eval()
    # The published files hold 36.3 and 22.5 million numbers.
    assert round(sum(p.numel() for p in generator.parameters()) / 1e6, 1) == 36.3
    assert round(sum(p.numel() for p in detector.parameters()) / 1e6, 1) == 22.5
    with torch.inference_mode():
        made = generator(torch.zeros(1, 1, *MEL), torch.zeros(1, 6, FACE_PX, FACE_PX))
        assert made.shape == (1, 3, FACE_PX, FACE_PX)
        assert [scores.shape[-1] for scores in detector(torch.zeros(1, 3, 64, 64))] == [16, 8, 4, 2, 1, 1]
