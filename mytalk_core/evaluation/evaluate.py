"""Whole folders against each other: every system's videos scored, the real ones as a yardstick."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checkpoint.pretrained import file_sha256
from ..errors import MediaError, NoFaceError
from ..media.audio import Speech
from ..media.file_clip import FileClip
from .cache import SubjectCache, encode_again
from .clip_files import ClipFiles
from .compare import ClipScores, Scoring, choose_speech, compare
from .metric import Metric
from .metrics.frechet import Moments, frechet_distance
from .networks.metric_networks import Networks, usable_metrics
from .report.report import clip_entry, machine_line, paired_line
from .subject import Subject, same_face

REAL, AGAIN = "real", "real, re-encoded"
SET_LEVEL = ("fid_face", "fvd_face")
# progress(clip, system, clips done, clips)
ClipProgress = Callable[[str, str, int, int], None]


@dataclass
class _System:
    """One row of the table as it grows."""

    name: str
    anchor: bool
    clips: list[dict] = field(default_factory=list)
    scores: list[ClipScores] = field(default_factory=list)
    moments: dict[str, Moments] = field(default_factory=dict)

    def means(self, metrics: tuple[Metric, ...], real: dict[str, Moments]) -> dict[str, float | None]:
        """By key: means over the clips that have a value, and the distances of whole sets."""
        means: dict[str, float | None] = {}
        for metric in metrics:
            values = [v for s in self.scores if (v := s.scores[metric.key]) is not None]
            means[metric.key] = sum(values) / len(values) if values else None
        for key in SET_LEVEL:
            if key in means and key in real and key in self.moments:
                means[key] = frechet_distance(real[key], self.moments[key])
        return means


@dataclass
class Evaluation:
    """Scores clip by clip; memory does not grow with a clip's length.

    folder: where the report will lie; paths in it are relative to that. cache: folder that keeps face tracks
    and re-encodings for the next evaluation of the same files.
    """

    networks: Networks
    scoring: Scoring
    folder: Path
    cache: Path | None = None
    face: str | int = "largest"
    title: str = "Evaluation"
    models: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self, clips: list[ClipFiles], progress: ClipProgress | None = None) -> dict:
        """The report, ready for JSON.

        A clip that cannot be scored becomes a line in the report; MediaError or NoFaceError, the last one's,
        if that leaves a system with nothing.
        """
        progress = progress or (lambda clip, system, done, total: None)
        names = list(dict.fromkeys(name for clip in clips for name in clip.generated))
        systems = [_System(REAL, True), _System(AGAIN, True), *(_System(name, False) for name in names)]
        subjects = SubjectCache(self.cache, self.networks.reader)
        failures: dict[str, Exception] = {}
        for done, files in enumerate(clips):
            try:
                reference = subjects.read(FileClip.open(files.reference), self.face)
            except (MediaError, NoFaceError) as error:
                failures |= {system.name: error for system in systems}
                self.notes.append(f"{files.name}: left out, {error}")
                continue
            for system in systems:
                if not system.anchor and system.name not in files.generated:
                    continue
                progress(files.name, system.name, done, len(clips))
                try:
                    self._score(system, files, reference, subjects)
                except (MediaError, NoFaceError) as error:
                    failures[system.name] = error
                    self.notes.append(f"{system.name}, {files.name}: left out, {error}")
        for system in systems:
            if not system.clips:
                raise failures[system.name]
        return self._report(systems)

    def _score(self, system: _System, files: ClipFiles, reference: Subject, subjects: SubjectCache) -> None:
        if system.name == REAL and system.anchor:
            generated = reference
        else:
            path = self._re_encoded(files, reference) if system.anchor else files.generated[system.name]
            clip = FileClip.open(path)
            generated = subjects.read(clip, same_face(reference, clip))
        speech = Speech.open(files.speech) if files.speech is not None and not system.anchor else None
        speech, guessed = choose_speech(speech, generated.clip, reference.clip)
        result = compare(reference, generated, speech, self.networks, self.scoring, system.moments)
        system.scores.append(result)
        system.clips.append(clip_entry(files, generated.clip, result, guessed, self.folder))

    def _re_encoded(self, files: ClipFiles, reference: Subject) -> Path:
        folder = self.cache or self.folder / "re-encoded"
        # Another file of the same name must not be taken for this one.
        return encode_again(reference.clip, folder / f"{files.name}-{file_sha256(files.reference)[:12]}.mp4")

    def _report(self, systems: list[_System]) -> dict:
        metrics = usable_metrics(self.networks, self.scoring.paired, self.scoring.skip)
        real = systems[0].moments
        for system in systems[2:]:
            if len(system.clips) < len(systems[0].clips) and "fid_face" in system.moments:
                self.notes.append(f"{system.name}: its FID is of fewer clips than the real videos'")
        rows: list[dict[str, Any]] = [
            {
                "name": system.name,
                "anchor": system.anchor,
                "means": system.means(metrics, real),
                "clips": system.clips,
            }
            for system in systems
        ]
        shown = [m for m in metrics if any(row["means"][m.key] is not None for row in rows)]
        silent = [m.label for m in metrics if m not in shown]
        absent = [*self.networks.absent, *paired_line(self.scoring)]
        if silent:
            absent.append(f"{', '.join(silent)}: no clip says anything about it (too short, or no silence)")
        if self.scoring.skip:
            absent.append(f"left out as asked: {', '.join(sorted(self.scoring.skip))}")
        return {
            "title": self.title,
            "date": datetime.date.today().isoformat(),
            "machine": machine_line(),
            "models": self.models,
            "every": self.scoring.every,
            "metrics": [{k: v for k, v in vars(m).items() if k != "paired"} for m in shown],
            "absent": absent,
            "notes": self.notes,
            "systems": rows,
        }
