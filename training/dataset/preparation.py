"""A source file becomes samples in a shard, or is left out with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mytalk_core.errors import MediaError, NoFaceError
from mytalk_core.evaluation.networks.recognition import FaceRecogniser
from mytalk_core.expert.scorer import ExpertScorer
from mytalk_core.face.reader import FaceReader, load_face_reader
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.audio import Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.motion.identity import IdentityExtractor, embed_person
from mytalk_core.motion.person import Person, find_rest
from mytalk_core.pipeline import stages

from .adapters import Source, shot_key
from .filters import Figures, measure_face, missed_limit
from .identities import load_face_recogniser, mean_embedding
from .journal import Entry
from .prepare_options import Settings
from .samples import (
    Shot,
    SpokenMotion,
    jpeg,
    motion_member,
    read_crops,
    split_shots,
    spoken_motion,
    spoken_seconds,
    track_member,
)
from .shards import ShardWriter, crop_member
from .sync_check import FRAME_MS, judge, load_expert


@dataclass(frozen=True)
class OpenedSource:
    """A source that can be read: its clip, the speaker's track, the sound (S,) at 16 kHz, and by shot the
    speaker's share of all faces, None where only one face was tracked."""

    source: Source
    clip: Clip
    track: FaceTrack
    speech: np.ndarray
    dominance: dict[int, float | None]


class LeftOutError(Exception):
    """A source is left out before its shots are looked at: why, and one line about it."""

    def __init__(self, why: str, line: str):
        super().__init__(line)
        self.why = why


def _reason(error: Exception) -> str:
    if isinstance(error, LeftOutError):
        return error.why
    return "no face" if isinstance(error, NoFaceError) else "unreadable"


@dataclass
class Pictures:
    """What the pass over a shot's T pictures gave: detail (T,), NaN where not measured, its median over the
    frames sampled for it, the crops' members, embeddings of the face."""

    detail: np.ndarray
    median_detail: float = 0.0
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    embeddings: list[np.ndarray] = field(default_factory=list)


class DatasetPreparer:
    """Everything that turns sources into samples; networks are loaded when a source first needs them."""

    def __init__(self, folder: Path, settings: Settings, device: torch.device, tracks: Path | None = None):
        self.folder, self.settings, self.device, self.tracks = folder, settings, device, tracks
        self.reader: FaceReader | None = None
        self.scorer: ExpertScorer | None = None
        self.shapes: IdentityExtractor | None = None
        self.faces: FaceRecogniser | None = None

    def load_for(self, sources: Iterable[Source]) -> None:
        """Load what these sources need, so that what is missing is missed before hours of work.

        Raises FileNotFoundError and WeightsError as the models do.
        """
        if any(self._cached_track(s) is None for s in sources):
            self.reader = load_face_reader(self.device)
        if any(self._asks_expert(s) for s in sources):
            self.scorer = load_expert(self.settings.sync_expert, str(self.device))
        if any(s.identity is None for s in sources):
            if self.settings.face_recogniser:
                self.faces = load_face_recogniser(Path(self.settings.face_recogniser))
            else:
                self.shapes = IdentityExtractor.from_pretrained("mini", "identity").requires_grad_(False)

    def prepare(self, source: Source, writer: ShardWriter) -> Entry:
        """Write a source's samples where the writer is; what became of each shot."""
        begin = writer.begin()
        rows: list[dict[str, Any]] = []
        shots: list[dict[str, Any]] = []
        try:
            self._write_shots(self._open(source), writer, rows, shots)
        except (LeftOutError, MediaError, NoFaceError, FileNotFoundError) as error:
            # Damage deep in a file too: nothing of it is kept.
            writer.roll_back(begin)
            rows, shots = [], [{"shot": None, "why": _reason(error), "line": str(error)}]
        crc32, stop = writer.checksum(begin.position), writer.offset.position
        path = source.path.as_posix()
        return Entry(source.key, path, begin.shard, begin.position, stop, crc32, rows, shots)

    def _asks_expert(self, source: Source) -> bool:
        if self.settings.sync == "manifest":
            return source.sync in (None, "unknown")
        return self.settings.sync == "expert"

    def _known_lag_ms(self, source: Source) -> float | None:
        """By its manifest's word; None where another's is asked for, or nobody's."""
        if self.settings.sync != "manifest" or self._asks_expert(source):
            return None
        return float(source.lag_ms or 0.0)

    def _cached_track(self, source: Source) -> Path | None:
        path = self.tracks / f"{source.key}.safetensors" if self.tracks else None
        return path if path is not None and path.is_file() else None

    def _open(self, source: Source) -> OpenedSource:
        if self.settings.sync == "manifest" and source.sync not in (None, "yes", "unknown"):
            raise LeftOutError("out of sync", f"its manifest says {source.sync}")
        clip = FileClip.open(self.folder / source.path)
        if source.speech is None and not clip.has_audio:
            raise LeftOutError("no sound", "neither in the video nor in a file of the same name beside it")
        speech = Speech.open(self.folder / (source.speech or source.path)).mono_16k
        cached = self._cached_track(source)
        if cached is not None:
            track = FaceTrack.load(cached)
            if len(track) != len(clip):
                raise MediaError(f"{cached} has {len(track)} frames, {clip.path} {len(clip)}: track it again")
            return OpenedSource(source, clip, track, speech, {})
        assert self.reader is not None  # load_for has seen that this source has no track
        faces = stages.track(self.reader, clip)
        dominance: dict[int, float | None]
        dominance = {int(shot): faces.dominance(shot) for shot in np.unique(faces.shots)}
        return OpenedSource(source, clip, faces.choose_in_each_shot(), speech, dominance)

    def _write_shots(
        self,
        opened: OpenedSource,
        writer: ShardWriter,
        rows: list[dict[str, Any]],
        shots: list[dict[str, Any]],
    ) -> None:
        every = list(split_shots(opened.track, opened.clip.duration_s))
        for shot in every:
            key = shot_key(opened.source.key, shot.number, len(every))
            dominance = opened.dominance.get(int(shot.track.shots[0]))
            figures = measure_face(shot.track, spoken_seconds(shot, opened.speech), dominance)
            figures = replace(figures, lag_ms=self._known_lag_ms(opened.source))
            row = None
            if missed_limit(figures, self.settings.limits) is None:
                figures, row = self._write_shot(opened, shot, key, figures, writer)
            why = missed_limit(figures, self.settings.limits)
            shots.append({"shot": shot.number, "why": why, **figures.rounded()})
            if row is not None:
                rows.append(row)

    def _write_shot(
        self, opened: OpenedSource, shot: Shot, key: str, figures: Figures, writer: ShardWriter
    ) -> tuple[Figures, dict[str, Any] | None]:
        """The shot's figures, now complete, and its index row; None, and nothing written, if it fails."""
        limits = self.settings.limits
        person = find_rest(shot.track)
        motion, figures = self._spoken(opened, shot, person, figures)
        if missed_limit(figures, limits) is not None or not len(motion.displacement):
            return figures, None
        begin = writer.offset
        pictures = self._write_crops(opened, shot, key, writer)
        figures = replace(figures, detail=pictures.median_detail)
        if missed_limit(figures, limits) is not None:
            writer.roll_back(begin)
            return figures, None
        row = self._row(opened, shot, key, figures) | {"motion_frames": len(motion.displacement)}
        embedding = self._embedding(opened.source, person, pictures.embeddings)
        members = {"json": json.dumps(row, indent=1).encode()}
        members["motion.safetensors"] = motion_member(motion, person)
        members["track.safetensors"] = track_member(shot.track, pictures.detail, embedding)
        spans = {name: writer.add(f"{key}.{name}", data) for name, data in members.items()}
        return figures, row | {
            "shard": writer.name,
            "crops": len(pictures.members),
            "members": spans | pictures.members,
        }

    def _spoken(
        self, opened: OpenedSource, shot: Shot, person: Person, figures: Figures
    ) -> tuple[SpokenMotion, Figures]:
        """Movement and speech brought together, and how well they agree."""
        source = opened.source
        motion = spoken_motion(shot, person, opened.speech, (figures.lag_ms or 0.0) / 1000)
        if not self._asks_expert(source):
            return motion, figures
        assert self.scorer is not None  # load_for has asked as above
        score = judge(self.scorer, motion.displacement, motion.speech)
        if score is None:
            return motion, figures
        lag_ms = score.offset_frames * FRAME_MS
        if lag_ms:
            motion = spoken_motion(shot, person, opened.speech, lag_ms / 1000)
        return motion, replace(figures, confidence=score.confidence, distance=score.distance, lag_ms=lag_ms)

    def _write_crops(self, opened: OpenedSource, shot: Shot, key: str, writer: ShardWriter) -> Pictures:
        """Write the crops of the frames kept; what was seen on the way."""
        pictures = Pictures(np.full(len(shot.track), np.nan, np.float32))
        sampled = []
        for crop in read_crops(opened.clip, shot, self.settings.crop_every, self.settings.crop_px):
            pictures.detail[crop.frame] = crop.detail
            if crop.kept:
                name = crop_member(crop.frame)
                data = jpeg(crop.rgb, self.settings.jpeg_quality)
                pictures.members[name] = writer.add(f"{key}.{name}", data)
            if crop.sampled:
                sampled.append(crop.detail)
                if self.faces is not None and opened.source.identity is None:
                    landmarks = shot.track.canonical[crop.frame : crop.frame + 1][0]
                    pictures.embeddings.append(self.faces.embed(crop.units, landmarks))
        pictures.median_detail = float(np.median(sampled))
        return pictures

    def _embedding(self, source: Source, person: Person, seen: list[np.ndarray]) -> np.ndarray | None:
        """What an unnamed person is told by: of pictures where a recogniser saw them, else of landmarks."""
        if source.identity is not None:
            return None
        if seen:
            return mean_embedding(seen)
        assert self.shapes is not None  # without a recogniser load_for has loaded them
        return embed_person(self.shapes, person)[0].numpy()

    def _row(self, opened: OpenedSource, shot: Shot, key: str, figures: Figures) -> dict[str, Any]:
        """A sample's facts, in its JSON member and its index row."""
        source, clip = opened.source, opened.clip
        judged = "expert" if self._asks_expert(source) else self.settings.sync
        return {
            "key": key,
            "source": source.path.as_posix(),
            "identity": source.identity,
            "split": source.split or "train",
            "language": source.language,
            "layout": shot.track.layout,
            "shot": shot.number,
            "first_frame": shot.start,
            "frames": len(shot.track),
            "fps": round(float(clip.fps), 4),
            "source_size": [clip.height, clip.width],
            "crop_px": self.settings.crop_px if self.settings.crop_every else None,
            "sync": "unknown" if judged == "off" else "yes",
            "sync_by": None if judged == "off" else judged,
            **figures.rounded(),
        }
