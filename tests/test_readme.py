"""What the README shows as Python runs as it stands."""

from __future__ import annotations

import re
import runpy
import wave
from pathlib import Path

import pytest
from repository import ROOT

from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["one call", "four stages"])
def test_the_library_as_the_readme_shows_it(block, tmp_path, monkeypatch, examples):
    monkeypatch.chdir(tmp_path)
    copy_untagged(examples / "ai_woman.mp4", tmp_path / "video.mp4", 0.3)
    with wave.open(str(examples / "speech_en.wav")) as whole, wave.open("speech.wav", "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(whole.getframerate()))
    Path("block.py").write_text(block, encoding="utf-8")
    runpy.run_path("block.py")
    source, made = FileClip.open("video.mp4"), FileClip.open("out.mp4")
    assert len(made) > len(source) and made.has_audio, "the video was repeated for the speech"
