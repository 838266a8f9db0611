"""Is it still the same person? Cosine of face recognisers' embeddings, and of the face's shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from ...errors import WeightsError
from ...face import alignment
from ...face.look import FIVE_POINTS
from ...face.track import FaceTrack
from ...motion.identity import IdentityExtractor, embed_person, identity_similarity
from ...motion.person import find_rest

INPUT_PX = 112
# Where ArcFace's training put eyes, nose tip and mouth corners in its crop of 112 pixels (Deng et al. 2019).
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


@dataclass(frozen=True)
class FaceRecogniser:
    """An ONNX network on OpenCV: aligned faces of 112 pixels -> embeddings.

    mean, scale: what the network wants of RGB levels 0..255, (level - mean) * scale.
    """

    network: cv2.dnn.Net
    mean: float
    scale: float

    def embed(self, rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Unit-norm embedding (E,) float32 of the face in a frame uint8 (H,W,3); landmarks (478,2) px."""
        blob = cv2.dnn.blobFromImage(
            align(rgb, landmarks), self.scale, (INPUT_PX, INPUT_PX), (self.mean,) * 3, swapRB=False
        )
        self.network.setInput(blob)
        embedding = self.network.forward().ravel()
        return embedding / max(float(np.linalg.norm(embedding)), 1e-12)


def align(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face uint8 (112,112,3) with eyes, nose and mouth corners where recognisers expect them."""
    points = np.stack([landmarks[list(group)].mean(0) for group in FIVE_POINTS])
    matrix = alignment.fit_similarity(points[None].astype(np.float64), TEMPLATE)[0]
    return cv2.warpAffine(rgb, matrix, (INPUT_PX, INPUT_PX), flags=cv2.INTER_LINEAR)


def load_recogniser(path: Path, kind: str) -> FaceRecogniser:
    """kind: "arcface" (levels to [-1,1]) or "sface" (levels as they are). WeightsError if it does not run."""
    mean, scale = {"arcface": (127.5, 1 / 127.5), "sface": (0.0, 1.0)}[kind]
    try:
        recogniser = FaceRecogniser(cv2.dnn.readNetFromONNX(str(path)), mean, scale)
        recogniser.network.setInput(np.zeros((1, 3, INPUT_PX, INPUT_PX), np.float32))
        recogniser.network.forward()
    except cv2.error as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{path}: an ONNX face recogniser for 3 x 112 x 112 is needed; {reason}"
        ) from error
    return recogniser


@torch.inference_mode()
def shape_similarity(extractor: IdentityExtractor, one: FaceTrack, other: FaceTrack) -> float:
    """Cosine of the landmark identity model's embeddings of two faces at rest, -1 to 1 (section 3.3)."""
    own, others = (embed_person(extractor, find_rest(track)) for track in (one, other))
    return float(identity_similarity(own, others))
