"""A template that is opened brings its samples along."""

from __future__ import annotations

import asyncio
import re

from pack_loader import ROOT


def test_samples_are_laid_where_the_workflow_looks_for_them(part, folders):
    templates = part("nodes.templates")
    (folders / "input" / "speech_en.wav").write_bytes(b"my own")
    workflow = ROOT / "workflows" / "Lip sync a video.json"
    asyncio.run(templates.sender(workflow.with_suffix(".jpg"))(None))
    assert not (folders / "input" / "ai_woman.mp4").exists()
    asyncio.run(templates.sender(workflow)(None))
    laid = folders / "input" / "ai_woman.mp4"
    assert laid.read_bytes() == (ROOT / "examples" / "ai_woman.mp4").read_bytes()
    assert (folders / "input" / "speech_en.wav").read_bytes() == b"my own"
    assert sorted(path.name for path in laid.parent.iterdir()) == ["ai_woman.mp4", "speech_en.wav"]


def test_the_page_knows_the_samples_names():
    """It lists the folder anew where a graph names one that it has not seen yet."""
    page = (ROOT / "web" / "samples.js").read_text(encoding="utf-8")
    named = re.findall(r'"([^"]+)"', re.search(r"const SAMPLES = \[(.*?)\]", page).group(1))
    assert sorted(named) == sorted(
        path.name for path in (ROOT / "examples").iterdir() if path.suffix != ".md"
    )
