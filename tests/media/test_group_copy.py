"""Codec copy: groups of pictures without a change stay the source's packets, and all of it decodes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_media import Sound, decoded_frames, write_video

from mytalk_core.errors import MediaError
from mytalk_core.media.container import open_media, video_stream
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.group_copy import OLDEST_PYAV
from mytalk_core.media.groups import Groups, decoding_stamps
from mytalk_core.media.nal_units import (
    H264,
    HEVC,
    Header,
    escaped,
    joined,
    numbered,
    set_number,
    split,
    unescaped,
)
from mytalk_core.media.patch import Patch, paste
from mytalk_core.media.pixels import planes_of
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.media.writer import VideoWriter

copying = pytest.mark.skipif(
    int(av.__version__.split(".")[0]) < OLDEST_PYAV, reason="codec copy is refused, as the last test shows"
)
GROUP = 10
H264_GROUPS = {"g": str(GROUP), "sc_threshold": "0"}
QUIET = "log-level=none:scenecut=0"
HEVC_CLOSED = {"g": str(GROUP), "preset": "ultrafast", "x265-params": f"{QUIET}:open-gop=0"}
HEVC_OPEN = {"g": str(GROUP), "preset": "veryfast", "x265-params": f"{QUIET}:bframes=3"}
# In the second and the last of four groups.
CHANGED = (12, 33)
UNEVEN = np.cumsum([0, *np.random.default_rng(0).integers(1500, 7000, 39)]).tolist()


def copied(source: Path, output: Path, changed: tuple[int, ...] = CHANGED, timeline=None) -> str:
    """Write the source with a red patch in some frames; what the writer says of it."""
    clip = FileClip.open(source)
    timeline = timeline or plan_timeline(clip, clip.duration_s)
    speech = clip.speech() if clip.has_audio else None
    patch = Patch(8, 8, np.full((32, 32, 3), (200, 30, 40), np.uint8), np.ones((32, 32), np.float32))
    writer = VideoWriter(output, clip, codec="copy", timeline=timeline, speech=speech)
    with writer:
        for number, picture in enumerate(clip.pictures(timeline.source_index)):
            is_changed = number in changed
            writer.write(paste(picture, [patch]) if is_changed else picture, is_changed)
    assert writer.copied is not None
    return writer.copied


def units_by_time(path: Path) -> list[tuple[float, tuple[bytes, ...]]]:
    """When each frame is shown, seconds from the first, and the NAL units it is made of."""
    with open_media(path, "a video") as container:
        stream = video_stream(container, path)
        syntax = H264 if stream.codec_context.name == "h264" else HEVC
        length_bytes = Header.of(stream.codec_context.extradata, syntax).length_bytes
        packets = [packet for packet in container.demux(stream) if packet.size]
        dts = [packet.dts for packet in packets if packet.dts is not None]
        assert all(early < late for early, late in zip(dts, dts[1:], strict=False))
        assert all(packet.dts is None or packet.dts <= packet.pts for packet in packets)
        shown = sorted(
            (float(p.pts * p.time_base), tuple(split(bytes(p), length_bytes)))
            for p in packets
            if not p.is_discard
        )
    return [(time - shown[0][0], units) for time, units in shown]


def is_same(first: av.VideoFrame, second: av.VideoFrame) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(planes_of(first), planes_of(second), strict=True))


CASES = {
    "mp4": ("a.mp4", ".mp4", {"options": H264_GROUPS}),
    "mp4 to mkv": ("a.mp4", ".mkv", {"options": H264_GROUPS}),
    "mkv to mov": ("a.mkv", ".mov", {"options": H264_GROUPS}),
    "start codes": ("a.ts", ".mp4", {"options": H264_GROUPS}),
    "start codes to mkv": ("a.ts", ".mkv", {"options": H264_GROUPS}),
    "in order": ("a.mp4", ".mp4", {"options": H264_GROUPS | {"bf": "0"}}),
    "one b frame deep": ("a.mp4", ".mp4", {"options": H264_GROUPS | {"x264-params": "b-pyramid=none"}}),
    "baseline": ("a.mp4", ".mp4", {"options": H264_GROUPS | {"profile": "baseline"}}),
    "main": ("a.mp4", ".mp4", {"options": H264_GROUPS | {"profile": "main"}}),
    "ten bits": (
        "a.mp4",
        ".mp4",
        {"options": H264_GROUPS, "pix_fmt": "yuv420p10le", "colour": (9, 1, 9, 18)},
    ),
    "full range": ("a.mp4", ".mp4", {"options": H264_GROUPS, "pix_fmt": "yuvj420p"}),
    "uneven": ("a.mp4", ".mp4", {"options": H264_GROUPS, "pts": UNEVEN, "time_base": Fraction(1, 90000)}),
    "uneven to mkv": (
        "a.mp4",
        ".mkv",
        {"options": H264_GROUPS, "pts": UNEVEN, "time_base": Fraction(1, 90000)},
    ),
    "late": ("a.mkv", ".mkv", {"options": H264_GROUPS, "pts": list(range(25, 65))}),
    "turned": ("a.mp4", ".mp4", {"options": H264_GROUPS, "rotation": 90}),
    "turned to mkv": ("a.mp4", ".mkv", {"options": H264_GROUPS, "rotation": 270}),
    "turned 4:2:2": ("a.mp4", ".mp4", {"options": H264_GROUPS, "rotation": 90, "pix_fmt": "yuv422p"}),
    "fields": (
        "a.mkv",
        ".mkv",
        {"options": H264_GROUPS | {"flags": "+ildct+ilme", "x264-params": "tff=1"}, "size": (64, 64)},
    ),
    "sound": ("a.mp4", ".mp4", {"options": H264_GROUPS, "sound": Sound()}),
    "hevc": ("a.mp4", ".mp4", {"codec": "libx265", "options": HEVC_CLOSED}),
    "hevc to mkv": ("a.mp4", ".mkv", {"codec": "libx265", "options": HEVC_CLOSED}),
    "hevc, ten bits": (
        "a.mp4",
        ".mp4",
        {"codec": "libx265", "options": HEVC_CLOSED, "pix_fmt": "yuv420p10le"},
    ),
    "hevc, start codes": ("a.ts", ".mp4", {"codec": "libx265", "options": HEVC_CLOSED}),
}


@copying
@pytest.mark.parametrize("name", CASES)
def test_groups_without_a_change_stay_as_they_are(tmp_path, name):
    file, suffix, spec = CASES[name]
    source, output = write_video(tmp_path / file, **spec), tmp_path / f"out{suffix}"
    assert copied(source, output).startswith("20 of 40 frames are the source's own packets (2 of 4 groups")

    before, after = FileClip.open(source), FileClip.open(output)
    assert len(after) == 40 and np.abs(after.times_s - before.times_s).max() < 1.1e-3
    for fact in ("height", "width", "rotation", "format_name", "colour", "field_order"):
        assert getattr(after, fact) == getattr(before, fact)
    known, written = units_by_time(source), units_by_time(output)
    for number, (old, new) in enumerate(zip(decoded_frames(source), decoded_frames(output), strict=True)):
        is_kept = number // GROUP in (0, 2)
        assert (known[number][1] == written[number][1]) == is_kept
        if is_kept:
            assert is_same(old, new)
        else:
            # Below the patch.
            apart = planes_of(old)[0][40:].astype(float) - planes_of(new)[0][40:]
            assert np.abs(apart).mean() < 2.5 * (4 if "10" in before.format_name else 1)


@copying
def test_changed_frames_show_the_change(tmp_path):
    source, output = write_video(tmp_path / "a.mp4", options=H264_GROUPS, rotation=90), tmp_path / "out.mp4"
    copied(source, output)
    for number, picture in enumerate(FileClip.open(output).pictures()):
        red = picture.rgb[18:30, 18:30].reshape(-1, 3).mean(0)
        assert (np.abs(red - (200, 30, 40)).max() < 12) == (number in CHANGED)


@copying
def test_leading_pictures_of_an_encoded_group_are_encoded_too(tmp_path):
    source = write_video(tmp_path / "a.mp4", codec="libx265", options=HEVC_OPEN)
    groups = Groups.of(FileClip.open(source)).groups
    assert len(groups) == 4 and [group.is_open for group in groups] == [False, True, True, True]
    lead = groups[2].lead
    assert lead > 0
    said = copied(source, tmp_path / "out.mp4", changed=(12,))
    own = groups[1].frames[0] - groups[1].lead + 40 - groups[2].frames[0]
    assert said.startswith(f"{own} of 40 frames")
    known, written = units_by_time(source), units_by_time(tmp_path / "out.mp4")
    old, new = decoded_frames(source), decoded_frames(tmp_path / "out.mp4")
    assert len(new) == 40
    for number in [*range(groups[0].frames[1] - groups[1].lead), *range(groups[2].frames[0], 40)]:
        assert is_same(old[number], new[number])
        if number != groups[2].frames[0]:
            assert known[number][1] == written[number][1]
    # The first picture behind the encoded ones says that it forgets them, in its type alone.
    first = groups[2].frames[0]
    for was, now in zip(known[first][1], written[first][1], strict=True):
        assert was[1:] == now[1:] and (HEVC.type_of(was), HEVC.type_of(now)) in ((21, 18), (39, 39), (35, 35))


@copying
def test_a_file_without_a_change_is_copied_whole_and_one_group_is_encoded_whole(tmp_path):
    source = write_video(tmp_path / "a.mp4", options={"g": "1000", "sc_threshold": "0"})
    assert copied(source, tmp_path / "out.mp4", changed=()).startswith("40 of 40 frames")
    assert [units for _, units in units_by_time(source)] == [
        units for _, units in units_by_time(tmp_path / "out.mp4")
    ]
    said = copied(source, tmp_path / "out.mp4", changed=(39,))
    assert said.startswith("0 of 40 frames are the source's own packets (0 of 1 groups") and "at crf" in said
    assert len(decoded_frames(tmp_path / "out.mp4")) == 40


@copying
def test_a_group_that_is_cut_is_encoded(tmp_path):
    source = write_video(tmp_path / "a.mp4", options=H264_GROUPS)
    clip = FileClip.open(source)
    said = copied(source, tmp_path / "out.mp4", (), plan_timeline(clip, 1.0, "cut_off"))
    assert said.startswith("20 of 25 frames are the source's own packets (2 of 3 groups")
    assert len(decoded_frames(tmp_path / "out.mp4")) == 25


@copying
@pytest.mark.parametrize(
    ("spec", "sync_mode", "why"),
    [
        ({"options": H264_GROUPS}, "loop", "choose sync mode silence or cut_off"),
        ({"options": H264_GROUPS}, "remap", "choose sync mode silence or cut_off"),
        ({"codec": "mpeg4"}, "silence", "its pictures are mpeg4"),
    ],
)
def test_what_cannot_be_copied_is_said_before_any_work(tmp_path, spec, sync_mode, why):
    clip = FileClip.open(write_video(tmp_path / "a.mp4", **spec))
    with pytest.raises(MediaError, match=why):
        VideoWriter(tmp_path / "o.mp4", clip, codec="copy", timeline=plan_timeline(clip, 3, sync_mode))
    with pytest.raises(MediaError, match="copy goes into"):
        VideoWriter(tmp_path / "o.webm", clip, codec="copy")
    assert not (tmp_path / "o.mp4").exists()


@copying
def test_parameter_sets_that_change_on_the_way_are_refused(tmp_path):
    parts = [
        write_video(tmp_path / f"{profile}.ts", options=H264_GROUPS | {"profile": profile}).read_bytes()
        for profile in ("high", "main")
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    with pytest.raises(MediaError, match="parameter sets change on the way"):
        VideoWriter(tmp_path / "o.mp4", FileClip.open(tmp_path / "a.ts"), codec="copy")


def test_numbers_of_parameter_sets_change_alone(tmp_path):
    path = write_video(tmp_path / "a.ts", codec="libx265", options=HEVC_CLOSED)
    with av.open(str(path)) as container:
        units = [unit for packet in container.demux(video=0) for unit in split(bytes(packet), 0)]
    changed = numbered(units, 3, 17)
    sets = [unit for unit in changed if HEVC.type_of(unit) in HEVC.sets]
    assert {(HEVC.type_of(unit), set_number(unit, HEVC)) for unit in sets} == {(32, 3), (33, 3), (34, 17)}
    for old, new in zip(units, changed, strict=True):
        if HEVC.type_of(old) in HEVC.slices:
            # A byte more in the first ones, all else as it was.
            assert len(unescaped(new)) == len(unescaped(old)) + 1
            assert unescaped(new)[4:] == unescaped(old)[3:]
    # Decoded alone, renumbered units are the same pictures.
    (tmp_path / "b.hevc").write_bytes(joined(changed, 0))
    again = decoded_frames(tmp_path / "b.hevc")
    assert len(again) == 40 and all(map(is_same, again, decoded_frames(path)))


def test_units_and_stamps():
    assert unescaped(escaped(b"\0\0\0\0\1\0\0\2\0\0\0")) == b"\0\0\0\0\1\0\0\2\0\0\0"
    assert b"\0\0\0" not in escaped(b"\0" * 9 + b"\1") and b"\0\0\1" not in escaped(b"\0" * 9 + b"\1")
    for length_bytes in (0, 2, 4):
        assert split(joined([b"\x65abc", b"\x41d"], length_bytes), length_bytes) == [b"\x65abc", b"\x41d"]
    with pytest.raises(ValueError, match="NAL units that fill"):
        split(b"\0\0\0\x09abc", 4)
    assert decoding_stamps(np.array([0, 40, 100, 130]), 2, 30).tolist() == [-60, -30, 0, 40]


def test_a_pyav_that_cannot_copy_is_told_before_any_work(tmp_path, monkeypatch):
    clip = FileClip.open(write_video(tmp_path / "a.mp4", options=H264_GROUPS))
    monkeypatch.setattr(av, "__version__", "14.2.0")
    with pytest.raises(MediaError, match="codec copy needs PyAV 15 or newer, but 14.2.0 is installed"):
        VideoWriter(tmp_path / "out.mp4", clip, codec="copy")
    assert not list(tmp_path.glob("out*"))


@copying
def test_what_the_container_does_not_hold_is_told_before_any_work(tmp_path):
    video = write_video(tmp_path / "a.mp4", codec="libx265", options=HEVC_CLOSED, pts=[0, 1, 2])
    with pytest.raises(MediaError, match=r"into \.m4v needs H\.264, but hevc arrived: name the output \.mp4"):
        VideoWriter(tmp_path / "out.m4v", FileClip.open(video), codec="copy")
