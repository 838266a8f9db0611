"""Every kind of bad input gives one line: what was required, what arrived, what to do."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_media import Sound, chirp, write_video

from mytalk_core.errors import MediaError
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip


def fails(error, opening, path, *parts) -> None:
    with pytest.raises(error) as caught:
        opening(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *parts):
        assert part in message


@pytest.mark.parametrize("opening", [FileClip.open, Speech.open])
def test_what_is_no_media_file(tmp_path, opening):
    fails(FileNotFoundError, opening, tmp_path / "none.mp4", "does not exist", "check the path")
    fails(MediaError, opening, tmp_path, "is a folder", "name a file")
    (tmp_path / "empty.mp4").write_bytes(b"")
    fails(MediaError, opening, tmp_path / "empty.mp4", "empty (0 bytes)")
    (tmp_path / "text.mp4").write_text("Dear diary,\n" * 50)
    fails(MediaError, opening, tmp_path / "text.mp4", "not readable", "export it again")
    fails(FileNotFoundError, opening, Path("https://example.com/talk.mp4"), "download it first")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
@pytest.mark.parametrize("opening", [FileClip.open, Speech.open])
def test_a_pipe_is_no_empty_file(tmp_path, opening):
    os.mkfifo(tmp_path / "talk.mp4")
    fails(MediaError, opening, tmp_path / "talk.mp4", "is a pipe", "to a file first")


def test_video_and_sound_missing(tmp_path, examples):
    fails(MediaError, FileClip.open, examples / "speech_en.wav", "no video stream", "holds: audio")
    fails(MediaError, Speech.open, examples / "ai_woman.mp4", "no audio stream", "holds: video")
    with pytest.raises(MediaError, match="no audio stream"):
        FileClip.open(examples / "ai_woman.mp4").speech()


def test_cut_off_files(tmp_path):
    whole = write_video(tmp_path / "plain.mp4", pts=list(range(120))).read_bytes()
    (tmp_path / "noindex.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    fails(MediaError, FileClip.open, tmp_path / "noindex.mp4", "not readable", "cut off")
    fast = {"movflags": "faststart"}
    for name, codec, options in (
        ("fast.mp4", "libx264", fast),
        ("a.mkv", "libx264", {}),
        ("a.flv", "flv1", {}),
        ("a.mxf", "mpeg2video", {}),
    ):
        path = write_video(tmp_path / name, codec=codec, pts=list(range(120)), container_options=options)
        assert len(FileClip.open(path)) == 120
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        fails(MediaError, FileClip.open, path, "breaks off", "promised frames", "copy or export it again")
    # FLV says when its last frame is shown, and not how long.
    once_a_second = {"fps": Fraction(1), "time_base": Fraction(1)}
    assert (
        len(FileClip.open(write_video(tmp_path / "slow.flv", codec="flv1", pts=[0, 1], **once_a_second))) == 2
    )


def test_a_webp_in_motion_is_no_damaged_file(tmp_path):
    frame = b"ANMF" + struct.pack("<I", 16) + bytes(16)
    animated = b"VP8X" + struct.pack("<IB3x", 10, 2) + b"\x3f\0\0\x2f\0\0"
    chunks = animated + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frame
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)
    fails(MediaError, FileClip.open, tmp_path / "a.webp", "a WebP in motion")


def tiled_photo(tiles: int) -> bytes:
    """A HEIF file (ISO/IEC 23008-12) as phones write photos: a row of tiles, and a grid that names them."""

    def box(kind: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I4s", 8 + len(body), kind) + body

    grid, width = tiles + 1, 64 * tiles
    layout = struct.pack(">BBBBHH", 0, 0, 0, tiles - 1, width, 48)
    items = [
        box(b"infe", struct.pack(">IHH4sx", 2 << 24, i, 0, b"grid" if i == grid else b"av01"))
        for i in range(1, grid + 1)
    ]
    sizes = [box(b"ispe", struct.pack(">III", 0, across, 48)) for across in (64, width)]
    sizes_of = b"".join(struct.pack(">HBB", i, 1, 1 + (i == grid)) for i in range(1, grid + 1))

    def meta(begin: int) -> bytes:
        places = [struct.pack(">HHHII", i, 0, 1, begin, len(layout)) for i in range(1, grid + 1)]
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", struct.pack(">8x4s13x", b"pict")),
            box(b"pitm", struct.pack(">IH", 0, grid)),
            box(b"iinf", struct.pack(">IH", 0, grid), *items),
            box(b"iref", bytes(4), box(b"dimg", struct.pack(f">{grid + 1}H", grid, tiles, *range(1, grid)))),
            box(b"iprp", box(b"ipco", *sizes), box(b"ipma", struct.pack(">II", 0, grid), sizes_of)),
            box(b"iloc", struct.pack(">IHH", 0, 0x4400, grid), *places),
        )

    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", layout)


def test_a_photo_of_tiles_is_not_its_first_one(tmp_path):
    (tmp_path / "photo.heic").write_bytes(tiled_photo(4))
    fails(
        MediaError, FileClip.open, tmp_path / "photo.heic", "a photo of 4 tiles", "export it as JPEG or PNG"
    )


def test_packets_that_stop_decoding(tmp_path):
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", pts=list(range(120)), size=(240, 320), container_options=options)
    whole = bytearray(path.read_bytes())
    tail = len(whole) * 7 // 10
    path.write_bytes(whole[:tail] + bytes(len(whole) - tail))
    fails(MediaError, FileClip.open, path, "of 120 promised", "can be decoded")


def test_damage_in_the_middle_never_loses_frames_silently(tmp_path):
    path = write_video(
        tmp_path / "a.mp4",
        pts=list(range(120)),
        size=(240, 320),
        options={"g": "12"},
        container_options={"movflags": "faststart"},
    )
    whole = bytearray(path.read_bytes())
    begin, end = len(whole) * 4 // 10, len(whole) * 5 // 10
    path.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
    with pytest.raises(MediaError, match=r"\d+ of 120 promised frames decoded"):
        list(FileClip.open(path).pictures())


@pytest.mark.skipif(not hasattr(av.stream.Stream, "index_entries"), reason="PyAV before 17 shows no index")
def test_sound_that_breaks_off(tmp_path):
    sound = Sound(seconds=4.8)
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", pts=list(range(120)), sound=sound, container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    fails(MediaError, Speech.open, path, "breaks off", "promised")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.wav", "pcm_s16le", {}),
        ("a.wav", "pcm_s24le", {}),
        ("a.wav", "pcm_f32le", {}),
        ("a.wav", "pcm_mulaw", {}),
        ("a.wav", "pcm_s16le", {"rf64": "always"}),
        ("a.aiff", "pcm_s16be", {}),
        ("a.au", "pcm_s16be", {}),
        ("a.mp3", "libmp3lame", {}),
        ("a.flac", "flac", {}),
        ("a.mka", "flac", {}),
        ("a.webm", "libopus", {}),
    ],
)
def test_a_file_of_sound_that_breaks_off(tmp_path, name, codec, options):
    path = sound_file(tmp_path / name, codec, seconds=4.0, options=options)
    assert Speech.open(path).duration_s == pytest.approx(4.0, abs=0.05)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"complete speech was required, but .* breaks off: .* of 4.0\d s"):
        Speech.open(path)


def test_sound_out_of_a_pipe_whose_length_nobody_knew(tmp_path):
    path = sound_file(tmp_path / "a.wav", "pcm_s16le", seconds=1.0)
    data = bytearray(path.read_bytes())
    for size in (0x7FFFF000, 0xFFFFFFFF):
        begin = data.index(b"data") + 4
        data[begin : begin + 4] = struct.pack("<I", size)
        path.write_bytes(data)
        assert Speech.open(path).duration_s == pytest.approx(1.0)


def test_an_mp3_that_does_not_count_its_frames_is_no_promise(tmp_path):
    """Its length is guessed from how large its first frames are."""
    path = sound_file(tmp_path / "a.mp3", "libmp3lame", seconds=4.0, options={"write_xing": "0"})
    whole = Speech.open(path).duration_s
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert Speech.open(path).duration_s == pytest.approx(whole / 2, abs=0.1)


def test_samples_that_are_no_numbers(tmp_path):
    path = sound_file(tmp_path / "a.wav", "pcm_f32le", seconds=1.0)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<f", float("nan")))
    fails(MediaError, Speech.open, path, "finite samples were required", "a.wav", "NaN or infinity")


def test_samples_of_64_bits_are_read(tmp_path):
    held = Speech.open(sound_file(tmp_path / "a.wav", "pcm_s16le", seconds=1.0)).waveform
    wide = Speech.open(sound_file(tmp_path / "b.wav", "pcm_s64le", seconds=1.0)).waveform
    np.testing.assert_allclose(wide, held, atol=1e-4)


def sound_file(path: Path, codec: str, seconds: float, options: dict[str, str] | None = None) -> Path:
    """A tone in noise, so that no codec packs it into nothing."""
    wave = chirp(48_000, seconds) * 0.5 + np.random.default_rng(0).normal(0, 0.05, round(48_000 * seconds))
    with av.open(str(path), "w", options=options or {}) as container:
        track = container.add_stream(codec, rate=48_000)
        track.codec_context.layout = "mono"
        block = av.AudioFrame.from_ndarray(wave.astype(np.float32), format="fltp", layout="mono")
        block.sample_rate, block.pts = 48_000, 0
        for part in av.AudioResampler(track.codec_context.format, "mono", 48_000).resample(block):
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    return path


def test_speech_of_no_length(tmp_path):
    header = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data\0\0\0\0"
    (tmp_path / "empty.wav").write_bytes(header)
    fails(MediaError, Speech.open, tmp_path / "empty.wav", "zero length")
    with pytest.raises(MediaError, match="zero length"):
        Speech.from_waveform(np.zeros((1, 0), np.float32), 16000)
    with pytest.raises(ValueError, match="NaN"):
        Speech.from_waveform(np.array([0.0, np.nan], np.float32), 16000)
    with pytest.raises(ValueError, match="float waveform"):
        Speech.from_waveform(np.zeros((1, 8), np.int16), 16000)
    with pytest.raises(ValueError, match=r"\(channels, samples\) was required.*\(800, 2\)"):
        Speech.from_waveform(np.zeros((800, 2), np.float32), 16000)
