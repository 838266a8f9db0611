"""One pass over two videos' frames: everything that is measured on pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from ...appearance.square.raster import triangulate
from ...face import alignment
from ...face.layout import LandmarkLayout
from ..networks.lpips import perceptual_score
from ..networks.metric_networks import Networks
from ..networks.recognition import FaceRecogniser
from ..subject import Subject
from .flicker import flicker, unrest
from .frame_pairs import FramePairs
from .frechet import Moments
from .pictures import psnr, ssim
from .regions import Regions, change, face_crop, find_regions, outside_in_frame
from .teeth import FaceCrop, teeth_stretch

# Pictures that FID's network reads at a time.
BATCH = 8


@dataclass
class PictureScores:
    """What the pictures of two videos score, frame by frame.

    values: by metric key, one number a scored frame; frames, quality: reference numbers of scored frames
    with a face, and how like the reference they are; unrest: (face, mouth) levels by frame.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    frames: list[int] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)
    generated_unrest: list[tuple[float, float]] = field(default_factory=list)
    true_unrest: list[tuple[float, float]] = field(default_factory=list)

    def add(self, key: str, value: float) -> None:
        """Note one frame's value."""
        self.values.setdefault(key, []).append(value)

    def means(self) -> dict[str, float]:
        """By key, over the frames."""
        scores = {key: float(np.mean(values)) for key, values in self.values.items()}
        for region, name in enumerate(("flicker_face", "flicker_mouth")):
            rows = [[levels[region] for levels in side] for side in (self.generated_unrest, self.true_unrest)]
            value = flicker(*rows)
            if value is not None:
                scores[name] = value
        return scores


@dataclass(frozen=True)
class _Crops:
    """One pair's face crops uint8 (256,256,3), its position among the pairs, the reference's shot, the
    generated landmarks (N,2) where its face was found, and the mouth (256,256) bool where the pair is
    scored."""

    position: int
    shot: int
    truth: np.ndarray
    guess: np.ndarray
    landmarks: np.ndarray | None
    mouth: np.ndarray | None


class PictureScorer:
    """Scores every `every`-th pair of frames; three neighbouring face crops are held, and no frame.

    keys: the metrics wanted; moments: by metric key, where set-level metrics collect their features.
    """

    def __init__(
        self,
        reference: Subject,
        generated: Subject,
        pairs: FramePairs,
        networks: Networks,
        keys: frozenset[str],
        moments: dict[str, Moments] | None = None,
    ):
        self.reference, self.generated, self.pairs = reference, generated, pairs
        self.networks, self.keys = networks, keys
        self.moments = {} if moments is None else moments
        self.layout = LandmarkLayout.load(reference.track.layout)
        self.mesh = triangulate(self.layout)
        size, other = ((s.clip.width, s.clip.height) for s in (reference, generated))
        self.fit = np.array(size) / np.array(other)
        self.scores = PictureScores()
        self._near: deque[_Crops] = deque(maxlen=3)
        self._waiting: list[np.ndarray] = []

    def run(self, every: int, progress: Callable[[int, int], None] | None = None) -> PictureScores:
        """All scores; progress is called with pairs done and pairs in all."""
        scored = np.arange(min(every // 2, len(self.pairs) - 1), len(self.pairs), every)
        wanted = np.unique(np.concatenate([scored - 1, scored, scored + 1]))
        wanted = wanted[(wanted >= 0) & (wanted < len(self.pairs))]
        marked = set(scored.tolist())
        true_frames = self.reference.clip.pictures(self.pairs.reference[wanted])
        frames = self.generated.clip.pictures(self.pairs.generated[wanted])
        for position, true, made in zip(wanted.tolist(), true_frames, frames, strict=True):
            truth, guess = true.rgb, self._fitted(made.rgb)
            self._see(position, truth, guess, position in marked)
            if self._near and self._near[-1].position == position and position - 1 in marked:
                self._over_time()
            if progress:
                progress(position + 1, len(self.pairs))
        self._read_waiting()
        return self.scores

    def _fitted(self, rgb: np.ndarray) -> np.ndarray:
        clip = self.reference.clip
        if rgb.shape[:2] == (clip.height, clip.width):
            return rgb
        smaller = rgb.shape[0] > clip.height
        kind = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        return cv2.resize(rgb, (clip.width, clip.height), interpolation=kind)

    def _see(self, position: int, truth: np.ndarray, guess: np.ndarray, scored: bool) -> None:
        """Take one pair in; score it if it is one of those."""
        if scored:
            self._compare("frame", truth, guess, None)
        row = self.pairs.reference[position]
        track = self.reference.track
        if not track.present[row]:
            return
        similarity = track.similarity[row]
        crops = face_crop(truth, similarity), face_crop(guess, similarity)
        landmarks = self._landmarks(position)
        truth_points = track.canonical[row]
        regions = None
        if scored:
            guess_points = truth_points if landmarks is None else landmarks
            regions = find_regions(truth_points, guess_points, self.layout)
        mouth = regions.mouth if regions is not None else None
        self._near.append(_Crops(position, int(track.shots[row]), *crops, landmarks, mouth))
        if regions is None:
            return
        self._compare("face", *crops, None)
        self._compare("mouth", *crops, regions.mouth)
        self.scores.add("outside_face", change(*crops, ~regions.editable))
        outside = outside_in_frame(regions.editable, similarity, *truth.shape[:2])
        self.scores.add("outside_frame", change(truth, guess, outside))
        self._networks(position, truth, guess, crops, regions)
        # The mouth itself where its words are the reference's, else what should have stayed as it was.
        paired = self.scores.values.get("psnr_mouth")
        self.scores.frames.append(int(row))
        self.scores.quality.append(paired[-1] if paired else -self.scores.values["outside_face"][-1])

    def _compare(self, region: str, truth: np.ndarray, guess: np.ndarray, inside: np.ndarray | None) -> None:
        for name, measure in (("psnr", psnr), ("ssim", ssim)):
            key = f"{name}_{region}"
            if key in self.keys:
                self.scores.add(key, measure(truth, guess, inside))

    def _landmarks(self, position: int) -> np.ndarray | None:
        """The generated face's (N,2) in the canonical square of the reference's, None where there is none."""
        row, other = self.pairs.reference[position], self.pairs.generated[position]
        if not self.generated.track.present[other]:
            return None
        landmarks = self.generated.track.landmarks[other][..., :2] * self.fit
        return alignment.apply(self.reference.track.similarity[row], landmarks)

    def _networks(
        self,
        position: int,
        truth: np.ndarray,
        guess: np.ndarray,
        crops: tuple[np.ndarray, np.ndarray],
        regions: Regions,
    ) -> None:
        for name in ("lpips", "lpips_vgg"):
            model = getattr(self.networks, name)
            if model is not None and self.keys & {f"{name}_face", f"{name}_mouth"}:
                score = perceptual_score(model, *crops, regions.mouth)
                self.scores.add(f"{name}_face", score.whole)
                self.scores.add(f"{name}_mouth", score.inside)
        if "fid_face" in self.keys:
            self._waiting.append(crops[1])
            if len(self._waiting) == BATCH:
                self._read_waiting()
        for name in ("arcface", "sface"):
            if f"id_{name}" in self.keys:
                self._identity(f"id_{name}", getattr(self.networks, name), position, truth, guess)

    def _read_waiting(self) -> None:
        """FID's features of the face crops that wait for it."""
        network = self.networks.inception
        if self._waiting and network is not None:
            features = network.read(np.stack(self._waiting))
            self.moments.setdefault("fid_face", Moments()).add(features)
            self._waiting = []

    def _identity(
        self, key: str, recogniser: FaceRecogniser, position: int, truth: np.ndarray, guess: np.ndarray
    ) -> None:
        row, other = int(self.pairs.reference[position]), int(self.pairs.generated[position])
        if not self.generated.track.present[other]:
            return
        kept = self.reference.embeddings.setdefault(key, {})
        if row not in kept:
            kept[row] = recogniser.embed(truth, self.reference.track.landmarks[row][:, :2])
        embedding = kept[row]
        if self.generated is not self.reference:
            embedding = recogniser.embed(guess, self.generated.track.landmarks[other][:, :2] * self.fit)
        self.scores.add(key, float(kept[row] @ embedding))

    def _over_time(self) -> None:
        """What three neighbours tell, where they are neighbours and of one shot."""
        near = list(self._near)
        if len(near) < 3 or near[2].position - near[0].position != 2 or near[0].shot != near[2].shot:
            return
        if "teeth_stretch" in self.keys:
            self._teeth(near)
        mouth = near[1].mouth
        if mouth is None:
            return
        for side, levels in (("guess", self.scores.generated_unrest), ("truth", self.scores.true_unrest)):
            values = unrest(*(getattr(crops, side) for crops in near))
            levels.append((float(values.mean()), float(values[mouth].mean()) if mouth.any() else 0.0))

    def _teeth(self, near: list[_Crops]) -> None:
        """Of the first of three neighbours against both others."""
        mouths = [None if c.landmarks is None else FaceCrop(c.guess, c.landmarks) for c in near]
        for other in mouths[1:]:
            if mouths[0] is not None and other is not None:
                stretch = teeth_stretch(mouths[0], other, self.mesh)
                if stretch is not None:
                    self.scores.add("teeth_stretch", stretch)
