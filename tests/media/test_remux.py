"""A copy holds every packet of the original."""

import av
import pytest
from made_media import Sound, write_video

from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged


def packets(path) -> dict[str, int]:
    with av.open(str(path)) as container:
        found = {stream.type: 0 for stream in container.streams}
        for packet in container.demux():
            found[packet.stream.type] += packet.size > 0
        return found


def test_a_copy_keeps_every_packet(tmp_path):
    source = write_video(tmp_path / "in.mp4", sound=Sound())
    for name in ("out.mkv", "out.mp4"):
        copy_untagged(source, tmp_path / name)
        assert packets(tmp_path / name) == packets(source)


@pytest.mark.parametrize("until_s", [None, 0.8])
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_matroska_that_does_not_say_when_its_first_pictures_are_decoded(tmp_path, name, until_s):
    source = write_video(tmp_path / "in.mkv", pts=list(range(40)), options={"bf": "3"})
    copy_untagged(source, tmp_path / name, until_s)
    whole, copied = FileClip.open(source), FileClip.open(tmp_path / name)
    assert len(copied) == 40 if until_s is None else 20 <= len(copied) < 24
    pairs = zip(whole.pictures(range(20)), copied.pictures(range(20)), strict=True)
    assert all((one.rgb == other.rgb).all() for one, other in pairs)
