"""When the speech has a p, b or m, for which lips close: recognised by PocketSphinx, which knows English.

The package `pocketsphinx` (BSD, with its acoustic model and its language model of phones) is optional.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

BILABIALS = frozenset("PBM")
# PocketSphinx counts frames of 10 ms, the last one included.
FRAME_S = 0.01


@dataclass(frozen=True)
class PhoneRecogniser:
    """PocketSphinx's model of English phones, in the folder of its package."""

    models: Path

    def bilabial_times(self, mono_16k: np.ndarray) -> np.ndarray:
        """Start and end in s (K,2) of every p, b and m that is heard in speech (S,), -1..1 at 16 kHz."""
        from pocketsphinx import Decoder

        # The settings of the package's own documentation for phones.
        decoder = Decoder(
            hmm=str(self.models / "en-us"),
            allphone=str(self.models / "en-us-phone.lm.bin"),
            lm=None,
            dict=None,
            lw=2.0,
            pip=0.3,
            beam=1e-20,
            pbeam=1e-20,
            loglevel="FATAL",
        )
        decoder.start_utt()
        decoder.process_raw((mono_16k.clip(-1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        found = [
            (piece.start_frame * FRAME_S, (piece.end_frame + 1) * FRAME_S)
            for piece in decoder.seg() or ()
            if piece.word in BILABIALS
        ]
        return np.array(found, float).reshape(-1, 2)


def find_recogniser() -> PhoneRecogniser | None:
    """The recogniser of the installed package `pocketsphinx`, None where there is none."""
    spec = find_spec("pocketsphinx")
    if spec is None or spec.origin is None:
        return None
    return PhoneRecogniser(Path(spec.origin).parent / "model" / "en-us")
