"""Series and folders of pictures, single pictures, and names that look like protocols."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from made_media import moving_image, write_video

from mytalk_core.errors import MediaError
from mytalk_core.files import check_outputs
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.sequence_clip import SequenceClip
from mytalk_core.media.source import clip_files, open_clip
from mytalk_core.media.timeline import SYNC_MODES, plan_timeline
from mytalk_core.media.writer import VideoWriter


def write_picture(path, index: int, size=(48, 64), pixels: str = "rgb24") -> None:
    codec = "mjpeg" if path.suffix == ".jpg" else "png"
    with av.open(f"file:{path}", "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else pixels
        frame = av.VideoFrame.from_ndarray(moving_image(index, *size), format="rgb24")
        container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, f_1.png to f_12.png, and what lies in such a folder beside them."""
    (tmp_path / "shots").mkdir()
    for index in range(1, 13):
        write_picture(tmp_path / "shots" / f"f_{index}.png", index)
    (tmp_path / "shots" / ".hidden.png").write_bytes(b"")
    (tmp_path / "shots" / "notes.txt").write_text("take 3")
    return tmp_path / "shots"


def test_a_folder_in_natural_order(folder):
    clip = open_clip(folder)
    assert (len(clip), clip.height, clip.width, clip.fps, clip.duration_s) == (12, 48, 64, 25, 0.48)
    assert [path.name for path in clip.files] == [f"f_{index}.png" for index in range(1, 13)]
    assert clip_files(folder) == clip.files
    for index, picture in enumerate(clip.pictures(), 1):
        assert np.array_equal(picture.rgb, moving_image(index, 48, 64))
    back = [picture.index for picture in clip.pictures([5, 5, 2])]
    assert back == [5, 5, 2]
    assert open_clip(folder, Fraction(30000, 1001)).fps == Fraction(30000, 1001)
    assert open_clip(folder, 23.976).fps == Fraction(24000, 1001)


def test_a_series(folder):
    assert len(open_clip(folder / "f_%d.png")) == 12
    with pytest.raises(FileNotFoundError, match="has none"):
        open_clip(folder / "f_%04d.png")
    for index in (7, 8, 9):
        write_picture(folder / f"g_{index:04d}.jpg", index)
    assert len(open_clip(folder / "g_%04d.jpg")) == 3
    (folder / "g_0008.jpg").unlink()
    with pytest.raises(MediaError, match="has number 7 and not 8"):
        open_clip(folder / "g_%04d.jpg")


def test_a_series_is_written_as_it_is(folder, tmp_path):
    clip = open_clip(folder)
    with VideoWriter(tmp_path / "out.mkv", clip, codec="ffv1") as writer:
        for picture in clip.pictures():
            writer.write(picture)
    for before, after in zip(clip.frames(), FileClip.open(tmp_path / "out.mkv").frames(), strict=True):
        assert np.array_equal(before, after)
    with pytest.raises(MediaError, match="other than the source"):
        check_outputs({"--report": folder / "f_3.png"}, clip_files(folder))


def test_pictures_that_do_not_fit(folder, tmp_path):
    write_picture(folder / "f_5.png", 5, (24, 64))
    with pytest.raises(MediaError, match=r"one size were required.*64 x 48.*f_5.png has 64 x 24"):
        open_clip(folder)
    write_picture(folder / "f_5.png", 5, pixels="gray")
    assert len(list(open_clip(folder).pictures())) == 12
    (folder / "f_5.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"f_5.png"):
        open_clip(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="folder of pictures was required.*name a file inside it"):
        open_clip(tmp_path / "empty")
    with pytest.raises(ValueError, match="at most 1000 was required"):
        SequenceClip.open(folder, 1e9)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_clip(tmp_path / "none.mp4")
    video = write_video(tmp_path / "a.mp4")
    assert len(open_clip(video)) == 40
    with pytest.raises(ValueError, match="which has its own: leave the frame rate out"):
        open_clip(video, 25)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("gray", "rgb24"), "gbrp"),
        (("rgb24", "rgba"), "gbrap"),
        (("gray", "rgb24", "rgb48be"), "gbrp16le"),
        (("gray", "gray16be"), "gray16le"),
    ],
)
def test_a_series_holds_what_its_later_pictures_have(tmp_path, kinds, expected):
    for index, pixels in enumerate(kinds):
        write_picture(tmp_path / f"f_{index}.png", index, pixels=pixels)
    clip = open_clip(tmp_path)
    assert clip.format_name == expected
    for index, (picture, pixels) in enumerate(zip(clip.pictures(), kinds, strict=True)):
        assert picture.format_name == expected
        alone = next(FileClip.open(tmp_path / f"f_{index}.png").pictures())
        assert np.array_equal(picture.rgb, alone.rgb)
        if pixels == "rgb24":
            assert np.array_equal(picture.rgb, moving_image(index, 48, 64))


def test_a_series_of_photos_of_several_chroma(tmp_path):
    image = moving_image(0, 48, 64)[..., ::-1]
    fine = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    cv2.imwrite(str(tmp_path / "0.jpg"), image[..., 1])
    cv2.imwrite(str(tmp_path / "1.jpg"), image)
    cv2.imwrite(str(tmp_path / "2.jpg"), image, fine)
    clip = open_clip(tmp_path)
    assert clip.format_name == "yuv444p"
    for index, picture in enumerate(clip.pictures()):
        alone = next(FileClip.open(tmp_path / f"{index}.jpg").pictures())
        assert np.abs(picture.rgb.astype(int) - alone.rgb).mean() < 2


@pytest.mark.parametrize("mode", SYNC_MODES)
def test_one_frame_is_shown_for_the_speech(tmp_path, mode):
    for fps in (25, 1, 60):
        timeline = plan_timeline(ImageClip.from_frames(np.zeros((1, 2, 2, 3)), fps), 3.01, mode)
        assert timeline.source_index.tolist() == [0] * 76 and timeline.duration_s == 3.04
        assert timeline.speech_s == 3.01 and not timeline.warnings
    write_picture(tmp_path / "a.png", 3)
    clip = open_clip(tmp_path / "a.png")
    assert len(plan_timeline(clip, 2.0, mode)) == 50
    # By itself it stays one frame.
    assert len(plan_timeline(clip, clip.duration_s)) == 1


def test_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "talk.mp4", pts=[0, 1, 2]).rename("12:30 talk.mp4")
    (tmp_path / "12:30 takes").mkdir()
    clip = open_clip("12:30 talk.mp4")
    for name in ("12:31 out.mp4", "12:30 takes/http:out.mov"):
        with VideoWriter(name, clip) as writer:
            for picture in clip.pictures():
                writer.write(picture)
        assert len(open_clip(name)) == 3
    write_picture(tmp_path / "12:30 takes" / "f:1.png", 1)
    assert len(open_clip("12:30 takes")) == len(open_clip("12:30 takes/f:%d.png")) == 1


def test_a_playlist_fetches_nothing(tmp_path):
    (tmp_path / "a.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(MediaError, match="not readable"):
        FileClip.open(tmp_path / "a.m3u8")
