"""Scores of one generated video against its reference: `compare_clips`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..expert.scorer import SyncFigures
from ..face import alignment
from ..face.layout import LandmarkLayout
from ..media.audio import Speech
from ..media.clip import Clip
from ..motion.person import RATE_HZ
from ..pipeline.stages import Progress
from ..speech.activity import speech_presence
from .metrics.frame_pairs import FramePairs, pair_frames
from .metrics.frechet import Moments
from .metrics.lips import (
    BLOCK_FRAMES,
    closure_rate,
    intensities,
    intensity_correlation,
    landmark_distance,
    lip_leak,
    opening_correlation,
    opening_curve,
    opening_jitter,
    opening_kept,
    silence_closed,
    speech_level,
    temporal_misalignment,
    vertex_error,
)
from .metrics.picture_scores import PictureScorer, PictureScores
from .metrics.video_features import add_video_features
from .networks.metric_networks import Networks, bundled_networks, usable_metrics
from .networks.recognition import shape_similarity
from .subject import Subject, name_of, read_subject, same_face

SHOWN_FRAMES = 3


@dataclass(frozen=True)
class Curves:
    """At 25 Hz, all (F,): seconds; mouth openings of the generated and the reference video over the
    inter-ocular distance, nan where no face is present; loudness of the speech, 1 at its loudest."""

    times_s: np.ndarray
    opening: np.ndarray
    reference_opening: np.ndarray
    speech_level: np.ndarray


@dataclass(frozen=True)
class ClipScores:
    """What a comparison of two videos found.

    scores: by metric key, None where a metric says nothing about this clip; worst, best: reference frame
    numbers of the least and most like mouths; frames: pairs compared; notes: lines about this clip.
    """

    scores: dict[str, float | None]
    curves: Curves
    worst: tuple[int, ...]
    best: tuple[int, ...]
    frames: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """How to score. every: pictures of each N-th frame; paired: the generated video speaks the reference's
    own words; skip: keys of metrics to leave out."""

    every: int = 1
    paired: bool = True
    skip: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be 1 or more frames; got {self.every}")


def compare_clips(
    reference: Clip,
    generated: Clip,
    speech: Speech | None = None,
    *,
    networks: Networks | None = None,
    scoring: Scoring | None = None,
    face: str | int = "largest",
    progress: Progress | None = None,
) -> ClipScores:
    """Score a generated video against the real one.

    speech: what the generated video speaks; by default its own sound, else the reference's. networks: by
    default the bundled ones, with which everything is measured that needs no weights from elsewhere.
    face: which of the reference's faces, as in `Faces.choose`; the generated video's is the one nearest to
    it. Frames are read in order and not held.

    Raises NoFaceError (no face in either), MediaError (unreadable, or no frame at the same time).
    """
    networks = networks or bundled_networks()
    scoring = scoring or Scoring()
    truth = read_subject(reference, networks.reader, face, _as_stage("reference", progress))
    made = follow(truth, generated, networks, progress)
    sound, note = choose_speech(speech, generated, reference)
    result = compare(truth, made, sound, networks, scoring, progress=progress)
    return replace(result, notes=(*result.notes, *note))


def follow(
    reference: Subject, generated: Clip, networks: Networks, progress: Progress | None = None
) -> Subject:
    """The reference's person in a generated video."""
    following = _as_stage("generated", progress)
    return read_subject(generated, networks.reader, same_face(reference, generated), following)


def choose_speech(
    speech: Speech | None, generated: Clip, reference: Clip
) -> tuple[Speech | None, tuple[str, ...]]:
    """What the generated video speaks, and a line where that had to be guessed."""
    if speech is not None:
        return speech, ()
    if generated.has_audio:
        return generated.speech(), ()
    if reference.has_audio:
        return reference.speech(), ("no sound of its own: the reference's was taken",)
    return None, ("no speech: lip sync, closed lips in silence and LipLeak were left out",)


def compare(
    reference: Subject,
    generated: Subject,
    speech: Speech | None,
    networks: Networks,
    scoring: Scoring,
    moments: dict[str, Moments] | None = None,
    progress: Progress | None = None,
) -> ClipScores:
    """Score a subject against the reference's; moments: collects features of set-level metrics, by key."""
    pairs = pair_frames(reference.clip, generated.clip)
    metrics = usable_metrics(networks, scoring.paired, scoring.skip)
    keys = frozenset(metric.key for metric in metrics)
    moments = {} if moments is None else moments
    scorer = PictureScorer(reference, generated, pairs, networks, keys, moments)
    advance = (lambda done, total: progress("pictures", done, total)) if progress else None
    pictures = scorer.run(scoring.every, advance)
    if "fvd_face" in keys and networks.video is not None:
        add_video_features(
            generated, reference, pairs, networks.video, moments.setdefault("fvd_face", Moments())
        )
    curves = read_curves(reference, generated, speech)
    scores: dict[str, float | None] = {**pictures.means()}
    scores |= _curve_scores(curves, speech) | _landmark_scores(reference, generated, pairs)
    scores |= _sync_scores(generated, speech, networks, keys)
    if speech is not None and networks.phones is not None and "closure_rate" in keys:
        scores["closure_rate"] = closure_rate(curves.opening, networks.phones.bilabial_times(speech.mono_16k))
    if "id_landmarks" in keys and networks.face_shape is not None:
        scores["id_landmarks"] = shape_similarity(networks.face_shape, reference.track, generated.track)
    worst, best = _extremes(pictures)
    return ClipScores(
        {metric.key: scores.get(metric.key) for metric in metrics},
        curves,
        worst,
        best,
        len(pairs),
        (*pairs.notes, *_missing(reference, generated, pairs)),
    )


def read_curves(reference: Subject, generated: Subject, speech: Speech | None) -> Curves:
    """Both openings and the speech's loudness on one time line from the generated video's start."""
    count = max(int(generated.clip.duration_s * RATE_HZ), 1)
    times = np.arange(count) / RATE_HZ
    level = speech_level(speech.mono_16k, count) if speech is not None else np.zeros(count)
    # Where frames pair by number although rates differ, the reference runs on the generated one's clock.
    clock = times
    if len(reference.clip) == len(generated.clip):
        clock = np.interp(times, generated.clip.times_s, reference.clip.times_s)
    return Curves(times, opening_curve(generated.track, times), opening_curve(reference.track, clock), level)


def _curve_scores(curves: Curves, speech: Speech | None) -> dict[str, float | None]:
    """What the openings of both mouths tell, and the speech beside them."""
    scores: dict[str, float | None] = {
        "opening_correlation": opening_correlation(curves.reference_opening, curves.opening),
        "opening_kept": opening_kept(curves.reference_opening, curves.opening),
        "opening_jitter": opening_jitter(curves.opening),
        "temporal_misalignment": temporal_misalignment(curves.reference_opening, curves.opening),
    }
    if speech is not None:
        loudness_and_lips = intensities(curves.opening, speech.mono_16k)
        scores["intensity_correlation"] = intensity_correlation(loudness_and_lips)
        silent = speech_presence(speech.mono_16k, len(curves.opening)) == 0
        scores["silence_closed"] = silence_closed(curves.opening, silent)
        scores["lip_leak"] = lip_leak(curves.opening, silent)
    return scores


def _landmark_scores(reference: Subject, generated: Subject, pairs: FramePairs) -> dict[str, float | None]:
    """How far the landmarks of both faces are apart, means over the frames that show both; None without."""
    layout = LandmarkLayout.load(reference.track.layout)
    regions = {"lmd_mouth": layout.lips, "lmd_face": np.arange(layout.points)}
    sums, count = dict.fromkeys((*regions, "lip_vertex_error"), 0.0), 0
    fit = np.array([reference.clip.width, reference.clip.height]) / (
        generated.clip.width,
        generated.clip.height,
    )
    for start in range(0, len(pairs), BLOCK_FRAMES):
        rows = pairs.reference[start : start + BLOCK_FRAMES]
        others = pairs.generated[start : start + BLOCK_FRAMES]
        both = reference.track.present[rows] & generated.track.present[others]
        rows, others = rows[both], others[both]
        similarity = reference.track.similarity[rows]
        truth = alignment.apply(similarity, reference.track.landmarks[rows][..., :2].astype(np.float64))
        guess = alignment.apply(similarity, generated.track.landmarks[others][..., :2] * fit)
        for key, points in regions.items():
            sums[key] += float(landmark_distance(truth, guess, points).sum())
        sums["lip_vertex_error"] += float(vertex_error(truth, guess, layout.lips).sum())
        count += len(rows)
    return {key: total / count if count else None for key, total in sums.items()}


def _sync_scores(
    generated: Subject, speech: Speech | None, networks: Networks, keys: frozenset[str]
) -> dict[str, float]:
    """How well lips and sound fit, as each network that is there and wanted hears and sees it."""
    scores: dict[str, float] = {}
    if speech is None:
        return scores
    if networks.expert is not None and keys & _sync_keys("expert"):
        scores |= _sync_figures("expert", networks.expert.score(generated.track, speech.mono_16k))
    if networks.syncnet is not None and keys & _sync_keys("sync"):
        figures = networks.syncnet.score(generated.clip, generated.track, speech.mono_16k)
        scores |= _sync_figures("sync", figures)
    return scores


def _sync_keys(network: str) -> set[str]:
    return {f"{network}_{figure}" for figure in ("distance", "confidence", "offset")}


def _sync_figures(network: str, found: SyncFigures | None) -> dict[str, float]:
    """A network's figures by metric key; none of a video too short for it."""
    if found is None:
        return {}
    return {
        f"{network}_distance": found.distance,
        f"{network}_confidence": found.confidence,
        f"{network}_offset": found.offset_ms,
    }


def _extremes(pictures: PictureScores) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Reference numbers of the frames least and most like the reference."""
    order = np.argsort(pictures.quality, kind="stable")
    frames = np.array(pictures.frames, int)
    worst, best = frames[order[:SHOWN_FRAMES]], frames[order[::-1][:SHOWN_FRAMES]]
    return tuple(worst.tolist()), tuple(best.tolist())


def _missing(reference: Subject, generated: Subject, pairs: FramePairs) -> list[str]:
    """A line for frames that show the face in one video alone."""
    present = reference.track.present[pairs.reference]
    lost = int((present & ~generated.track.present[pairs.generated]).sum())
    notes = []
    if not present.all():
        notes.append(
            f"{int((~present).sum())} of {len(pairs)} reference frames show no face: only the frame counts"
        )
    if lost:
        notes.append(f"{lost} frames of {name_of(generated.clip)} lost the face: no landmarks there")
    return notes


def _as_stage(stage: str, progress: Progress | None) -> Progress | None:
    """A progress whose every stage is called `stage`."""
    return None if progress is None else lambda _, done, total: progress(stage, done, total)
