"""Who is who where nothing names the people: embeddings of faces, joined by agglomerative clustering."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mytalk_core.evaluation.networks.recognition import FaceRecogniser, load_recogniser

# The cosine above which two samples show one person: of mini's landmark shapes.
SHAPE_THRESHOLD = 0.9


def load_face_recogniser(path: Path) -> FaceRecogniser:
    """A face recogniser from an ONNX file: SFace where the name says so, else ArcFace's preprocessing.

    Raises FileNotFoundError, or WeightsError if the network does not run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such face recogniser; give an ONNX file such as SFace's")
    return load_recogniser(path, "sface" if "sface" in path.name.lower() else "arcface")


def mean_embedding(embeddings: list[np.ndarray]) -> np.ndarray:
    """The mean of unit-norm embeddings, of unit norm itself."""
    mean = np.mean(embeddings, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def cluster(embeddings: np.ndarray, threshold: float) -> np.ndarray:
    """Cluster numbers (M,), counted from 0 in order of first member, of unit-norm embeddings (M,E).

    Average linkage on cosines down to `threshold`, by the nearest-neighbour chain (Murtagh 1983): M^2 memory
    and time.
    """
    count = len(embeddings)
    similarity = (embeddings @ embeddings.T).astype(np.float32)
    np.fill_diagonal(similarity, -np.inf)
    label, size = np.arange(count), np.ones(count)
    alive, open_ = np.ones(count, bool), np.ones(count, bool)
    chain: list[int] = []
    while open_.any():
        if not chain:
            chain.append(int(np.flatnonzero(open_)[0]))
        top = chain[-1]
        row = np.where(alive, similarity[top], -np.inf)
        nearest = int(row.argmax())
        if len(chain) > 1 and row[chain[-2]] >= row[nearest]:
            nearest = chain[-2]
        if row[nearest] < threshold:
            # Joining others cannot bring them nearer to this one than its nearest is: it is done.
            open_[top] = False
            chain.clear()
        elif len(chain) > 1 and nearest == chain[-2]:
            del chain[-2:]
            keep, gone = sorted((top, nearest))
            joined = (size[keep] * similarity[keep] + size[gone] * similarity[gone]) / (
                size[keep] + size[gone]
            )
            similarity[keep], similarity[:, keep] = joined, joined
            similarity[keep, keep] = -np.inf
            size[keep] += size[gone]
            alive[gone] = open_[gone] = False
            label[label == gone] = keep
        else:
            chain.append(nearest)
    return np.unique(label, return_inverse=True)[1]
