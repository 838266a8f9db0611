"""The face stack on real pictures and on videos with losses, cuts and several faces."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.errors import NoFaceError
from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.track import FaceTrack, glimpses
from mytalk_core.face.tracker import track_faces
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.picture import Picture


@pytest.fixture(scope="module")
def reader():
    return load_face_reader()


@pytest.fixture(scope="module")
def woman():
    return next(FileClip.open(EXAMPLES / "ai_woman.mp4").frames(0, 12, batch_size=12))


@pytest.fixture(scope="module")
def boy():
    return next(FileClip.open(EXAMPLES / "cartoon_boy.mp4").frames(0, 12, batch_size=12))


def follow(reader, frames):
    pictures = [Picture.from_rgb(*numbered) for numbered in enumerate(frames)]
    return track_faces(
        [pictures[i : i + 5] for i in range(0, len(frames), 5)], np.arange(len(frames)) / 25, reader
    )


def test_landmarks_lie_on_the_face(reader, woman):
    track = follow(reader, woman).choose()
    assert track.present.all() and track.landmarks.shape == (12, 478, 3)
    # The detector's own key points are an independent witness for eyes, nose and mouth.
    face = reader.detector.detect(woman[0])[0]
    landmarks = track.landmarks[0][:, :2]
    eye_distance = np.linalg.norm(face.key_points[0] - face.key_points[1])
    for key, points in ((0, [33, 133]), (1, [362, 263]), (2, [1]), (3, [13, 14])):
        distance = np.linalg.norm(landmarks[points].mean(0) - face.key_points[key])
        assert distance < 0.15 * eye_distance


def test_only_faces_become_rgb_and_are_read_as_in_the_whole_picture(reader, woman):
    wide = np.pad(woman, ((0, 0), (100, 200), (500, 300), (0, 0)))
    pictures = [Picture.from_rgb(*numbered) for numbered in enumerate(wide)]
    native = [replace(picture, converted=None) for picture in pictures]
    times_s = np.arange(len(wide)) / 25
    tracks = [track_faces([given], times_s, reader).choose() for given in (native, pictures)]
    assert np.array_equal(tracks[0].landmarks[:], tracks[1].landmarks[:])
    assert [picture.index for picture in native if picture.converted is not None] == [0]


def test_canonical_landmarks_are_upright_and_of_one_size(reader, woman):
    angle = cv2.getRotationMatrix2D((256, 256), 25, 0.7)
    tilted = np.stack([cv2.warpAffine(f, angle, woman.shape[2:0:-1]) for f in woman[:3]])
    straight = follow(reader, woman[:3]).choose().canonical[np.arange(3)]
    again = follow(reader, tilted).choose().canonical[np.arange(3)]
    assert np.abs(straight - again).mean() < 2.0, "roll and size are taken out"


def test_a_lost_face_is_reported_and_found_again(reader, woman):
    frames = woman.copy()
    frames[4:7] = 128
    track = follow(reader, np.concatenate([frames, woman])).choose()
    np.testing.assert_array_equal(np.flatnonzero(~track.present), [4, 5, 6])


def test_who_shows_for_a_frame_among_many_is_left_alone():
    present, shots = np.zeros(60, bool), np.zeros(60, int)
    present[[0, 1, 20, 30, 31, 32, 45, 46]] = True
    assert np.flatnonzero(glimpses(present, shots)).tolist() == [20, 45, 46]
    shots[21:] = 1
    assert np.flatnonzero(glimpses(present, shots)).tolist() == [45, 46]
    present[50] = True
    assert not glimpses(present, shots).any()


def test_who_shows_in_no_other_frame_is_found_there(reader, woman):
    frames = np.full((30, 200, 1200, 3), 128, np.uint8)  # so wide that a face is no cut
    for frame, picture in zip(frames[14:16], woman, strict=False):
        frame[20:180, 500:660] = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_AREA)
    assert np.flatnonzero(follow(reader, frames).choose().present).tolist() == [14, 15]


def test_a_cut_starts_a_new_shot(reader, woman, boy):
    faces = follow(reader, np.concatenate([woman[:6], boy[:6], woman[:6]]))
    np.testing.assert_array_equal(faces.shots, np.repeat([0, 1, 2], 6))
    assert faces.choose_in_each_shot().present.all()


def test_a_face_is_chosen_among_two(reader, woman, boy):
    small = np.stack([cv2.resize(f, (256, 256), interpolation=cv2.INTER_AREA) for f in boy[:6]])
    frames = np.zeros((6, 512, 768, 3), np.uint8)
    frames[:, :, 256:], frames[:, 128:384, :256] = woman[:6], small
    faces = follow(reader, frames)
    largest, left = faces.choose("largest"), faces.choose("left")
    assert largest.landmarks[0][:, 0].mean() > 256 > left.landmarks[0][:, 0].mean()
    assert np.array_equal(faces.choose("right").landmarks[0], largest.landmarks[0])
    assert np.array_equal(faces.choose(1).landmarks[0], left.landmarks[0])
    with pytest.raises(NoFaceError, match="choose 0 to 1"):
        faces.choose(2)
    with pytest.raises(ValueError, match="largest, left, right"):
        faces.choose("biggest")


def test_small_faces_are_found_by_tiles(reader, woman):
    frame = np.zeros((1080, 1920, 3), np.uint8)
    frame[700:860, 1500:1660] = cv2.resize(woman[0], (160, 160), interpolation=cv2.INTER_AREA)
    face = reader.detector.detect(frame, tiles=True)
    assert len(face) == 1 and 1500 < face[0].key_points[2, 0] < 1660


def test_no_face_says_so(reader):
    noise = np.random.default_rng(0).integers(0, 255, (4, 120, 160, 3), dtype=np.uint8)
    with pytest.raises(NoFaceError, match="none was found in any of the 4 frames"):
        follow(reader, noise).choose()


def test_track_file_round_trip(reader, woman, tmp_path):
    track = follow(reader, woman[:4]).choose()
    track.save(tmp_path / "track.safetensors")
    back = FaceTrack.load(tmp_path / "track.safetensors")
    assert np.abs(back.landmarks[:] - track.landmarks[:]).max() < 0.02
    np.testing.assert_array_equal(back.similarity, track.similarity)
    sample = track.at(np.array([0.02, 9.0]))
    np.testing.assert_allclose(sample.landmarks[0], track.landmarks[:2].mean(0), atol=1e-3)
    np.testing.assert_allclose(sample.landmarks[1], track.landmarks[3], atol=1e-3)


class DrawnAside:
    """A face mesh that in one frame takes a place below the face for it, and stays with it once."""

    def __init__(self, mesh, frame, by_px):
        self.mesh, self.frame, self.by_px, self.left = mesh, frame, by_px, 2

    def read(self, frames, regions):
        landmarks, presence = self.mesh.read(frames, regions)
        for own, frame in zip(landmarks, frames, strict=True):
            if self.left and np.array_equal(frame, self.frame):
                own[:, 1] += self.by_px
                self.left -= 1
        return landmarks, presence


def test_a_face_that_jumps_in_one_frame_is_read_again(reader, woman):
    expected = follow(reader, woman).choose().landmarks[7]
    size = np.ptp(expected[:, 1])
    mesh = DrawnAside(reader.mesh, woman[7], 0.2 * size)
    found = follow(replace(reader, mesh=mesh), woman).choose().landmarks[7]
    assert mesh.left == 0 and np.abs(found - expected).max() < 0.02 * size
