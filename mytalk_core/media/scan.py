"""The time stamp of every frame of a file, found without holding a frame.

Packets are read once. Where they are known to become one frame each, and the first and the last of them
really do, they give the table; in every other case (missing or doubled stamps, field pairs, hidden frames,
damage) the file is decoded once and what comes out is counted. Either way the table is what decoding yields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from ..errors import MediaError
from ..limits import FRAMES, GAP_SECONDS, MEDIA_SECONDS, PICTURE_PIXELS
from .container import (
    MISSING_TAIL_S,
    declared_rate,
    decode_tolerantly,
    listed_packets,
    open_media,
    picture_decoder,
    seconds_a_tick,
    video_stream,
)
from .side_data import CAPTIONS
from .threads import codec_threads

# Codecs whose containers carry one shown frame in each packet.
ONE_FRAME_A_PACKET = frozenset(
    ["h264", "hevc", "vp9", "av1", "prores", "dnxhd", "mjpeg", "ffv1", "png", "gif", "qtrle", "huffyuv"]
    + ["ffvhuff", "utvideo", "rawvideo", "v210", "cfhd", "dvvideo"]
)
# Containers that say how long they are, so that a part cut off shows.
SELF_MEASURING = ("matroska", "mov", "avi", "flv", "mxf")
DEFAULT_RATE = Fraction(25)
# A last frame may stand longer than the others (screen recordings), but not for ever.
LONGEST_LAST_S = 10
# No codec moves a frame further than this between coding and display order.
REORDER_FRAMES = 16


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Times of a stream's frames in display order.

    pts: int64 (T,) strictly increasing, in `time_base` seconds; last_duration: of the last frame, in the same
    ticks. decoder_pts: int64 (T,) the stamps that the decoder puts on the frames, or None where they cannot
    tell frames apart. keyframes: int64 (K,) frame numbers at which decoding can start.
    """

    pts: np.ndarray
    time_base: Fraction
    last_duration: int
    fps: Fraction
    decoder_pts: np.ndarray | None
    keyframes: np.ndarray

    def __len__(self) -> int:
        return len(self.pts)

    def index_of(self, decoder_pts: int | None, expected: int) -> int | None:
        """The frame number of a decoded frame; None for one that is not in the table."""
        if self.decoder_pts is None:
            return expected
        if decoder_pts is None:
            return None
        position = int(np.searchsorted(self.decoder_pts, decoder_pts))
        found = position < len(self.decoder_pts) and self.decoder_pts[position] == decoder_pts
        return position if found else None

    def keyframe_before(self, index: int) -> int | None:
        """The last frame number <= index at which decoding can start, or None (start at the file's
        beginning).
        """
        position = int(np.searchsorted(self.keyframes, index, side="right")) - 1
        return int(self.keyframes[position]) if position >= 0 else None


@dataclass
class PacketScan:
    """What the packets of a file say, in file order."""

    pts: list[int | None] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    end_s: float = 0.0
    is_plain: bool = True
    has_captions: bool = False


def scan_packets(container: InputContainer, stream: av.video.stream.VideoStream) -> PacketScan:
    """Read every packet once; discarded ones (before an edit list's start) are left out."""
    scan = PacketScan()
    try:
        for packet in container.demux():
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                scan.end_s = max(scan.end_s, float((stamp + (packet.duration or 0)) * seconds_a_tick(packet)))
            if packet.stream_index != stream.index or packet.is_discard:
                continue
            check_count(len(scan.pts) + 1)
            scan.pts.append(packet.pts)
            scan.durations.append(packet.duration or 0)
            scan.has_captions = scan.has_captions or CAPTIONS in bytes(packet)
            scan.keys.append(packet.is_keyframe)
            scan.is_plain &= packet.size > 0 and packet.pts is not None and not packet.is_corrupt
    except av.error.FFmpegError:
        scan.is_plain = False
    return scan


def check_complete(
    container: InputContainer, stream: av.video.stream.VideoStream, scan: PacketScan, path: Path
) -> None:
    """Raises MediaError when the container's own index promises more than the file holds."""
    if not container.format.name.startswith(SELF_MEASURING):
        return
    start_s = (container.start_time or 0) / av.time_base
    promised_s = (container.duration or 0) / av.time_base
    rate = float(stream.average_rate or DEFAULT_RATE)
    # FLV does not say how long its frames are, and at one a second its last one is no missing part.
    last_s = 0.0 if any(scan.durations) else 1 / rate
    missing_s = promised_s - (scan.end_s + last_s - min(0.0, start_s))
    listed = listed_packets(container, stream)
    is_fully_listed = listed > 0 and stream.frames > 0
    if len(scan.pts) >= listed and (is_fully_listed or missing_s <= MISSING_TAIL_S):
        return
    promised = max(listed, round(promised_s * rate), len(scan.pts))
    raise MediaError(
        f"a complete video was required, but {path} breaks off: {len(scan.pts)} of {promised} promised "
        f"frames are there ({max(0.0, missing_s):.1f} s of {promised_s:.1f} s missing): copy or export it "
        "again"
    )


def check_count(frames: int) -> None:
    """Raises MediaError for more than `limits.FRAMES`."""
    if frames > FRAMES.value:
        raise MediaError(
            f"a video of at most {FRAMES.value:.15g} frames was required, but more arrived: cut it; "
            f"{FRAMES.remedy}"
        )


def check_times(table: FrameTable, path: Path) -> None:
    """Raises MediaError for a video longer than `limits.MEDIA_SECONDS`, or one whose stamps jump by more than
    `limits.GAP_SECONDS`.
    """
    steps = np.append(np.diff(table.pts), table.last_duration)
    tick_s = float(table.time_base)
    longest_s, whole_s = int(steps.max()) * tick_s, int(table.pts[-1] - table.pts[0]) * tick_s
    if longest_s > GAP_SECONDS.value:
        raise MediaError(
            f"a video without long gaps was required, but the time stamps of {path} jump by "
            f"{longest_s:.0f} s behind frame {int(steps.argmax())}: cut it or export it again; "
            f"{GAP_SECONDS.remedy}"
        )
    check_length(whole_s, path)


def check_length(length_s: float, path: Path) -> None:
    """Raises MediaError for a video longer than `limits.MEDIA_SECONDS`."""
    if length_s > MEDIA_SECONDS.value:
        raise MediaError(
            f"a video of at most {MEDIA_SECONDS.value:.15g} s was required, but {path} has {length_s:.0f} s: "
            f"cut it; {MEDIA_SECONDS.remedy}"
        )


def table_from_packets(scan: PacketScan, stream: av.video.stream.VideoStream) -> FrameTable | None:
    """The table when the packets can be trusted to be the frames, else None."""
    name = stream.codec_context.name
    trusted = name in ONE_FRAME_A_PACKET or name.startswith(("libdav1d", "libvpx-vp9", "libaom"))
    if not (trusted and scan.is_plain and scan.pts) or len(set(scan.pts)) != len(scan.pts):
        return None
    stamps = np.asarray(scan.pts, np.int64)
    order = np.argsort(stamps)
    stamps = stamps[order]
    keyframes = np.flatnonzero(np.asarray(scan.keys)[order])
    return build_table(stamps, int(scan.durations[order[-1]]), keyframes, stream, stamps)


def table_by_decoding(path: Path, promised: list[int | None]) -> FrameTable:
    """Decode the whole file, count, keep only stamps. promised: the packets' stamps.

    Raises: MediaError when nothing decodes, or when decoding fails or stops before the packets do.
    """
    with open_media(path, "a video") as container:
        stream = video_stream(container, path)
        found = decode_all(container, stream)
        stamps = found.stamps
        if not stamps:
            raise MediaError(why_nothing_decodes(container, path, len(promised), found.failures))
        known = [stamp for stamp in stamps if stamp is not None]
        step = nominal_step(stream, known)
        check_all_decoded(found, promised, step, path)
        usable = len(known) == len(stamps) and all(a < b for a, b in pairwise(known))
        pts, time_base = strictly_increasing(stamps, step, seconds_a_tick(stream))
        decoder_pts = np.asarray(known, np.int64) if usable else None
        keyframes = np.flatnonzero(np.asarray(found.keys)) if usable else np.zeros(0, np.int64)
        scale = int(seconds_a_tick(stream) / time_base)
        return build_table(pts, found.last_duration * scale, keyframes, stream, decoder_pts, time_base)


@dataclass
class DecodedFrames:
    """What the frames of a file say once they are decoded, in the order in which they come.

    failures: why, for each thing that could not be decoded.
    """

    stamps: list[int | None] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    last_duration: int = 0
    failures: list[str] = field(default_factory=list)


def decode_all(container: InputContainer, stream: av.video.stream.VideoStream) -> DecodedFrames:
    """Decode a stream to its end; no frame is kept. Raises MediaError as `check_count`."""
    found = DecodedFrames()

    def note_failure(why: str, ended: bool) -> None:
        # Streams cut out of a broadcast begin in the middle of a group of pictures: what fails before the
        # first frame was never shown.
        if found.stamps or ended:
            found.failures.append(why)

    stream.thread_type = "AUTO"
    stream.thread_count = codec_threads()
    for frame in decode_tolerantly(container.demux(stream), note_failure, picture_decoder(stream)):
        check_count(len(found.stamps) + 1)
        found.stamps.append(frame.pts)
        found.keys.append(bool(frame.key_frame))
        found.last_duration = int(getattr(frame, "duration", 0) or 0)
    return found


def why_nothing_decodes(container: InputContainer, path: Path, promised: int, failures: list[str]) -> str:
    """What a user is told of a file none of whose promised frames can be decoded."""
    if container.format.name == "webp_pipe":
        return (
            f"a video or one picture was required, but {path} is a WebP in motion, which FFmpeg does not "
            "read: make a video of it, or a GIF"
        )
    why = f" ({failures[0]})" if failures else ""
    return (
        f"a video was required, but none of the {promised} frames of {path} can be decoded{why}: it is "
        f"damaged, encrypted, or its pictures are larger than {PICTURE_PIXELS.value:.15g} pixels "
        f"({PICTURE_PIXELS.variable}); export it again"
    )


def check_all_decoded(found: DecodedFrames, promised: list[int | None], step: int, path: Path) -> None:
    """Raises MediaError where a part of a file could not be decoded, or decoding stopped before the packets.

    step: ticks from frame to frame.
    """
    ends = [stamp for stamp in promised if stamp is not None]
    last = max((stamp for stamp in found.stamps if stamp is not None), default=None)
    stops_early = bool(ends) and last is not None and max(ends) > last + 0.75 * step
    if not (found.failures or stops_early):
        return
    count = len(found.stamps)
    why = f" ({found.failures[0]})" if found.failures else ""
    raise MediaError(
        f"a complete video was required, but only {count} of {max(len(promised), count + 1)} promised frames "
        f"of {path} can be decoded{why}: it is damaged; export it again"
    )


def nominal_step(stream: av.video.stream.VideoStream, stamps: list[int]) -> int:
    """Ticks from frame to frame: the median of the stamps' differences, else the declared rate's."""
    steps = np.diff(np.asarray(sorted(set(stamps)), np.int64))
    if len(steps):
        return max(1, int(np.median(steps)))
    rate = declared_rate(stream) or DEFAULT_RATE
    return max(1, round(1 / (rate * seconds_a_tick(stream))))


def strictly_increasing(
    stamps: list[int | None], step: int, time_base: Fraction
) -> tuple[np.ndarray, Fraction]:
    """Mend missing, repeated and falling stamps: a run of such frames is spread evenly up to the next good
    one.

    Where the ticks are too coarse for that they are refined, ten-fold or more. Returns (int64 (T,), time
    base).
    """
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) == len(stamps):
        order = np.argsort(np.asarray(known, np.int64), kind="stable")
        if np.abs(order - np.arange(len(known))).max() <= REORDER_FRAMES:
            stamps = [*sorted(known)]
    good: list[int] = []
    ticks: list[int] = []
    for position, stamp in enumerate(stamps):
        if stamp is not None and (not ticks or stamp > ticks[-1]):
            good.append(position)
            ticks.append(stamp)
    if len(good) == len(stamps):
        return np.asarray(ticks, np.int64), time_base
    positions = np.arange(len(stamps), dtype=np.float64)
    if not good:
        return (positions * step).astype(np.int64), time_base
    refine = 1
    for (before, after), (low, high) in zip(pairwise(good), pairwise(ticks), strict=True):
        while (high - low) * refine < after - before:
            refine *= 10
    anchors = [tick * refine for tick in ticks]
    mended = np.interp(positions, good, anchors)
    first, last = good[0], good[-1]
    mended[:first] = anchors[0] - (first - positions[:first]) * step * refine
    mended[last + 1 :] = anchors[-1] + (positions[last + 1 :] - last) * step * refine
    return np.floor(mended).astype(np.int64), time_base / refine


def build_table(
    pts: np.ndarray,
    last_duration: int,
    keyframes: np.ndarray,
    stream: av.video.stream.VideoStream,
    decoder_pts: np.ndarray | None,
    time_base: Fraction | None = None,
) -> FrameTable:
    """Assemble a table; a last duration that is missing or absurd becomes the usual step."""
    time_base = time_base or seconds_a_tick(stream)
    rate = average_rate(pts, time_base, declared_rate(stream))
    usual = float(np.median(np.diff(pts))) if len(pts) > 1 else float(1 / (rate * time_base))
    if not 0 < last_duration * time_base <= max(10 * usual * time_base, LONGEST_LAST_S):
        last_duration = max(1, round(usual))
    return FrameTable(pts, time_base, last_duration, rate, decoder_pts, keyframes.astype(np.int64))


def average_rate(pts: np.ndarray, time_base: Fraction, declared: Fraction | None) -> Fraction:
    """Frames a second: the declared rate where it agrees with the stamps to half a frame, else the stamps'
    own mean.
    """
    if len(pts) < 2:
        return Fraction(declared or DEFAULT_RATE)
    span = int(pts[-1] - pts[0]) * time_base
    if declared and abs(declared * span - (len(pts) - 1)) < Fraction(1, 2):
        return Fraction(declared)
    return ((len(pts) - 1) / span).limit_denominator(1_001_000)
