"""The face networks, loaded together, and what they tell of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from ..errors import NoFaceError
from .detector import INPUT_PX, TURNED_SCORE, BlazeFace, Detection, FaceDetector
from .look import Look, SFace, read_look
from .mesh import INPUT_PX as MESH_PX
from .mesh import FaceMesh, region_from_box, region_from_landmarks, region_matrix
from .mesh_reader import FaceMeshReader, cut_region

WEIGHTS = Path(__file__).parents[1] / "weights" / "face"
PRESENCE_THRESHOLD = 0.5
# A head is turned if the detector is this much surer of the face when it sees it turned back.
SURER = 0.05


@dataclass(frozen=True)
class FaceReader:
    """The two face networks, ready on a device, and one that knows faces again if its weights were given."""

    detector: FaceDetector
    mesh: FaceMeshReader
    recogniser: SFace | None = None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both networks by name."""
        return {"face detector": self.detector.network, "face mesh": self.mesh.network}

    def upright_region(self, frame: np.ndarray, face: Detection) -> np.ndarray:
        """The region (4,) in which the mesh sees a detected face upright, whatever its angle.

        The detector finds a face that is upside down too, but takes its mouth for eyes.
        """
        region = region_from_box(face.box, *face.key_points[:2])
        turns = [region + [0, 0, 0, quarter * np.pi / 2] for quarter in range(4)]
        matrices = [region_matrix(turned) * (INPUT_PX / MESH_PX) for turned in turns]
        found = self.detector.detect_each([cut_region(frame, matrix, INPUT_PX) for matrix in matrices])
        best = [max(faces, key=lambda f: f.score, default=None) for faces in found]
        scores = np.array([0.0 if face is None else face.score for face in best])
        quarter = int(scores.argmax())
        surest = best[quarter]
        if quarter == 0 or surest is None or scores[quarter] < max(scores[0] + SURER, TURNED_SCORE):
            return region
        inside = region_from_box(surest.box, *surest.key_points[:2])
        inverse = cv2.invertAffineTransform(matrices[quarter])
        centre = inverse[:, :2] @ inside[:2] + inverse[:, 2]
        side = inside[2] * region[2] / INPUT_PX
        return np.array([*centre, side, inside[3] + turns[quarter][3]])

    def read_face(self, frame: np.ndarray, region: np.ndarray) -> np.ndarray | None:
        """The landmarks (478,3) frame px of the face in a region, None if the mesh sees none there."""
        landmarks, presence = self.mesh.read([frame], [region])
        return landmarks[0] if presence[0] > PRESENCE_THRESHOLD else None

    def look(self, frame: np.ndarray, landmarks: np.ndarray, embed: bool = True) -> Look:
        """See `read_look`; without an embedding if it is not wanted."""
        return read_look(frame, landmarks, self.recogniser if embed else None)

    def look_of_photo(self, photo: np.ndarray, name: str | Path = "the photo") -> Look:
        """The look of the largest face of a picture (H,W,3) uint8 RGB. Raises NoFaceError."""
        for face in chain.from_iterable(self.searches(photo)):
            landmarks = self.read_face(photo, self.upright_region(photo, face))
            if landmarks is not None:
                steady = self.read_face(photo, region_from_landmarks(landmarks))
                return self.look(photo, landmarks if steady is None else steady)
        raise NoFaceError(f"a face was required in {name}, but none was found: choose another picture")

    def searches(self, frame: np.ndarray) -> Iterator[list[Detection]]:
        """What may be faces of a frame, the largest first: in the whole, in parts of it, of turned heads.
        Each is looked for when it is asked for: go on until the mesh sees a face."""
        yield self.detector.detect(frame)
        yield self.detector.detect(frame, tiles=True)
        yield self.detector.detect_turned(frame)


def load_face_reader(device: torch.device | str = "cpu", recognition: str | Path | None = None) -> FaceReader:
    """The bundled detector and mesh (float32) on `device`; recognition: a file, see `SFace`."""
    detector, mesh = BlazeFace(), FaceMesh()
    networks: dict[str, nn.Module] = {"detector": detector, "mesh": mesh}
    for name, network in networks.items():
        weights = load_file(WEIGHTS / f"{name}.safetensors")
        network.load_state_dict({key: value.float() for key, value in weights.items()})
    recogniser = None if recognition is None else SFace(recognition)
    return FaceReader(FaceDetector(detector, device), FaceMeshReader(mesh, device), recogniser)
