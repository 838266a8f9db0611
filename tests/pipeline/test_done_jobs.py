"""A job is done as long as all that its result follows from is as it was; else it is done again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from job_lists import write_list

from mytalk_core.checkpoint.pretrained import BUNDLED, own_folder
from mytalk_core.pipeline.batch import Loading, Worker
from mytalk_core.pipeline.jobs import Settings, read_jobs


def test_a_new_file_under_the_old_name_is_another_job(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"1")
    listed = write_list(tmp_path / "l.csv", [{"video": "v.mp4", "speech": "s.wav"}])
    made_by = Loading().made_by
    (job,) = read_jobs(listed, None, tmp_path / "out", Settings())
    job.output.touch()
    job.report.write_text(json.dumps({"job": job.facts(made_by)}))
    assert job.is_done(made_by) and not job.is_done(Loading(renderer="network").made_by)
    job.report.write_text(json.dumps({"error": "x", "job": job.facts(made_by)}))
    assert not job.is_done(made_by)
    job.report.write_text(json.dumps({"job": job.facts(made_by)}))
    (tmp_path / "v.mp4").write_bytes(b"22")
    assert not job.is_done(made_by)
    # Nothing could be made anew of a file that was moved away; another name is another video.
    (tmp_path / "v.mp4").rename(tmp_path / "w.mp4")
    assert job.is_done(made_by) and not job.is_done(Loading(renderer="network").made_by)
    assert not replace(job, video=tmp_path / "gone.mp4").is_done(made_by)


@pytest.mark.parametrize("changed", ["s.wav", "mood.mp4"])
def test_another_sound_or_emotion_under_the_old_name_is_another_job(tmp_path, changed):
    (tmp_path / changed).write_bytes(b"1")
    settings = Settings(emotion=tmp_path / "mood.mp4")
    listed, made_by = write_list(tmp_path / "l.csv", [{"video": "v.mp4", "speech": "s.wav"}]), {}
    (job,) = read_jobs(listed, None, tmp_path / "out", settings)
    job.output.touch()
    job.report.write_text(json.dumps({"job": job.facts(made_by)}))
    assert job.is_done(made_by)
    assert not replace(job, settings=Settings()).is_done(made_by)
    (tmp_path / changed).write_bytes(b"22")
    assert not job.is_done(made_by)
    row = {"video": "v.mp4", "speech": "s.wav", "output": "mood.mp4"}
    with pytest.raises(ValueError, match="an output other than the source was required"):
        read_jobs(write_list(tmp_path / "l.csv", [row]), None, tmp_path, settings)


@pytest.mark.parametrize("changed", ["photo.png", "frames/f_2.png"])
def test_new_pictures_under_the_old_names_are_another_job(tmp_path, monkeypatch, changed):
    (tmp_path / "frames").mkdir()
    for name in ("photo.png", "frames/f_1.png", "frames/f_2.png"):
        (tmp_path / name).write_bytes(b"1")
    rows = [
        {"video": "frames", "speech": "s.wav", "output": "a.mp4", "face": "photo:photo.png"},
        {"video": "frames/f_%d.png", "speech": "s.wav", "output": "b.mp4", "face": "mask:photo.png"},
    ]
    listed, made_by = write_list(tmp_path / "l.csv", rows), Loading().made_by
    monkeypatch.chdir("/")  # a list's paths are relative to itself
    for job in read_jobs(listed, None, tmp_path / "out", Settings()):
        job.output.touch()
        job.report.write_text(json.dumps({"job": job.facts(made_by)}))
        before = (tmp_path / changed).read_bytes()
        assert job.is_done(made_by)
        (tmp_path / changed).write_bytes(before + b"2")
        assert not job.is_done(made_by)
    (tmp_path / "photo.png").unlink()
    assert not job.is_done(made_by)
    with pytest.raises(ValueError, match="line 2, a picture was required for 'photo:.*photo.png'"):
        read_jobs(listed, None, tmp_path / "out", Settings())


def test_other_weights_in_a_models_folder_are_another_model(tmp_path, monkeypatch):
    model = tmp_path / "ann"
    saved = shutil.copytree(BUNDLED / "mini" / "space", model / "space") / "config.json"
    loading = Loading(str(model))
    worker, before = Worker(loading), loading.made_by
    saved.write_text(saved.read_text().replace('"sha256": "', '"sha256": "0'))
    assert loading.made_by != before == worker.made_by, "a worker goes by what it has loaded"
    assert "weights" not in Loading().made_by
    monkeypatch.chdir(tmp_path)
    assert own_folder("ann") == model and own_folder("mini") is own_folder("hub:ann/ann") is None


def test_another_dtype_is_asked_for_otherwise():
    assert Loading(dtype="bfloat16").made_by != Loading().made_by == Loading(device="cpu").made_by
