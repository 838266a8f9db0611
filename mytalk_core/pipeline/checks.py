"""What a run that ends well can hide: a source that does not suit, and lips that did not move as intended."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ..appearance.references.pool import even_sample
from ..appearance.references.references import References, mouth_opening
from ..errors import DoubtError
from ..face import alignment
from ..face.layout import LandmarkLayout
from ..face.mesh import region_from_landmarks
from ..face.mesh_reader import FaceMeshReader
from ..face.packed import Rows
from ..face.reader import PRESENCE_THRESHOLD
from ..face.track import FaceTrack
from ..media.clip import Clip
from ..media.picture import Picture
from ..motion.motion import Motion
from ..motion.person import MOUTH_CORNERS
from .rendered import Edit

# Landmarks are looked at in so many frames of a clip at most, pictures of the result in so many.
TRACK_FRAMES, RESULT_FRAMES = 200, 48
# Of a narrower mouth little can be seen.
SMALL_PX = 24.0
# A mouth is blurred that can be shrunk to this share before it looks sharp, and is then narrower than this.
BLURRED_SHARE, BLURRED_PX = 0.5, 40.0
# The mesh sees half a mouth beyond this.
TURNED_DEG = 45.0
# A chin is cut off where this share of the lower face's points lies outside of the picture.
OUTSIDE = 0.05
# A few frames do not spoil a video.
SHARE = 0.1
# Something lies over the chin in this share of the pictures that lips are borrowed from; in half of them the
# detector takes it for the face itself.
COVERED_SHARE = 0.25
# Sharp pictures of mouths keep this share of their contrast below 1.5 px.
SHARP = 0.09
# A mouth whose opening stays within this, canonical units, does not speak.
STILL_UNITS = 1.0
# Lips that were to move by less, root mean square in canonical units, say nothing: the mesh jitters as much.
MEASURABLE_UNITS = 2.0
# Of the intended movement so much must be seen, the openings must correlate so well, and so many frames must
# have new lips.
MOVED, CORRELATED, EDITED = 0.5, 0.5, 0.5


@dataclass(frozen=True)
class Check:
    """What one look found. figures: by name, plain numbers; doubts: a sentence for each that is amiss."""

    figures: dict[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @staticmethod
    def of(figures: dict[str, float], doubts: list[str | None]) -> Check:
        """The figures to three digits, and those of the sentences that there are."""
        rounded = {name: float(f"{value:.3g}") for name, value in figures.items()}
        return Check(rounded, tuple(doubt for doubt in doubts if doubt is not None))

    def insist(self) -> None:
        """Raises DoubtError where there is a doubt."""
        if self.doubts:
            raise DoubtError(f"strict was asked for, and {'; '.join(self.doubts)}")


def check_track(track: FaceTrack, clip: Clip) -> Check:
    """Whether a face is large enough, turned to the camera and whole; before any motion is made.

    track: on the clip's own frames. Figures: `mouth_px`, `turned_share` and `cut_share` of the frames with
    the face.
    """
    layout = LandmarkLayout.load(track.layout)
    landmarks = track.landmarks[even_sample(np.flatnonzero(track.present), TRACK_FRAMES)]
    corners = landmarks[:, MOUTH_CORNERS, :2]
    rotation = alignment.fit_pose(landmarks, layout.template, layout.anchors).rotation
    facing = np.hypot(rotation[:, 1, 2], rotation[:, 2, 2])
    yaw_deg = np.degrees(np.arctan2(np.abs(rotation[:, 0, 2]), facing))
    lower = landmarks[:, layout.lower, :2]
    outside = ((lower < 0) | (lower > (clip.width, clip.height))).any(-1).mean(1)
    # A turned head shortens its mouth, which is no small face.
    width_px = np.hypot(*(corners[:, 0] - corners[:, 1]).T) / np.cos(np.radians(np.minimum(yaw_deg, 60)))
    mouth_px = float(np.median(width_px))
    turned, cut = float((yaw_deg > TURNED_DEG).mean()), float((outside > OUTSIDE).mean())
    small_line = (
        f"the face is small: its mouth is {mouth_px:.0f} px wide, and under {SMALL_PX:.0f} px little is seen "
        "of what the lips do: give a larger or closer video"
    )
    turned_line = (
        f"the head is turned by more than {TURNED_DEG:.0f} degrees in {turned:.0%} of the frames with the "
        "face, where lips are drawn less well: choose a part in which it looks into the camera"
    )
    cut_line = (
        f"the picture's edge cuts off the chin in {cut:.0%} of the frames with the face, and what lies "
        "outside cannot be drawn: choose a part that shows the whole face"
    )
    return Check.of(
        {"mouth_px": mouth_px, "turned_share": turned, "cut_share": cut},
        [
            small_line if mouth_px < SMALL_PX else None,
            turned_line if turned >= SHARE else None,
            cut_line if cut >= SHARE else None,
        ],
    )


def check_pictures(references: References, track: FaceTrack, covered: float, lent: int) -> Check:
    """Whether the pictures that lips are borrowed from are sharp and free.

    references, of the face `track`; covered: the share of them, 0..1, that was put aside; lent: open mouths
    that another face lent the inside of. Figures: `detail_px`, how wide a sharp mouth with as much detail
    would be, `covered_share` and `lent_mouths`.
    """
    width_px = alignment.UNITS / np.median(
        np.hypot(*track.similarity[even_sample(np.flatnonzero(track.present), TRACK_FRAMES), :, 0].T)
    )
    native = max(16, min(references.size, round(float(width_px))))
    chosen = even_sample(np.arange(len(references)), 12)
    shares = [_detail_share(references.crops[row], references.landmarks[row], native) for row in chosen]
    corners = references.landmarks[chosen][:, MOUTH_CORNERS]
    mouth_px = float(np.median(np.hypot(*(corners[:, 0] - corners[:, 1]).T))) * native / alignment.UNITS
    share = float(np.median(shares))
    detail_px = mouth_px * share
    blurred_line = (
        f"the mouth is blurred: of its {mouth_px:.0f} px it has the detail of one {detail_px:.0f} px wide, "
        "and new lips will be as soft: give a sharper video"
    )
    covered_line = (
        f"something lies over the mouth or chin in {covered:.0%} of the pictures that were looked at, and "
        "such frames stay as they are: choose a part without it"
    )
    return Check.of(
        {"detail_px": detail_px, "covered_share": covered, "lent_mouths": lent},
        [
            # A small one has been told.
            blurred_line if share <= BLURRED_SHARE and detail_px < BLURRED_PX <= 2 * mouth_px else None,
            covered_line if covered >= COVERED_SHARE else None,
        ],
    )


def check_motion(motion: Motion, shown: FaceTrack) -> Check:
    """Whether a motion moves the mouth of a face on its timeline at all. Figure: `opening_range`, canonical
    units."""
    layout = LandmarkLayout.load(motion.layout)
    rows = np.flatnonzero(shown.present)
    openings = [
        mouth_opening(motion.onto(shown.canonical[part], shown.times_s[part]), layout)
        for part in np.array_split(rows, len(rows) // 250 + 1)
    ]
    opening_range = float(np.ptp(np.concatenate(openings)))
    line = "the mouth did not move: the speech is silence, too quiet, or expression is 0"
    return Check.of({"opening_range": opening_range}, [line if opening_range < STILL_UNITS else None])


class LipWatch:
    """Reads the lips of a result's frames again while it is written, a few of them, evenly spread.

    mesh: reads them; shown: the face on the result's timeline; targets: (T,N,2), what was to be drawn; alone:
    whether no other face has new lips. partial: the frames so far in which something stands before the mouth
    and stays on top.
    """

    def __init__(self, mesh: FaceMeshReader, shown: FaceTrack, targets: Rows, alone: bool = True):
        self._mesh, self._shown, self._targets, self._alone = mesh, shown, targets, alone
        self._layout = LandmarkLayout.load(shown.layout)
        self._wanted = frozenset(even_sample(np.flatnonzero(shown.present), RESULT_FRAMES).tolist())
        self._frames = self._edited = self.partial = 0
        self._seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def see(self, edit: Edit, picture: Picture) -> None:
        """A frame of the result: what was done to the source's, and what became of it."""
        self._frames += 1
        edited = edit.is_edited and (self._alone or self._is_new(edit))
        self._edited += edited
        self.partial += edit.is_partial
        if edit.picture.index not in self._wanted or not edited:
            return
        row = np.array([edit.picture.index])
        region = region_from_landmarks(self._shown.landmarks[row][0])
        landmarks, presence = self._mesh.read([picture.rgb], [region])
        if presence[0] > PRESENCE_THRESHOLD:
            found = self._layout.from_source(landmarks)[..., :2]
            found = alignment.apply(self._shown.similarity[row], found)
            self._seen.append((found, self._targets[row], self._shown.canonical[row]))

    @property
    def edited(self) -> int:
        """How many frames have new lips of this face, so far."""
        return self._edited

    def _is_new(self, edit: Edit) -> bool:
        """Whether some of the new pixels are this face's lips."""
        row = edit.picture.index
        if not self._shown.present[row]:
            return False
        lips = np.rint(self._shown.landmarks[np.array([row])][0, self._layout.lips_outer, :2]).astype(int)
        mask = edit.mask()
        inside = ((lips >= 0) & (lips < mask.shape[::-1])).all(1)
        return bool((mask[lips[inside, 1], lips[inside, 0]] > 0).any())

    def check(self) -> Check:
        """Whether the lips moved as intended, of what was seen.

        Figures: `edited_share` of the frames; where the intended movement can be measured `moved_share`, how
        much of the way from the source's lips to the intended ones was gone (0 are the source's own), and
        `opening_correlation` of the mouth seen and the mouth intended.
        """
        share = self._edited / max(self._frames, 1)
        few = f"only {self._edited} of {self._frames} frames have new lips"
        figures, doubts = {"edited_share": share}, [few if share < EDITED else None]
        if self._seen:
            measured, found = self._lips(*(np.concatenate(part) for part in zip(*self._seen, strict=True)))
            figures |= measured
            doubts += found
        return Check.of(figures, doubts)

    def _lips(
        self, found: np.ndarray, intended: np.ndarray, source: np.ndarray
    ) -> tuple[dict[str, float], list[str | None]]:
        """Figures and doubts of landmarks (F,N,2) in canonical units."""
        lips = np.concatenate([self._layout.lips_outer, self._layout.lips_inner])
        way, gone = (intended - source)[:, lips], (found - source)[:, lips]
        figures: dict[str, float] = {}
        doubts: list[str | None] = []
        if np.sqrt(np.square(way).sum(-1).mean()) >= MEASURABLE_UNITS:
            moved = figures["moved_share"] = float((way * gone).sum() / np.square(way).sum())
            line = (
                f"the lips of the result are still much like the source's: {moved:.0%} of the intended "
                "movement is seen; look at it, and try another part or renderer"
            )
            doubts.append(line if moved < MOVED else None)
        wanted, seen = mouth_opening(intended, self._layout), mouth_opening(found, self._layout)
        if len(wanted) >= 8 and wanted.std() >= STILL_UNITS:
            r = figures["opening_correlation"] = float(np.corrcoef(wanted, seen)[0, 1]) if seen.std() else 0.0
            line = (
                f"the mouth of the result does not open as intended (correlation {r:.2f}, {CORRELATED} or "
                "more is usual); look at it, and try another part or renderer"
            )
            doubts.append(line if r < CORRELATED else None)
        return figures, doubts


def _detail_share(crop: np.ndarray, landmarks: np.ndarray, native: int) -> float:
    """What a crop uint8 (S,S,3) with landmarks (N,2) canonical units can be shrunk to, 0..1, from `native` px
    on, until its mouth is as sharp as pictures usually are."""
    corners = landmarks[list(MOUTH_CORNERS)]
    centre, half = corners.mean(0), np.hypot(*(corners[0] - corners[1])) * 0.75
    for share in (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12):
        side = max(8, round(native * share))
        small = cv2.cvtColor(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        low, high = (centre - half) * side / alignment.UNITS, (centre + half) * side / alignment.UNITS
        left, top = np.clip(low, 0, side - 4).astype(int)
        right, bottom = np.clip(np.ceil(high), (left + 4, top + 4), side).astype(int)
        mouth = small[top:bottom, left:right].astype(np.float32)
        contrast = float(mouth.std())
        if float((mouth - cv2.GaussianBlur(mouth, (0, 0), 1.5)).std()) >= SHARP * contrast:
            break
    return share
