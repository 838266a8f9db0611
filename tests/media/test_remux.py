"""A copy holds every packet of the original."""

import av
from made_media import Sound, write_video

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
