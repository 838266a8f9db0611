"""Models that are not there, or of another version, are refused by the command in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from repository import EXAMPLES

import mytalk_core
from mytalk_core.cli.main import main

MINI = Path(mytalk_core.__file__).parent / "weights" / "mini"


def run(model: str, folder: Path) -> int:
    files = [str(EXAMPLES / "ai_woman.mp4"), str(EXAMPLES / "speech_en.wav"), "-o", str(folder / "out.mp4")]
    return main(["sync", *files, "--model", model])


def test_unknown_model(tmp_path, capsys):
    assert run("maxi", tmp_path) == 1
    line = capsys.readouterr().err.strip()
    assert "maxi" in line and "mini" in line and "\n" not in line


def test_weights_of_another_version(tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(MINI, model)
    config = model / "motion" / "config.json"
    description = json.loads(config.read_text())
    config.write_text(json.dumps(description | {"format_version": 99}))
    assert run(str(model), tmp_path) == 1
    line = capsys.readouterr().err.strip()
    assert "version 99" in line and "update mytalk" in line and "\n" not in line
    assert not (tmp_path / "out.mp4").exists()


def test_a_speech_encoder_with_an_odd_config(tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(MINI, model)
    config = model / "speech" / "config.json"
    description = json.loads(config.read_text())
    for odd in ("x" * 50, [], 1e308):
        config.write_text(json.dumps(description | {"encoder_attention_heads": odd}))
        assert run(str(model), tmp_path) == 1
        line = capsys.readouterr().err.strip()
        assert "speech/config.json: no network can be built" in line and "\n" not in line
