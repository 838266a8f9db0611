"""The preparation of datasets, on real small videos: samples, resuming, sharing out, reading back."""

from __future__ import annotations

import shutil
import tarfile

import numpy as np
import pytest
from made_clips import SHOT_FRAMES, Clips
from mytalk_training.dataset import preparation, prepare
from mytalk_training.dataset.journal import Journal
from mytalk_training.dataset.shards import ShardDataset
from mytalk_training.motion.data import read_clips

from mytalk_core.face.track import FaceTrack
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.motion.person import find_rest, remove_pose


def run(clips: Clips, output, *options: str) -> ShardDataset:
    """Prepare with cached tracks, shots of 1 s and more."""
    command = [str(clips.folder), "-o", str(output), "--tracks", str(clips.tracks), "--min-seconds", "1"]
    prepare.main([*command, "--device", "cpu", *options])
    return ShardDataset.open(output)


def content(dataset: ShardDataset) -> dict[str, bytes]:
    """Every member's bytes, by name."""
    return {
        f"{row['key']}.{member}": dataset.read(row, member)
        for row in dataset.samples
        for member in row["members"]
    }


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory) -> ShardDataset:
    """The clips prepared in one go."""
    return run(clips, tmp_path_factory.mktemp("whole"))


def test_each_shot_is_a_sample_of_its_own(clips, whole):
    rows = {row["key"]: row for row in whole.samples}
    assert list(rows) == ["both_shot000", "both_shot001", "boy", "woman"]
    second = rows["both_shot001"]
    assert second["first_frame"] == SHOT_FRAMES
    assert (second["frames"], second["crops"], second["identity"]) == (SHOT_FRAMES, SHOT_FRAMES, "both")
    # What the second shot shows and says is what the boy's own clip shows, and the speech of just then.
    track = whole.tensors(second, "track.safetensors")
    alone = whole.tensors(rows["boy"], "track.safetensors")
    assert track["landmarks"].dtype == np.float16
    assert np.abs(track["landmarks"].astype(float) - alone["landmarks"].astype(float)).max() < 3
    np.testing.assert_allclose(track["times_s"], np.arange(SHOT_FRAMES) / 25, atol=1e-3)
    spoken = Speech.open(clips.folder / "train" / "both.mp4").mono_16k[SHOT_FRAMES * 640 :]
    speech = whole.tensors(second, "motion.safetensors")["speech"] / 32767
    np.testing.assert_allclose(speech, spoken[: len(speech)], atol=1e-4)


def test_motion_is_the_pipelines_own(clips, whole):
    (woman,) = (clip for clip in read_clips(whole.folder) if clip.name == "woman")
    track = FaceTrack.load(clips.tracks / "woman.safetensors")
    motion = remove_pose(track, find_rest(track), 0, SHOT_FRAMES)
    assert woman.identity == "woman"
    np.testing.assert_allclose(woman.displacement, motion.displacement, atol=1e-3)
    assert np.array_equal(woman.present, motion.present)


def test_a_known_lag_is_taken_out(clips, whole):
    (woman,) = (clip for clip in read_clips(whole.folder) if clip.name == "woman")
    heard = Speech.open(clips.folder / "train" / "woman.mp4").mono_16k
    late = 2 * 640  # 80 ms
    assert not woman.speech[:late].any()
    np.testing.assert_allclose(woman.speech[late:], heard[: len(woman.speech) - late], atol=1e-4)


def test_crops_are_the_canonical_face(clips, whole):
    (row,) = (row for row in whole.samples if row["key"] == "woman")
    assert whole.crop_frames(row).tolist() == list(range(SHOT_FRAMES))
    crop, track = whole.crop(row, 7), whole.tensors(row, "track.safetensors")
    assert crop.shape == (256, 256, 3)
    # The point of the upper lip's middle is redder than the skin beside the nose.
    picture = next(FileClip.open(clips.folder / row["source"]).pictures([7])).rgb
    x, y = track["landmarks"][7, 1].astype(int)
    frame_x, frame_y = FaceTrack.load(clips.tracks / "woman.safetensors").landmarks[7][1, :2].astype(int)
    assert np.abs(crop[y, x].astype(int) - picture[frame_y, frame_x].astype(int)).max() < 16
    assert (track["sharpness"] > 0).all()


def test_archives_hold_every_member_and_no_more(whole):
    names = []
    for path in sorted(whole.folder.glob("shard-*.tar")):
        with tarfile.open(path) as archive:
            names += archive.getnames()
    assert sorted(names) == sorted(content(whole))
    facts = whole.facts(whole.samples[0])
    assert {name: whole.samples[0][name] for name in facts} == facts


def test_an_interrupted_run_goes_on_to_the_same_bytes(clips, whole, tmp_path, monkeypatch, capsys):
    written = []

    def interrupted(rgb, quality, jpeg=preparation.jpeg):
        written.append(rgb)
        if len(written) == 2 * SHOT_FRAMES + 9:  # in the middle of the second source's crops
            raise KeyboardInterrupt
        return jpeg(rgb, quality)

    output = tmp_path / "out"
    monkeypatch.setattr(preparation, "jpeg", interrupted)
    with pytest.raises(SystemExit):
        run(clips, output, "--shard-mb", "1")
    monkeypatch.undo()
    assert "goes on from here" in capsys.readouterr().err
    assert not (output / "index.jsonl").exists()
    monkeypatch.setattr(Journal, "append", lambda self, entry: pytest.exit("killed before the journal"))
    with pytest.raises(pytest.exit.Exception):
        run(clips, output, "--shard-mb", "1")
    monkeypatch.undo()
    with (output / "journal" / "00000.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    resumed = run(clips, output, "--shard-mb", "1")
    plain = run(clips, tmp_path / "plain", "--shard-mb", "1")
    assert content(resumed) == content(whole)
    for name in ("index.jsonl", *(path.name for path in plain.folder.glob("*.tar"))):
        assert (output / name).read_bytes() == (plain.folder / name).read_bytes(), name


def test_finished_sources_are_not_done_again(clips, whole, tmp_path, monkeypatch):
    output = tmp_path / "out"
    shutil.copytree(whole.folder, output)
    monkeypatch.setattr(preparation.DatasetPreparer, "prepare", None)
    again = run(clips, output)
    assert content(again) == content(whole)


@pytest.mark.parametrize(
    "lost", ["journal", "settings.json", "journal and settings.json", "all but report.md"]
)
def test_what_no_journal_knows_is_not_written_over(clips, whole, tmp_path, lost):
    """A dataset that came without its journal, and a folder of something else."""
    output = tmp_path / "out"
    shutil.copytree(whole.folder, output)
    for path in list(output.iterdir()):
        if path.name in lost if "all" not in lost else path.name != "report.md":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="would be written over: name another -o"):
        run(clips, output)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("damage", ["changed byte", "cut", "missing"])
def test_a_damaged_last_shard_is_written_again(clips, whole, tmp_path, damage):
    output = tmp_path / "out"
    shutil.copytree(whole.folder, output)
    shard = output / whole.samples[-1]["shard"]
    if damage == "missing":
        shard.unlink()
    else:
        data = bytearray(shard.read_bytes())
        offset = whole.samples[-1]["members"]["motion.safetensors"][0]
        data[offset + 3] ^= 255
        shard.write_bytes(data if damage == "changed byte" else data[: offset + 3])
    assert content(run(clips, output)) == content(whole)
    assert shard.read_bytes() == (whole.folder / shard.name).read_bytes()


def test_two_processes_make_the_same_samples(clips, whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(FileNotFoundError, match="to its end"):
        run(clips, tmp_path)
    assert "1 of 3 sources are done; other processes have the rest" in capsys.readouterr().out
    monkeypatch.setenv("RANK", "0")
    shared = run(clips, tmp_path)
    assert content(shared) == content(whole)
    assert {row["shard"][:11] for row in shared.samples} == {"shard-00000", "shard-00001"}
    drop = ("shard", "members")
    plain = [{k: v for k, v in row.items() if k not in drop} for row in whole.samples]
    assert [{k: v for k, v in row.items() if k not in drop} for row in shared.samples] == plain
