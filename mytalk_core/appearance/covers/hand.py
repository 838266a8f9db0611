"""A hand before mouth or chin: skin before skin, which colour hardly tells from the face.

It differs from the usual face by a few levels only, but by as much over a wide part, and it reaches in from
beyond the face, over the jaw line, where the face ends. Where it ends within the face, its outline tells.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..mask import disc, widened
from .parts import brightness, joined, unlike_skin

# As shares of what makes a pixel unlike the usual face alone: where a hand may be, and where it is likely.
MAYBE, LIKELY = 0.15, 0.4
WIDE = 2  # units: what is narrower is a jaw line that lies a little elsewhere
ACROSS = 30  # square units on either side of it
# Half the width, units, of a crease, a shadow or a like colour that parts no hand: in a frame, and in one
# that lends, of which more is doubted, since others lend as well.
PARTED, PARTED_LENDER = 2, 6
WRIST = 8  # units of an edge of what is looked at
ON_LIPS = 0.08  # share of the lips from which on a hand leaves none of them
FINGERS, REACH = 28, 14  # units from one to the others; units from what is likely
STEP = 7.0  # levels within three units, for a third of its outline: most hands 8 to 28, all else 6 at most
ROUNDS = 3  # of the cut


def find_hand(
    picture: np.ndarray,
    usual: np.ndarray,
    different: np.ndarray,
    about: np.ndarray,
    face: np.ndarray,
    lips: np.ndarray,
    skin: np.ndarray,
    lends: bool,
) -> np.ndarray:
    """Where a hand is, bool (h, w).

    Args:
        picture, usual: float32 (h, w, 3) RGB, what is seen and the usual face in its light.
        different: float32 (h, w), how unlike the usual face it is, 1 where that alone tells.
        about: bool (h, w), mouth and chin without what is between the lips.
        face: bool (h, w), what is above the jaw line.
        lips: bool (h, w), where the landmarks have them; often unlike the usual ones by themselves.
        skin: float (C, 3), colours of the person's skin in this light.
        lends: whether it is a picture that lends its mouth to others.
    """
    parted = disc(PARTED_LENDER if lends else PARTED)
    smooth = cv2.blur(different, (3, 3))
    likely = cv2.morphologyEx((smooth > LIKELY).astype(np.uint8), cv2.MORPH_OPEN, disc(WIDE)) > 0
    if not _crosses(likely, about, face, parted).any():
        return np.zeros(about.shape, bool)
    likely &= ~unlike_skin(picture, skin)
    likely = cv2.morphologyEx(likely.astype(np.uint8), cv2.MORPH_OPEN, disc(WIDE)) > 0
    hand = _crosses(likely, about, face, parted)
    if not hand.any():
        return hand
    # One finger tells of the others.
    hand |= likely & ~lips & (widened(hand.astype(np.uint8), FINGERS) > 0)
    hand = _cut_out(picture, smooth, hand)
    if not (_comes_from_beyond(hand) and _has_outline(picture, usual, hand, about & ~lips)):
        return np.zeros(about.shape, bool)
    # What is left of lips beside fingers is no mouth to draw behind them.
    on_lips = (hand & lips).sum() > ON_LIPS * lips.sum()
    return hand | lips if on_lips else hand


def _crosses(likely: np.ndarray, about: np.ndarray, face: np.ndarray, parted: np.ndarray) -> np.ndarray:
    """The joined parts, bool (h, w), that are wide on both sides of the jaw line; parted: the kernel of what
    lies between and parts none."""
    closed = cv2.morphologyEx(likely.astype(np.uint8), cv2.MORPH_CLOSE, parted)
    count, numbers = cv2.connectedComponents(closed)
    within, beyond = (np.bincount(numbers[likely & side], minlength=count) for side in (about, ~face))
    both = np.minimum(within, beyond) >= ACROSS
    both[0] = False
    return likely & both[numbers]


def _comes_from_beyond(hand: np.ndarray) -> bool:
    """Whether a hand (h, w) reaches over an edge of what is looked at, as arms do; a crease, or a cheek that
    laughs, ends with the face."""
    edges = (hand[0], hand[-1], hand[:, 0], hand[:, -1])
    return max(int(edge.sum()) for edge in edges) >= WRIST


def _has_outline(picture: np.ndarray, usual: np.ndarray, hand: np.ndarray, about: np.ndarray) -> bool:
    """Whether there is a step at a hand's outline on the face that the usual face has not, and steeper than
    most of that face: a beard, carved or grown, or a chin in another light, has none or its own."""
    outline = cv2.morphologyEx(hand.astype(np.uint8), cv2.MORPH_GRADIENT, disc(1)) > 0
    outline &= about
    if not outline.any():
        return False
    slopes = [cv2.morphologyEx(brightness(one), cv2.MORPH_GRADIENT, disc(1)) for one in (picture, usual)]
    steeper = (slopes[0] - slopes[1])[outline]
    return float(np.percentile(steeper, 65)) > max(STEP, float(np.percentile(slopes[1][about], 75)))


def _cut_out(picture: np.ndarray, different: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """The whole of a hand of which a part is known, bool (h, w), by its colours, its outline and how unlike
    the face it is (Rother et al., GrabCut, 2004)."""
    near = widened(hand.astype(np.uint8), REACH) > 0
    marks = np.full(hand.shape, cv2.GC_BGD, np.uint8)
    marks[near] = cv2.GC_PR_BGD
    marks[near & (different > MAYBE)] = cv2.GC_PR_FGD
    marks[hand] = cv2.GC_FGD
    lab = cv2.cvtColor(picture / np.float32(255), cv2.COLOR_RGB2LAB)
    told = cv2.merge([2.5 * lab[..., 0], 128 + 4 * lab[..., 1], 255 * np.minimum(different, 1)])
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(
        told.clip(0, 255).astype(np.uint8), marks, (0, 0, 1, 1), *models, ROUNDS, cv2.GC_INIT_WITH_MASK
    )
    whole = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    return joined(hand, cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_CLOSE, disc(WIDE)) > 0)
