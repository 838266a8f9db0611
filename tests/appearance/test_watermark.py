"""A watermark that lets the picture through is told, taken off, and laid over new lips as it was."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from moving_head import LAYOUT, SIZE, moving_head

from mytalk_core.appearance.references.references import read_references
from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.appearance.watermark import Watermark, find_watermark
from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.patch import Patch
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.pipeline import stages

RATE = 25.0


@dataclass(frozen=True)
class Head:
    """Frames (T,H,W,3) without a watermark, the face in them, and letters (H,W), 0..1, across its mouth."""

    frames: np.ndarray
    face: FaceTrack
    letters: np.ndarray

    def marked(self, share: float, colour: int) -> np.ndarray:
        """The frames with letters that hide a share of what is behind them."""
        each = share * self.letters[..., None]
        return np.rint(self.frames + each * (colour - self.frames.astype(np.float32))).astype(np.uint8)

    def found(self, frames: np.ndarray) -> Watermark | None:
        """The watermark of some frames of this face."""
        clip = ImageClip.from_frames(frames, RATE)
        references = read_references(clip, self.face, np.arange(len(clip)), SIZE, LAYOUT)
        return find_watermark(clip, self.face, references, LAYOUT)

    def drawn(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames with the lips drawn anew, and how much of each pixel is new, 0..1."""
        clip = ImageClip.from_frames(frames, RATE)
        timeline = plan_timeline(clip, len(frames) / RATE)
        edits = list(stages.draw(LoadedRenderer(), clip, self.face, None, timeline).edits())
        masks = np.stack([edit.mask() for edit in edits]).astype(np.float32) / 255
        return np.stack([edit.pasted.rgb for edit in edits]), masks


@pytest.fixture(scope="module")
def head() -> Head:
    frames = moving_head().frames
    clip = ImageClip.from_frames(frames, RATE)
    face = stages.track(load_face_reader(), clip).choose()
    lips = face.landmarks[:][:, LAYOUT.lips_outer, :2].mean((0, 1))
    letters = np.zeros(frames.shape[1:3], np.uint8)
    at = (int(lips[0]) - 82, int(lips[1]) + 12)
    cv2.putText(letters, "SAMPLE", at, cv2.FONT_HERSHEY_SIMPLEX, 1.4, 255, 7, cv2.LINE_AA)
    return Head(frames, face, letters.astype(np.float32) / 255)


@pytest.mark.parametrize(("share", "colour"), [(0.25, 255), (0.5, 255), (0.4, 0)])
def test_its_share_and_its_place_are_told(head, share, colour):
    marked = head.marked(share, colour)
    found = head.found(marked)
    assert found is not None and found.colour == colour
    assert found.share.max() == pytest.approx(share, abs=0.06)
    for number in range(0, len(marked), 4):
        off = found.taken_off(marked[number])
        ring = head.face.landmarks[:][number, LAYOUT.lips_outer, :2].astype(np.int32)
        about = cv2.fillPoly(np.zeros(off.shape[:2], np.uint8), [ring], 1)
        about = cv2.dilate(about, np.ones((25, 25), np.uint8)) > 0
        hidden = about & (head.letters > 0)
        left = np.abs(off.astype(float) - head.frames[number])[hidden].mean()
        was = np.abs(marked[number].astype(float) - head.frames[number])[hidden].mean()
        assert left < 0.25 * was


def test_what_hides_all_or_is_not_there_is_no_watermark(head):
    assert head.found(head.frames) is None
    assert head.found(head.marked(1.0, 255)) is None


def test_it_is_laid_over_what_it_was_taken_off(head):
    marked = head.marked(0.4, 255)
    found = head.found(marked)
    assert found is not None
    off = found.taken_off(marked[3])
    for top, left in ((found.top - 20, found.left - 30), (found.top + 150, found.left + 90)):
        rgb = off[max(top, 0) :, max(left, 0) :]
        patch = Patch(max(top, 0), max(left, 0), rgb, np.ones(rgb.shape[:2], np.float32))
        over = found.laid_over(patch).rgb
        assert np.abs(over - marked[3][patch.top :, patch.left :]).max() <= 1.5
    nowhere = Patch(0, 0, off[:4, :4], np.ones((4, 4), np.float32))
    assert found.laid_over(nowhere) is nowhere


def test_new_lips_lie_behind_it(head):
    share, colour = 0.4, 255
    plain, mask = head.drawn(head.frames)
    marked, marked_mask = head.drawn(head.marked(share, colour))
    both = (np.minimum(mask, marked_mask) > 0.9) & (head.letters > 0.9)
    assert both.sum() > 5000
    each = share * head.letters[..., None]
    expected = plain + each * (colour - plain.astype(np.float32))
    assert np.abs(marked - expected)[both].mean() < 5
    # Beside the letters nothing of them is lent.
    beside = (np.minimum(mask, marked_mask) > 0.9) & (cv2.dilate(head.letters, np.ones((5, 5))) == 0)
    assert np.abs(marked - plain.astype(float))[beside].mean() < 3
