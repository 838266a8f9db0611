"""What cannot be done is said before any model is loaded, in one line, and leaves nothing."""

from __future__ import annotations

import pytest

from mytalk_core.cli.main import main
from mytalk_core.pipeline.lip_sync import LipSync

REFUSED = [
    (["--expression", "1e9"], "expression must be a number from 0 to 10; got"),
    (["--expression", "nan"], "expression must be a number from 0 to 10; got nan"),
    (["--guidance", "inf"], "guidance must be a number from 0 to 10; got inf"),
    (["--temperature", "2"], "temperature must be a number from 0 to 1; got 2"),
    (["--steps", "0"], "steps must be a whole number from 1 to 1000; got 0"),
    (["--seed", "9" * 30], "seed must be a whole number from"),
    (["--crf", "99"], "a crf of 0..51 was required for h264, but 99 arrived"),
    (["--crf", "-1"], "a crf of 0..51"),
    (["--face", "nobody"], "a face is chosen by largest, left, right, speaking, a number"),
    (["--frame-rate", "25"], "leave the frame rate out"),
    (["--save-mask", "mask.mp4"], "a mask must be lossless"),
]


@pytest.mark.parametrize(("options", "line"), REFUSED, ids=[" ".join(o) for o, _ in REFUSED])
def test_options(tmp_path, monkeypatch, capsys, examples, options, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LipSync, "from_pretrained", lambda *a, **k: pytest.fail("a model was loaded"))
    sources = [str(examples / "ai_woman.mp4"), str(examples / "speech_en.wav")]
    assert main(["sync", *sources, "-o", "out.mp4", *options]) == 1
    said = capsys.readouterr().err.strip()
    assert line in said and "\n" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1/0", "1e999999999", "fast", "1/2/3"])
def test_frame_rates(capsys, rate):
    with pytest.raises(SystemExit):
        main(["sync", "a", "b", "-o", "out.mp4", f"--frame-rate={rate}"])
    assert "a frame rate such as 24 or 30000/1001 was required" in capsys.readouterr().err
