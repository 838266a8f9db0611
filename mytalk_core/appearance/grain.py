"""Grain: what is drawn anew gets as much of it as the frame around has.

Resampling and mixing smooth the noise of film and sensors away. What is missing is measured in every frame
and added as noise of that frame's own spectrum, new for every frame as grain is, the same in every run. A
clean source has none, and gets none; what is as fine and goes along with the face, as its own structure does
in a small picture and all noise in a still, is no grain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ..media.patch import Patch

# The scales in pixels up to which variation is grain, of brightness and of the differences of colour: most
# videos hold these at half the samples, and their grain is twice as coarse.
SIGMAS_PX = (1.5, 3.0, 3.0)
# Levels of noise (Immerkaer's) that a clean source's calmest blocks have, and from which on they have grain.
CLEAN, GRAINY = 0.7, 1.1
CALM = 0.1
BLOCK_PX, TILE_PX = 8, 16
# The share of its energy along the axes of its spectrum that grain has at most, and from which on it is what
# compression leaves, which lies there: noise of any size has 0.1 to 0.27 of it, such ripples 0.33 to 0.6.
ALONG_AXES = (0.26, 0.32)
# The square's rows and columns, shares of its side, between which mouth and chin are.
ROWS, COLUMNS = (0.58, 0.86), (0.33, 0.67)
# The share of what varies finely that is new in every frame: up to the first it is structure that moves, from
# the second on it is grain. Where there is nothing but grain it is 0.8 to 1.
RENEWED = (0.2, 0.5)
# Structure is in some blocks, grain in all: how much of it there is tell these quantiles of their energies,
# and which share of the mean each is where noise is all there is.
SHARES = {0.35: 0.93, CALM: 0.68}
# Blocks darker or lighter than these have lost theirs.
DARK, LIGHT = 12.0, 243.0
# What varies by less than so many times the references' grain's energy is grain.
FROZEN = 1.5
LEAST_ALPHA = 0.25
# Brightness and two differences of colour (rows) of RGB, and back.
TO_PLANES = np.array([[0.25, 0.5, 0.25], [-0.5, 1.0, -0.5], [1.0, 0.0, -1.0]], np.float32)
# Two second differences across each other: edges and slopes leave it alone (Immerkaer, Fast noise variance
# estimation, 1996).
NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
TO_RGB = np.linalg.inv(TO_PLANES).astype(np.float32)


def grain_strength(part: np.ndarray) -> float:
    """How surely a part uint8 (h, w, 3) of a frame has grain, 0..1: 0 where it is clean, where all that
    varies is what compression leaves, and where it is too small to tell."""
    if min(part.shape[:2]) < 2 * BLOCK_PX:
        return 0.0
    light = _light(part)
    strength = float(np.clip((noise_level(light) - CLEAN) / (GRAINY - CLEAN), 0, 1))
    if strength == 0:
        return 0.0
    least, most = ALONG_AXES
    return strength * float(
        np.clip((most - along_axes(high_pass(light, SIGMAS_PX[0]))) / (most - least), 0, 1)
    )


def renewed(crop: np.ndarray, before: np.ndarray) -> float:
    """How much of what varies finely about a face's mouth is new in each of two neighbouring frames, 0..1.

    crop, before: uint8 (S, S, 3), the canonical square in each. 0 if they are one and the same picture.
    """
    now, then = (_light(_about_the_mouth(square)) for square in (crop, before))
    blocks = np.ones([side // BLOCK_PX for side in now.shape], bool)
    one, other, changed = (
        grain_energy(high_pass(plane, SIGMAS_PX[0]), blocks) for plane in (now, then, now - then)
    )
    return min(changed / max(one + other, 1e-6), 1.0)


def lasting_strength(strengths: Sequence[float], shares: Sequence[float]) -> float:
    """How much grain some neighbouring frames have, 0..1, by what each tells of itself, see `grain_strength`,
    and by how much of it is new from one to the next, see `renewed`; of repeated frames but one tells."""
    strength = sum(strengths) / len(strengths)
    if strength == 0 or not shares:
        return strength
    told = [share for share in shares if share > 0] or [0.0]
    share, (least, most) = sum(told) / len(told), RENEWED
    return float(strength * np.sqrt(share) * np.clip((share - least) / (most - least), 0, 1))


def grained(
    patch: Patch, frame: np.ndarray, seed: int, strength: float, steps: tuple[int, int] = (1, 1)
) -> Patch:
    """The patch with the grain that its pasted pixels would lack in its frame, uint8 (H, W, 3).

    seed: of the noise, the frame's number; strength: how much of the grain, 0..1, see `grain_strength`: from
    one frame of a compressed video to the next it may differ, and what is drawn must not flicker; steps: rows
    and columns of pixels that share a sample of colour in the frame's own format. The patch itself where the
    strength is 0.
    """
    if strength == 0 or min(patch.alpha.shape) < 2 * BLOCK_PX:
        return patch
    top, left = patch.top, patch.left
    below = frame[top : top + len(patch.alpha), left : left + patch.alpha.shape[1]]
    source = below.astype(np.float32) @ TO_PLANES.T
    lit, alpha = _lit_blocks(source[..., 0]), patch.alpha[..., None]
    new = patch.rgb.astype(np.float32) @ TO_PLANES.T
    noise = np.random.default_rng(seed).standard_normal(source.shape, np.float32)
    for plane, sigma in enumerate(SIGMAS_PX):
        fine = high_pass(source[..., plane], sigma)
        energy = grain_energy(fine, lit)
        new[..., plane], kept = _without_grain(new[..., plane], patch.alpha, strength, sigma)
        lacking = energy * (1 - (1 - patch.alpha) ** 2) - patch.alpha**2 * kept
        kernel = lost_spectrum(fine, high_pass(new[..., plane], sigma), patch.alpha > 0.5)
        shaped = cv2.filter2D(noise[..., plane], -1, kernel)
        if plane > 0:
            shaped = _shared(shaped, steps, (top, left))
        amplitude = np.sqrt(lacking.clip(0)) / max(float(high_pass(shaped, sigma).std()), 1e-6)
        noise[..., plane] = amplitude * shaped
    pasted = source[..., 0] + patch.alpha * (new[..., 0] - source[..., 0])
    # Light and dark hold less grain, and what is hardly new shows the frame's own.
    room = np.clip(np.minimum(pasted, 255 - pasted) / DARK, 0, 1)[..., None]
    added = strength * room * noise @ TO_RGB.T / np.maximum(alpha, LEAST_ALPHA)
    rgb = np.where(alpha > 0, np.clip(new @ TO_RGB.T + added, 0, 255), patch.rgb)
    return replace(patch, rgb=np.rint(rgb).astype(np.uint8))


def _about_the_mouth(crop: np.ndarray) -> np.ndarray:
    """The part of a square (S, S, 3) that holds mouth and chin."""
    rows, columns = (slice(*(round(end * len(crop)) for end in ends)) for ends in (ROWS, COLUMNS))
    return crop[rows, columns]


def _light(rgb: np.ndarray) -> np.ndarray:
    """The first of the planes of a picture uint8 (h, w, 3), float32 (h, w): most frames need no more."""
    quarters = rgb[..., 0].astype(np.uint16)
    quarters += rgb[..., 2]
    quarters += 2 * rgb[..., 1].astype(np.uint16)
    return quarters * np.float32(0.25)


def high_pass(plane: np.ndarray, sigma: float) -> np.ndarray:
    """What of (h, w) varies over no more than `sigma` pixels, float32."""
    return plane - cv2.GaussianBlur(plane, (0, 0), sigma)


def _without_grain(
    plane: np.ndarray, alpha: np.ndarray, strength: float, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """A new plane (h, w) without the references' own grain, which would be the same frame after frame, and
    the energy (h, w) of what of it is left about edges and teeth; alpha (h, w): where it is new at all."""
    fine, blocks = high_pass(plane, sigma), _block_means((alpha > 0.5).astype(np.float32)) == 1
    if not blocks.any():
        return plane, np.zeros_like(plane)
    energy = grain_energy(fine, blocks)
    local = cv2.GaussianBlur(fine**2, (0, 0), sigma)
    taken = strength * np.minimum(1, FROZEN * energy / np.maximum(local, 1e-6))
    return plane - taken * fine, energy * (1 - taken) ** 2


def _shared(plane: np.ndarray, steps: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
    """A plane (h, w) whose pixels that share a sample of colour are alike, or storing it would take grain
    away; corner: the row and the column in the frame at which it begins."""
    if steps == (1, 1):
        return plane
    before = [at % step for at, step in zip(corner, steps, strict=True)]
    behind = [-(size + own) % step for size, own, step in zip(plane.shape, before, steps, strict=True)]
    whole = np.pad(plane, list(zip(before, behind, strict=True)), "edge")
    rows, columns = (size // step for size, step in zip(whole.shape, steps, strict=True))
    means = whole.reshape(rows, steps[0], columns, steps[1]).mean((1, 3))
    shared = means.repeat(steps[0], 0).repeat(steps[1], 1)
    return shared[before[0] :, before[1] :][: plane.shape[0], : plane.shape[1]]


def noise_level(plane: np.ndarray) -> float:
    """Levels of noise in the calmest blocks of a plane (h, w), one or two pixels large, whichever is more."""
    levels = [0.0]
    for scaled in (plane, cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)):
        energies = _block_means(cv2.filter2D(scaled, -1, NOISE) ** 2)[_lit_blocks(scaled)]
        levels += [float(np.sqrt(np.quantile(energies, CALM)))] if len(energies) else []
    return max(levels)


def along_axes(fine: np.ndarray) -> float:
    """The share 0..1 of a high-passed plane's energy (h, w) that varies along rows or columns alone."""
    power = _spectrum(fine, np.ones(fine.shape, bool))
    power[0, 0] = 0
    return float((power[0].sum() + power[:, 0].sum()) / max(power.sum(), 1e-9))


def grain_energy(fine: np.ndarray, blocks: np.ndarray) -> float:
    """Mean square of grain in a high-passed plane (h, w), of its blocks (h // 8, w // 8) bool."""
    energies = _block_means(fine**2)[blocks]
    return min(float(np.quantile(energies, at)) / share for at, share in SHARES.items())


def _lit_blocks(plane: np.ndarray) -> np.ndarray:
    means = _block_means(plane)
    return (means > DARK) & (means < LIGHT)


def _block_means(plane: np.ndarray) -> np.ndarray:
    """Means (h // 8, w // 8) over blocks of 8 pixels."""
    rows, columns = (side // BLOCK_PX for side in plane.shape)
    whole = plane[: rows * BLOCK_PX, : columns * BLOCK_PX]
    return cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)


def lost_spectrum(fine: np.ndarray, pasted: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The kernel (15, 15) that gives white noise the spectrum of what a pasted plane has lost.

    fine, pasted: float32 (h, w), the frame and the pasted one, high-passed; new: bool (h, w), where it was.
    """
    before, after = _spectrum(fine, np.ones_like(new)), _spectrum(pasted, new)
    lost = np.maximum(before - after, 0.05 * before)
    kernel = np.fft.fftshift(np.fft.ifft2(np.sqrt(lost)).real)[1:, 1:]
    return kernel.astype(np.float32)


def _spectrum(fine: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean power (16, 16) of the calmer half of a plane's tiles, at least half of which lies in `where`."""
    rows, columns = (side // TILE_PX for side in fine.shape)
    if not rows or not columns:
        return np.ones((TILE_PX, TILE_PX))
    cut = (slice(rows * TILE_PX), slice(columns * TILE_PX))
    shape = (rows, TILE_PX, columns, TILE_PX)
    tiles = fine[cut].reshape(shape).swapaxes(1, 2).reshape(-1, TILE_PX, TILE_PX)
    covered = where[cut].reshape(shape).mean((1, 3)).ravel() >= 0.5
    tiles = tiles[covered] if covered.any() else tiles
    energy = np.square(tiles).mean((1, 2))
    calm = tiles[energy <= np.median(energy)]
    return np.square(np.abs(np.fft.fft2(calm))).mean(0)
