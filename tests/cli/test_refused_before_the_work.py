"""What cannot be done is said before any model is loaded, in one line, and leaves nothing."""

from __future__ import annotations

import pytest

from mytalk_core.cli.main import main
from mytalk_core.face import reader
from mytalk_core.pipeline import LipSync

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


@pytest.mark.parametrize(
    ("outputs", "line"),
    [
        (["-o", "mesh.mp4"], "-o: a name ending in .safetensors was required, but 'mesh.mp4' arrived"),
        (["-o", "t.safetensors", "--preview", "mesh.gif"], "an output ending in .mp4"),
    ],
)
def test_names_of_landmarks(tmp_path, monkeypatch, capsys, examples, outputs, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reader, "load_face_reader", lambda *a, **k: pytest.fail("a model was loaded"))
    (tmp_path / "mesh.mp4").write_text("a video of the user's")
    assert main(["landmarks", str(examples / "ai_woman.mp4"), *outputs]) == 1
    assert line in capsys.readouterr().err
    assert (tmp_path / "mesh.mp4").read_text() == "a video of the user's"


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1/0", "1e999999999", "fast", "1/2/3"])
def test_frame_rates(capsys, rate):
    with pytest.raises(SystemExit):
        main(["sync", "a", "b", "-o", "out.mp4", f"--frame-rate={rate}"])
    assert "a frame rate such as 24 or 30000/1001 was required" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sync", "", "b", "-o", "out.mp4"], "mytalk sync: argument video: a path was required"),
        (["sync", "a", "b", "-o", ""], "mytalk sync: argument -o/--output: a path was required"),
        (["sync", "a", "b", "-o", "c.mp4", "--steps", "x"], "mytalk sync: argument --steps: invalid int"),
        (["adapt", "", "-o", "c"], "mytalk adapt: argument video: a path was required"),
        ([], "mytalk: the following arguments are required: COMMAND; see mytalk --help"),
    ],
)
def test_what_is_no_command_is_one_line(capsys, arguments, line):
    """An empty path, as of a variable that is not set, is not the current folder with its pictures."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.startswith(line) and said.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("sync a b -o c.mov --codec prores", "--crf 30"),
        ("batch a b -o c --codec copy", "--crf 30"),
        ("sync a b -o c.mp4", "--emotion-strength 0.5"),
        ("prepare a -o b --no-crops", "--crop-px 512"),
        ("prepare a -o b --sync off", "--min-confidence 0.5"),
        ("benchmark a -o b --protocol paired --no-evaluation", "--every 5"),
        ("study --collect a --key b", "--title Voices"),
        ("study a -o b", "--key c"),
        ("weights push a b --licence mit", "--splits train2"),
    ],
)
def test_an_option_that_nothing_reads_is_one_line(tmp_path, monkeypatch, capsys, command, option):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(f"{command} {option}".split())
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1
    assert f"argument {option.split()[0]}: it does nothing here, for " in said
    assert not list(tmp_path.iterdir())
