"""Many videos: each once, whatever is killed; one that fails stops no other; nothing outside the folder."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job_lists import write_list
from repository import EXAMPLES, ROOT

from mytalk_core.cli import batch as command
from mytalk_core.cli.main import main
from mytalk_core.files import alone
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.media.threads import available_cores
from mytalk_core.pipeline import LipSync
from mytalk_core.pipeline.batch import (
    LOCK,
    Loading,
    Outcome,
    Worker,
    WorkerLost,
    WorkerReady,
    run_batch,
    workers_here,
)
from mytalk_core.pipeline.jobs import COLUMNS, Job, Settings, read_jobs, under_free_names
from mytalk_core.pipeline.processes import Processes

posix = pytest.mark.skipif(sys.platform == "win32", reason="kills by signals, and has locks")


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """Two talking clips of a few frames, one that is cut off, and a speech."""
    folder = tmp_path_factory.mktemp("media")
    for name, source in (("a", "ai_woman"), ("b", "cartoon_boy")):
        copy_untagged(EXAMPLES / f"{source}.mp4", folder / f"{name}.mp4", 0.12)
    whole = (folder / "a.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    shutil.copy(EXAMPLES / "speech_en.wav", folder / "s.wav")
    return folder


def twenty(media: Path) -> list[dict[str, str]]:
    """Twenty rows, two of them damaged: the seventh and the last."""
    rows = [
        {"video": str(media / f"{'ab'[n % 2]}.mp4"), "speech": str(media / "s.wav"), "output": f"{n:02}.mp4"}
        for n in range(20)
    ]
    rows[6]["video"], rows[19]["speech"] = str(media / "cut.mp4"), str(media / "gone.wav")
    return rows


def videos(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.mp4"))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@posix
def test_twenty_jobs_two_damaged_killed_and_run_again(media, tmp_path, capsys):
    listed = write_list(tmp_path / "list.csv", twenty(media))
    out = tmp_path / "out"
    line = [sys.executable, "-m", "mytalk_core", "batch", str(listed), "-o", str(out), "--workers", "2"]
    first = subprocess.Popen(line, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    ends = time.monotonic() + 300
    while len(list(out.glob("*.mp4.json"))) < 5 and time.monotonic() < ends:
        time.sleep(0.02)
    first.kill()
    first.wait()
    # Its workers end with it, else they would do what the next run does.
    while alive(first.pid) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not alive(first.pid)
    done = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4") if Path(f"{path}.json").is_file()}
    assert 3 <= len(done) < 18

    again = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 1 and "2 of 20 videos failed" in again.stderr
    summary = again.stdout.split(f"{out}: ")[1].splitlines()
    assert summary[0] == f"{18 - len(done)} made, {len(done)} were there, 2 failed"
    assert len(summary) == 3
    assert any("line 8: a complete video was required" in text for text in summary)
    assert any("line 21: a sound file was required" in text for text in summary)
    assert videos(out) == [f"{n:02}.mp4" for n in range(20) if n not in (6, 19)]
    assert {path: path.stat().st_mtime_ns for path in done} == done, "a job was done twice"
    assert len(list(out.glob("*.json"))) == 20
    assert sorted(path.suffix for path in out.iterdir()) == [".json"] * 20 + [".mp4"] * 18, "leftovers"
    report = json.loads((out / "00.mp4.json").read_text())
    assert report["frames"] == len(FileClip.open(out / "00.mp4")) and report["job"]["crf"] == 18

    # Another option makes that row anew, and no other.
    rows = twenty(media)
    rows[3]["crf"] = "30"
    del rows[6], rows[18]
    write_list(listed, rows)
    assert main(["batch", str(listed), "-o", str(out), "--workers", "1"]) == 0
    assert f"{out}: 1 made, 17 were there, 0 failed" in capsys.readouterr().out
    assert json.loads((out / "03.mp4.json").read_text())["job"]["crf"] == 30


class Deadly(Job):
    """A job whose worker ends before it can answer."""

    def __reduce__(self):
        return os._exit, (7,)


def test_a_worker_that_dies_costs_its_own_job_only(media, tmp_path):
    listed = write_list(tmp_path / "list.csv", twenty(media)[:2])
    jobs = read_jobs(listed, None, tmp_path / "out", Settings())
    jobs[0] = Deadly(**vars(jobs[0]))
    outcomes = [(job.output.name, outcome) for job, outcome in run_batch(jobs, Processes(), Loading(), 1)]
    assert [name for name, _ in outcomes] == ["00.mp4", "01.mp4"]
    assert "its worker process ended with code 7" in outcomes[0][1].error
    assert outcomes[1][1].error is None and videos(tmp_path / "out") == ["01.mp4"]
    assert "code 7" in json.loads((tmp_path / "out" / "00.mp4.json").read_text())["error"]


@posix
def test_ctrl_c_while_a_worker_loads_is_no_traceback(capfd):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        engine = Processes()
        member = engine.start(Loading())
        os.kill(member.process.pid, signal.SIGINT)
        ((_, answer),) = engine.wait([member])
        assert isinstance(answer, WorkerLost) and member.process.exitcode == 0
    finally:
        signal.signal(signal.SIGINT, before)
        engine.stop(member)
    assert capfd.readouterr().err == ""


class Answering:
    """An engine whose members do nothing, and say what they are told to."""

    def __init__(self, *answers):
        self.answers, self.started, self.stopped = list(answers), 0, 0

    def start(self, loading):
        self.started += 1
        return self.started

    def give(self, member, job):
        pass

    def wait(self, members):
        return [(members[0], self.answers.pop(0))]

    def stop(self, member):
        self.stopped += 1


def test_who_met_the_unforeseen_is_replaced(media, tmp_path):
    jobs = read_jobs(write_list(tmp_path / "l.csv", twenty(media)[:3]), None, tmp_path / "out", Settings())
    spent = Outcome("RuntimeError: no memory", spent=True)
    engine = Answering(WorkerReady(), spent, WorkerReady(), Outcome(), Outcome())
    said = [outcome.error for _, outcome in run_batch(jobs, engine, Loading(), 1)]
    assert said == ["RuntimeError: no memory", None, None]
    assert engine.started == engine.stopped == 2
    for answer in (WorkerReady("no such model"), WorkerLost("no such model")):
        engine = Answering(answer)
        with pytest.raises(ValueError, match="no such model"):
            list(run_batch(jobs, engine, Loading(), 1))
        assert engine.stopped == 1
    engine = Answering(WorkerReady(), Outcome())
    next(running := run_batch(jobs, engine, Loading(), 1))
    running.close()
    assert engine.stopped == 1, "who stops listening leaves a worker behind"


@posix
def test_one_run_a_folder(media, tmp_path):
    jobs = read_jobs(write_list(tmp_path / "l.csv", twenty(media)[:1]), None, tmp_path, Settings())
    code = (
        "import sys; from mytalk_core.files import alone\n"
        "with alone(sys.argv[1], 'x'): print(1, flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(ValueError, match="another run works in"):
            list(run_batch(jobs, Answering(), Loading(), 1))
        other.send_signal(signal.SIGKILL)
    with alone(tmp_path / LOCK, "x"):
        pass
    assert not (tmp_path / LOCK).exists()


REFUSED = [
    ([{"output": "../evil.mp4"}], "line 2, output: a plain file name was required, no path"),
    ([{"output": "/tmp/evil.mp4"}], "line 2, output: a plain file name was required, no path"),
    ([{"output": "x.mp4"}, {"output": "x.mp4"}], "line 3, output: a file of its own was required"),
    ([{"output": "x.gif"}], "line 2: an output ending in .mp4"),
    ([{"output": "x.mp4.json"}], "line 2: an output ending in .mp4"),
    ([{}, {"video": "b.mp4", "output": "a.mp4"}], "line 3, output: a file of its own was required"),
    ([{"video": ""}], "line 2: a video was required, but none arrived"),
    ([{"crf": "99"}], "line 2: a crf of 0..51 was required"),
    ([{"crf": "30", "codec": "ffv1", "output": "x.mkv"}], "line 2, crf: it does nothing here, for only h264"),
    (
        [{"emotion_strength": "0.5"}],
        "line 2, emotion_strength: it does nothing here, for there is no emotion",
    ),
    ([{"crf": "low"}], "line 2, crf: a whole number was required; got 'low'"),
    ([{"steps": "0"}], "line 2, steps must be a whole number from 1"),
    ([{"temperature": "nan"}], "line 2, temperature must be a number from 0 to 1"),
    ([{"sync_mode": "backwards"}], "line 2, a sync mode of"),
    ([{"face": "nobody"}], "line 2, a face is chosen by"),
    ([{"frame_rate": "0"}], "line 2, frame_rate: a frame rate such as 24"),
    ([{"model": "other"}], "line 2: columns of video, speech, output, steps"),
    ([], "a first line with the columns video and speech"),
]


@pytest.mark.parametrize(("rows", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_list_that_is_not_right_is_one_line_before_any_work(
    media, tmp_path, monkeypatch, capsys, rows, said
):
    monkeypatch.setattr(command, "_engine", lambda *_: pytest.fail("work began"))
    rows = [{"video": str(media / "a.mp4"), "speech": str(media / "s.wav")} | row for row in rows]
    listed = write_list(tmp_path / "list.csv", rows)
    assert main(["batch", str(listed), "-o", str(tmp_path / "out")]) == 1
    line = capsys.readouterr().err.strip()
    assert said in line and "\n" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ('a.mp4,s.wav,"x.mp4\n' + "a.mp4,s.wav,y.mp4\n" * 9000, "quotes closed"),
        ("a.mp4,s.wav,x.mp4,more\n", "3 cells were required"),
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_row(tmp_path, cells, said):
    (tmp_path / "l.csv").write_text(f"video,speech,output\n{cells}")
    with pytest.raises(ValueError, match=said):
        read_jobs(tmp_path / "l.csv", None, tmp_path / "out", Settings())


def test_a_column_of_a_list_is_there_once(tmp_path):
    (tmp_path / "l.csv").write_text("video,speech,video\na.mp4,s.wav,b.mp4\n")
    with pytest.raises(ValueError, match="'video' arrived more than once"):
        read_jobs(tmp_path / "l.csv", None, tmp_path / "out", Settings())


def test_an_output_never_replaces_an_input(media, tmp_path, capsys):
    folder = shutil.copytree(media, tmp_path / "media")
    before = (folder / "a.mp4").read_bytes()
    listed = write_list(folder / "list.csv", [{"video": "b.mp4", "speech": "s.wav", "output": "a.mp4"}])
    rows = [{"video": "a.mp4", "speech": "s.wav", "output": "c.mp4"}, *csv.DictReader(listed.open())]
    write_list(listed, rows)
    assert main(["batch", str(listed), "-o", str(folder)]) == 1
    assert "an output other than the source was required" in capsys.readouterr().err
    assert (folder / "a.mp4").read_bytes() == before


def test_json_lines_say_the_same(media, tmp_path):
    rows = [
        {"video": "v/a.mp4", "speech": "s.wav", "crf": 20, "temperature": 0.5},
        {"video": "b.mov", "speech": "s"},
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_list(tmp_path / "list.csv", [{key: str(value) for key, value in row.items()} for row in rows])
    found = [
        read_jobs(tmp_path / f"list.{kind}", None, tmp_path / "out", Settings(crf=30))
        for kind in ("csv", "jsonl")
    ]
    plain = [[{**vars(job), "where": ""} for job in jobs] for jobs in found]
    assert plain[0] == plain[1]
    first, second = found[0]
    assert first.video == tmp_path / "v" / "a.mp4" and first.output == tmp_path / "out" / "a.mp4"
    assert (first.settings.crf, first.settings.options.temperature) == (20, 0.5)
    assert second.settings == Settings(crf=30) and second.output.name == "b.mp4"


def test_two_folders_are_paired_by_name(media, tmp_path):
    faces, voices = tmp_path / "faces", tmp_path / "voices"
    for folder in (faces, voices):
        folder.mkdir()
    for name in ("one.mp4", "two.mov", ".hidden.mp4", "note.txt"):
        (faces / name).touch()
    for name in ("one.wav", "two.mp3", "three.wav"):
        (voices / name).touch()
    jobs = read_jobs(faces, voices, tmp_path / "out", Settings())
    assert [(job.video.name, job.speech.name, job.output.name) for job in jobs] == [
        ("one.mp4", "one.wav", "one.mp4"),
        ("two.mov", "two.mp3", "two.mp4"),
    ]
    (voices / "two.mp3").unlink()
    with pytest.raises(ValueError, match="one speech of its name was required .* but none arrived"):
        read_jobs(faces, voices, tmp_path / "out", Settings())
    with pytest.raises(ValueError, match="name the folder of the speeches behind it"):
        read_jobs(faces, None, tmp_path / "out", Settings())


def test_a_mask_is_an_input_that_no_output_replaces(media, tmp_path):
    mask = shutil.copy(media / "a.mp4", tmp_path / "mask.mp4")
    row = {"video": str(media / "b.mp4"), "speech": "s.wav", "output": mask.name, "face": f"mask:{mask.name}"}
    with pytest.raises(ValueError, match="an output other than the source was required"):
        read_jobs(write_list(tmp_path / "l.csv", [row]), None, tmp_path, Settings())


def test_an_output_that_is_not_what_was_made_is_made_again(media, tmp_path):
    (job,) = read_jobs(write_list(tmp_path / "l.csv", twenty(media)[:1]), None, tmp_path / "out", Settings())
    worker = Worker(Loading(), model=LipSync.from_pretrained("mini"))
    assert worker.do(job).error is None and job.is_done(worker.made_by)
    # Killed between the two names: another job's output beside the report of before.
    job.output.write_bytes(job.output.read_bytes()[:-1])
    assert not job.is_done(worker.made_by)


def test_weights_that_tell_people_apart_are_every_workers(media, tmp_path, capsys):
    listed = write_list(tmp_path / "list.csv", twenty(media)[:1])
    gone = tmp_path / "gone.onnx"
    line = ["batch", str(listed), "-o", str(tmp_path / "out"), "--workers", "1", "--recognition", str(gone)]
    assert main(line) == 1
    assert f"weights of a face recognition network were required at {gone}" in capsys.readouterr().err
    assert Loading(recognition=str(gone)).made_by != Loading().made_by


def test_a_long_list_is_read_in_no_time(tmp_path):
    rows = [{"video": f"{n}.mp4", "speech": f"{n}.wav"} for n in range(3000)]
    begin = time.process_time()
    assert len(read_jobs(write_list(tmp_path / "l.csv", rows), None, tmp_path / "out", Settings())) == 3000
    assert time.process_time() - begin < 20, "every output is compared with every other"


def test_workers_suit_the_machine():
    assert workers_here(1, 0) == 1 and workers_here(100, 4) == 4
    assert 1 <= workers_here(1000, 0) <= available_cores()


def test_the_help_names_every_column(capsys):
    with pytest.raises(SystemExit):
        main(["batch", "--help"])
    said = capsys.readouterr().out.split("a list is CSV")[1]
    assert [name for name in COLUMNS if name not in said] == []


def test_one_speech_is_every_videos(media, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    for name in ("one.mp4", "two.mov"):
        (faces / name).touch()
    jobs = read_jobs(faces, media / "s.wav", tmp_path / "out", Settings(), ".mov")
    assert [(job.speech, job.output.name) for job in jobs] == [
        (media / "s.wav", "one.mov"),
        (media / "s.wav", "two.mov"),
    ]
    with pytest.raises(FileNotFoundError, match="a file that every video says, was required"):
        read_jobs(faces, media / "gone.wav", tmp_path / "out", Settings())


def test_no_file_is_replaced_where_free_names_are_asked_for(media, tmp_path):
    faces, out = tmp_path / "faces", tmp_path / "out"
    faces.mkdir()
    for name in ("a.mp4", "a_2.mov", "b.mp4", "c.mp4", "d.mp4"):
        (faces / name).touch()
    made_by = Loading().made_by

    def names(settings: Settings) -> list[str]:
        jobs = read_jobs(faces, media / "s.wav", out, settings)
        return [job.output.name for job in under_free_names(jobs, made_by)]

    first = names(Settings())
    assert first == ["a.mp4", "a_2.mp4", "b.mp4", "c.mp4", "d.mp4"]
    jobs = read_jobs(faces, media / "s.wav", out, Settings())
    for job in jobs[:3]:
        job.output.touch()
        job.report.write_text(json.dumps({"job": job.facts(made_by)}))
    jobs[3].report.write_text(json.dumps({"error": "it failed"}))
    jobs[4].report.write_text("somebody's own")
    assert names(Settings()) == [*first[:4], "d_2.mp4"], "what is done or failed keeps its name"
    # Another setting is another result, and no other video's name is taken from it.
    assert names(Settings(crf=30)) == ["a_3.mp4", "a_2_2.mp4", "b_2.mp4", "c.mp4", "d_2.mp4"]


def test_a_worker_of_a_host_ends_by_its_cancel_and_leaves_nothing(media, tmp_path):
    class CancelError(Exception):
        """A host's."""

    def cancel(stage: str, done: int, total: int) -> None:
        raise CancelError

    (job,) = read_jobs(write_list(tmp_path / "l.csv", twenty(media)[:1]), None, tmp_path / "out", Settings())
    with pytest.raises(CancelError):
        Worker(Loading(), model=LipSync.from_pretrained("mini"), ends=CancelError, progress=cancel).do(job)
    assert list((tmp_path / "out").iterdir()) == []
    again = Worker(Loading(), model=LipSync.from_pretrained("mini"), progress=cancel)
    assert again.do(job).error == "CancelError:", "any other error is the job's own"
