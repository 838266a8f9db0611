"""The public SyncNet v2 file of tensors becomes our folder, or is refused by name."""

from __future__ import annotations

import pytest
import torch
from mytalk_training.convert.metrics import convert_syncnet

from mytalk_core.errors import WeightsError
from mytalk_core.evaluation.networks.syncnet_v2 import SyncNet, SyncNetConfig

TINY = SyncNetConfig(width=4, outputs=8)


def test_the_public_layout_converts(tmp_path):
    torch.manual_seed(0)
    model = SyncNet(TINY).eval()
    tensors = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "syncnet_v2.model", _use_new_zipfile_serialization=False)
    convert_syncnet(tmp_path / "syncnet_v2.model", TINY).save_pretrained(tmp_path / "syncnet")
    again = SyncNet.from_pretrained(tmp_path / "syncnet")
    cepstra = torch.randn(2, 1, 13, 20)
    torch.testing.assert_close(again.embed_speech(cepstra), model.embed_speech(cepstra))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.model"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="are not SyncNet v2's"):
        convert_syncnet(path, TINY)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        convert_syncnet(path, TINY)
