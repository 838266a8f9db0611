"""The ablation tables: what is measured on pictures, what is said of figures, Table 7 from end to end."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from mytalk_training.dataset.shards import ShardDataset
from mytalk_training.generator.data import GeneratorData, read_picture_clips
from repository import ROOT

from mytalk_core.appearance.networks.generator import AppearanceConfig, Generated
from mytalk_core.appearance.networks.picture_tensors import to_rgb
from mytalk_core.evaluation.networks.metric_networks import Networks

ABLATIONS = ROOT / "benchmarks" / "ablations"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The benchmark's modules, and the installed training programs that they import, for one test only."""
    monkeypatch.syspath_prepend(str(ABLATIONS))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("mytalk_training", "report", "appearance_scores"):
            del sys.modules[name]


def rows_of(*scores: tuple[dict[str, list[float]], dict[str, float]]):
    from report import Row

    return [
        Row(f"variant {number}", {key: np.array(values) for key, values in own.items()}, paper)
        for number, (own, paper) in enumerate(scores)
    ]


def test_rows_are_held_against_the_first_clip_by_clip():
    from report import Column, table

    rows = rows_of(
        ({"psnr": [30.0, 32.0], "fid": [9.0]}, {"psnr": 34.1}),
        ({"psnr": [29.0, 30.0], "fid": [9.5]}, {"psnr": 31.7}),
    )
    lines = table(rows, [Column("psnr", "PSNR ↑", 2, "PSNR ↑"), Column("fid", "FID ↓", 1)])
    assert lines[0] == "| variant | paper: PSNR ↑ | PSNR ↑ | FID ↓ |"
    assert lines[2] == "| variant 0 | 34.1 | 31.00 | 9.0 |"
    # Differences of -1 and -2: their mean, and its standard error of 0.5; one FID for all clips has none.
    assert lines[3] == "| variant 1 | 31.7 | 29.50 (-1.50 ± 0.50) | 9.5 (+0.5) |"


def test_agreement_counts_signs_and_says_what_is_clear():
    from report import Column, agreement

    rows = rows_of(
        ({"psnr": [30.0, 30.0, 30.0]}, {"psnr": 34.0}),
        ({"psnr": [29.0, 29.1, 28.9]}, {"psnr": 31.0}),
        ({"psnr": [31.0, 31.1, 30.9]}, {"psnr": 32.0}),
        ({"psnr": [29.0, 31.5, 29.2]}, {"psnr": 33.0}),
    )
    said = agreement(rows, [Column("psnr", "PSNR, dB ↑", 2, "PSNR ↑")])
    assert said.startswith("PSNR moves as the paper's PSNR does in 2 of 3")
    assert said.endswith("(1 beyond two standard errors; 1 clearly the other way).")


def test_pictures_are_measured_where_they_are_new(dataset):
    from appearance_scores import judge

    shards = ShardDataset.open(dataset)
    config = AppearanceConfig(size=64, landmark_layout="mesh478", width=8, groups=4)
    data = GeneratorData(shards, read_picture_clips(shards, 3), config, seed=0, vary=False)

    def grey(references, non_lip, landmark_image):
        return Generated(torch.zeros_like(non_lip), None, None)

    found = judge(grey, data, 3, Networks(reader=None))
    assert found.keys() == {"psnr"} and len(found["psnr"]) == 3
    batch = data.draw([0])
    mask, truth = batch.mask[0, 0], batch.truth[0, 0]
    made = to_rgb((1 - mask) * truth)
    error = (made.astype(float) - to_rgb(truth))[mask.numpy() > 0]
    assert found["psnr"][0] == pytest.approx(10 * np.log10(255**2 / np.square(error).mean()))


def test_table_7_from_end_to_end_and_again(dataset, tmp_path):
    sizes = "--picture-steps 1 --picture-batch 1 --picture-size 32 --picture-width 8 --picture-frames 4"
    folders = [str(dataset), str(dataset), "--work", str(tmp_path / "work"), "-o", str(tmp_path / "table.md")]
    command = [sys.executable, str(ABLATIONS), *folders, "--only", "none", *sizes.split()]
    begun = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert begun.returncode == 0, begun.stderr
    text = (tmp_path / "table.md").read_text()
    for label in ("ours: three masked references", "one whole reference", "one masked reference"):
        assert label in text
    assert "Here: PSNR in the mask moves as the paper's PSNR does in" in text
    again = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert "step 1 train" in begun.stdout and "step 1 train" not in again.stdout
    assert (tmp_path / "table.md").read_text() == text
