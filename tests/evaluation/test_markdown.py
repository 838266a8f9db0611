"""What users name stays text in the Markdown reports."""

from __future__ import annotations

import pytest

from mytalk_core.evaluation.markdown import escaped
from mytalk_core.evaluation.report.report import markdown
from mytalk_core.evaluation.study import opinions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clip_02 (a & b).mp4", "clip_02 (a & b).mp4"),
        ("a|b", r"a\|b"),
        ("<img src=x>", r"\<img src=x>"),
        ("*so* __far__ `x`", r"\*so\* \_\_far\_\_ \`x\`"),
        ("[x](y) &lt;", r"\[x\](y) \&lt;"),
        ("two\nlines", "two lines"),
        ("# 1", r"\# 1"),
        ("1. first", r"1\. first"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_what_means_something_in_markdown_is_escaped(text, expected):
    assert escaped(text) == expected


def test_a_hostile_name_is_one_cell_of_the_reports():
    name, shown = "a | <b>\n*x*", r"a \| \<b> \*x\*"
    clip = {"id": name, "notes": [name]}
    metric = {"key": "psnr", "label": "PSNR", "unit": "dB", "better": "higher", "source": name}
    report = {"title": name, "date": "2026-01-02", "machine": "m", "models": {name: "0"}, "every": 1}
    report |= {"systems": [{"name": name, "means": {"psnr": 1.0}, "clips": [clip]}], "metrics": [metric]}
    lines = markdown(report | {"absent": [name], "notes": [name]}).splitlines()
    assert lines[0] == f"# {shown}" and f"{shown}: 0" in lines
    assert f"| metric | {shown} |" in lines
    assert lines.count(f"- {shown}") == 2 and f"- {shown}, {shown}: {shown}" in lines
    assert f"- PSNR: {shown}" in lines
    estimates = tuple(opinions.Estimate(3.0, None) for _ in opinions.RATINGS)
    table = opinions.markdown({name: opinions.SystemOpinion(estimates, 1, 1)}, name).splitlines()
    assert table[0] == f"# {shown}: opinions of the participants"
    assert table[4] == f"| {shown} | 3.00 | 3.00 | 3.00 | 3.00 | 1 | 1 |"
