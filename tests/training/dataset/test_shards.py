"""Shards: plain tar archives, members at the bytes that were promised, reading from any process."""

from __future__ import annotations

import json
import pickle
import tarfile

import numpy as np
import pytest
import torch
from mytalk_training.dataset.shards import ShardDataset, ShardOffset, ShardWriter, checksum
from safetensors.numpy import save

from mytalk_core.errors import MediaError


def write_dataset(folder, count: int = 6, max_bytes: int = 4000) -> list[dict]:
    """Samples with a JSON and a tensor member each; their rows, as index.jsonl has them."""
    writer, rows = ShardWriter(folder, max_bytes=max_bytes), []
    for number in range(count):
        writer.begin()
        key = f"sample{number}"
        data = {"json": json.dumps({"number": number}).encode()}
        data["track.safetensors"] = save({"x": np.full(50 * number + 1, number, np.int16)})
        members = {name: writer.add(f"{key}.{name}", value) for name, value in data.items()}
        rows.append({"key": key, "shard": writer.name, "members": members})
    writer.close()
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_members_lie_where_the_index_says_and_where_tar_finds_them(tmp_path):
    rows = write_dataset(tmp_path)
    shards = sorted(tmp_path.glob("*.tar"))
    assert len(shards) > 1, "the size limit starts new shards"
    assert shards[0].name == "shard-00000-00000.tar"
    seen = {}
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                seen[member.name] = (shard.name, member.offset_data, member.size, member.mtime)
    dataset = ShardDataset.open(tmp_path)
    assert len(seen) == 2 * len(rows) == 2 * len(dataset)
    for number, row in enumerate(dataset.samples):
        for name, (offset, size) in row["members"].items():
            assert seen[f"{row['key']}.{name}"] == (row["shard"], offset, size, 0)
        assert dataset.facts(row) == {"number": number}
        assert dataset.tensors(row, "track.safetensors")["x"].tolist() == [number] * (50 * number + 1)


def test_what_was_rolled_back_leaves_no_trace(tmp_path):
    for name, detour in (("plain", False), ("detour", True)):
        (tmp_path / name).mkdir()
        writer = ShardWriter(tmp_path / name)
        writer.add("a.json", b"first")
        if detour:
            offset = writer.offset
            writer.add("b.json", b"left out" * 1000)
            writer.roll_back(offset)
        writer.add("c.json", b"third")
        writer.close()
    one, other = (next((tmp_path / name).glob("*.tar")).read_bytes() for name in ("plain", "detour"))
    assert one == other


def test_a_writer_goes_on_from_an_offset_and_overwrites_what_is_behind(tmp_path):
    writer = ShardWriter(tmp_path)
    writer.add("a.json", b"kept")
    offset, crc32 = writer.offset, writer.checksum(0)
    writer.add("b.json", b"cut short by a crash")
    writer.close()
    writer = ShardWriter(tmp_path, at=ShardOffset(offset.shard, offset.position))
    writer.add("c.json", b"written again")
    writer.close()
    path = tmp_path / "shard-00000-00000.tar"
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["a.json", "c.json"]
    assert checksum(path, 0, offset.position) == crc32
    assert checksum(path, 0, path.stat().st_size + 1) == -1


class Numbers(torch.utils.data.Dataset):
    """What a training makes of shards: reads in the worker."""

    def __init__(self, shards: ShardDataset):
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> int:
        return self.shards.facts(self.shards.samples[index])["number"]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_beside_their_parent(tmp_path, start):
    write_dataset(tmp_path, 12)
    shards = ShardDataset.open(tmp_path)
    shards.facts(shards.samples[3])  # The parent's file is open before the workers start.
    loader = torch.utils.data.DataLoader(
        Numbers(shards), batch_size=2, num_workers=2, multiprocessing_context=start
    )
    read = []
    for batch in loader:
        read += batch.tolist()
        shards.facts(shards.samples[0])
    assert read == list(range(12))


def test_open_files_do_not_travel(tmp_path):
    write_dataset(tmp_path)
    shards = ShardDataset.open(tmp_path)
    shards.facts(shards.samples[0])
    copy = pickle.loads(pickle.dumps(shards))
    assert copy.facts(copy.samples[5]) == {"number": 5}


def test_faults_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no index.jsonl: run mytalk prepare FOLDER -o"):
        ShardDataset.open(tmp_path)
    rows = write_dataset(tmp_path, 2)
    shards = ShardDataset.open(tmp_path)
    with pytest.raises(ValueError, match=r"sample sample0 has no member 000001.jpg: it has json, track"):
        shards.read(rows[0], "000001.jpg")
    path = tmp_path / rows[1]["shard"]
    path.write_bytes(path.read_bytes()[: rows[1]["members"]["track.safetensors"][0] + 3])
    with pytest.raises(MediaError, match="shorter than the index says"):
        shards.tensors(rows[1], "track.safetensors")
    (tmp_path / "index.jsonl").write_text('{"key": ')
    with pytest.raises(MediaError, match="index.jsonl is damaged"):
        ShardDataset.open(tmp_path)
