"""How much is made of each syllable: what differs when the same person says the same words again.

The denoiser is nearly sure of its motion, whatever noise it starts from. Real takes of one sentence differ
most in how far each syllable opens the mouth; their timing and the lips that meet stay.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# At temperature 1 the movement is so much larger or smaller, standard deviation of its logarithm: openings of
# two seeds then correlate by 0.93 (benchmarks/results/motion_seeds.md). It changes over a syllable.
STRENGTH = 0.16
SYLLABLE_FRAMES = 4.0


def emphasis(frames: int, temperature: float, seed: int) -> Tensor:
    """The scale of the movement by motion frame: (frames,), 1 in the mean, exactly 1 at temperature 0.

    It varies by the square of the temperature, so that low ones stay with the likeliest motion.
    """
    reach = int(4 * SYLLABLE_FRAMES)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / SYLLABLE_FRAMES).square())
    kernel /= kernel.square().sum().sqrt()
    noise = torch.randn(frames + 2 * reach, generator=torch.Generator().manual_seed(seed))
    smooth = F.conv1d(noise[None, None], kernel[None, None])[0, 0]
    strength = STRENGTH * temperature**2
    return torch.exp(strength * smooth - strength**2 / 2)
