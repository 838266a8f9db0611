"""What stands before a mouth is told from the face: which pixels stay on top, and which frames as a whole."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from moving_head import FRAMES, LAYOUT, SIZE, Painter, Scene, moving_head

from mytalk_core.appearance.covers.cover import FREE, ExpectedFace
from mytalk_core.appearance.covers.cover_detector import CoverDetector, free_references
from mytalk_core.appearance.covers.grid import FaceGrid
from mytalk_core.appearance.covers.held_object import find_held_objects
from mytalk_core.appearance.covers.overlay import find_overlay
from mytalk_core.appearance.references.references import References, mouth_opening
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.appearance.square.warp import MeshWarp

CHIN = 152


@pytest.fixture(scope="module")
def scene() -> Scene:
    return moving_head()


def mouth_box(landmarks: np.ndarray, width: float) -> tuple[slice, slice]:
    lips = landmarks[LAYOUT.lips_outer]
    low, high = (lips.min(0) - 0.35 * width).astype(int), (lips.max(0) + 0.35 * width).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def flat(colour: tuple[int, int, int]) -> Painter:
    def paint(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
        frame[mouth_box(landmarks, width)] = colour

    return paint


def blurred(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    box = mouth_box(landmarks, width)
    frame[box] = cv2.GaussianBlur(frame[box], (0, 0), width / 6)


def pixelated(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    box = mouth_box(landmarks, width)
    height, length = frame[box].shape[:2]
    side = int(width / 5)
    small = cv2.resize(frame[box], (length // side, height // side), interpolation=cv2.INTER_AREA)
    frame[box] = cv2.resize(small, (length, height), interpolation=cv2.INTER_NEAREST)


def mask(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    skip = len(LAYOUT.jaw) // 8
    hull = cv2.convexHull(landmarks[[*LAYOUT.jaw[skip:-skip], 195, 50, 280]].astype(np.float32))
    cloth = np.full_like(frame, (150, 190, 215))
    cloth[:: max(int(width / 8), 2)] = (135, 175, 205)
    where = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillConvexPoly(where, hull.astype(np.int32), 1)
    frame[where > 0] = cloth[where > 0]


def microphone(head: tuple[int, int, int], stand: tuple[int, int, int]) -> Painter:
    """At one place of the picture, which the mouth passes."""

    def paint(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
        frame[290:, 238:262] = stand
        cv2.circle(frame, (250, 300), 24, head, -1)

    return paint


def named_microphone(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    microphone((230, 110, 40), (12, 12, 12))(frame, landmarks, width)
    cv2.putText(frame, "TV", (234, 304), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (190, 150, 125), 3)


def caption(fill: tuple[int, int, int], line: tuple[int, int, int] | None) -> Painter:
    def paint(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
        font, at = cv2.FONT_HERSHEY_SIMPLEX, (165, 345)
        if line is not None:
            cv2.putText(frame, "what I saw", at, font, 1.0, line, 8)
        cv2.putText(frame, "what I saw", at, font, 1.0, fill, 3)

    return paint


def watermark(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    white = frame.copy()
    cv2.putText(white, "SAMPLE", (170, 345), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 6)
    frame[:] = cv2.addWeighted(frame, 0.5, white, 0.5, 0)


def strand(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    """Of hair, from the brow over the mouth to the chin, another way in every frame."""
    sway = 0.25 * width * np.sin(landmarks[0, 0])
    points = landmarks[[107, 50, 61, CHIN]] + [sway, 0]
    cv2.polylines(frame, [points.astype(np.int32)], False, (35, 25, 22), 4)


def test_a_free_face_is_free(scene):
    assert all(cover is FREE for cover in scene.covers(scene.frames))
    references = scene.references(scene.frames)
    cover_detector = CoverDetector(references, LAYOUT, scene.similarity)
    free, covered = free_references(references, cover_detector, scene.similarity)
    assert covered == 0 and len(free) == FRAMES
    np.testing.assert_array_equal(free.crops, references.crops)


def teeth(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    between = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(between, [landmarks[LAYOUT.lips_inner].astype(np.int32)], 1)
    frame[between > 0] = (235, 232, 225)


@pytest.mark.parametrize("on", [range(5, 7), range(9, 11)])
def test_teeth_that_other_frames_do_not_show_cover_nothing(scene, on):
    assert all(cover is FREE for cover in scene.covers(scene.painted(teeth, on)))


def grin(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    """The dark inside of a drawn mouth, wider and lower than the lips that the face mesh sees."""
    corners, (x, y) = landmarks[[61, 291]], landmarks[LAYOUT.lips_outer].max(0)
    low = np.array([[x - 0.5 * width, y + 0.08 * width]])
    cv2.fillPoly(frame, [np.concatenate([corners, low]).astype(np.int32)], (25, 15, 15))


def test_a_mouth_that_the_mesh_knows_badly_covers_nothing(scene):
    assert all(cover is FREE for cover in scene.covers(scene.painted(grin, range(5, 8))))


@pytest.mark.parametrize(
    "painter",
    [flat((40, 80, 200)), flat((190, 145, 120)), flat((0, 0, 0)), blurred, pixelated, mask],
    ids=["blue", "skin", "black", "blurred", "pixelated", "mask"],
)
@pytest.mark.parametrize("on", [range(FRAMES), range(7, 12)], ids=["all", "some"])
def test_a_mouth_that_is_not_to_be_seen_stays(scene, painter, on):
    covers = scene.covers(scene.painted(painter, on))
    assert [cover.visible == 0 for cover in covers] == [number in on for number in range(FRAMES)]
    assert all(cover is FREE for number, cover in enumerate(covers) if number not in on)


@pytest.mark.parametrize(
    ("painter", "on", "share"),
    [
        (microphone((70, 74, 80), (12, 12, 12)), range(FRAMES), 0.99),
        (microphone((170, 40, 40), (90, 90, 95)), range(FRAMES), 0.99),
        (named_microphone, range(FRAMES), 0.99),
        (caption((255, 255, 255), (0, 0, 0)), range(FRAMES), 0.85),
        (caption((250, 230, 40), None), range(FRAMES), 0.85),
        # White on teeth, and half of a white on skin, are not always told.
        (caption((255, 255, 255), (0, 0, 0)), range(5, 14), 0.7),
        (watermark, range(FRAMES), 0.65),
        (strand, range(6, 12), 0.75),
    ],
    ids=["microphone", "red microphone", "name", "caption", "yellow", "caption in some", "watermark", "hair"],
)
def test_what_covers_a_part_is_found_pixel_by_pixel(scene, painter, on, share):
    frames = scene.painted(painter, on)
    for number, (cover, changed) in enumerate(zip(scene.covers(frames), scene.changed(frames), strict=True)):
        near = scene.about_lips(number)
        if number not in on or not (changed & near).any():
            assert cover.visible == 1 and (cover.matte is None or cover.matte[near].mean() < 0.01)
            continue
        assert cover.visible > 0 and cover.matte is not None
        assert (cover.matte[changed & near] > 0.99).mean() >= share
        about = cv2.dilate(changed.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        # Lips in another light that touch white letters are taken for a part of them.
        assert cover.matte[near & ~about].mean() < 0.12, "what is free is made anew"


def beside_chin(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    """A large microphone, little of which lies before the face."""
    cv2.circle(frame, (100, 420), 130, (24, 24, 26), -1)


def raised(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    """An arm whose hand is before the chin, elsewhere in every frame."""
    hand, elbow = landmarks[CHIN] - [0, 0.1 * width], landmarks[CHIN] + [1.2 * width, 2.5 * width]
    cv2.line(frame, hand.astype(int), elbow.astype(int), (60, 90, 120), int(0.5 * width))


@pytest.mark.parametrize(("painter", "on"), [(beside_chin, range(FRAMES)), (raised, range(6, 12))])
def test_a_cover_goes_on_beyond_the_face(scene, painter, on):
    frames = scene.painted(painter, on)
    found = []
    for number, (cover, changed) in enumerate(zip(scene.covers(frames), scene.changed(frames), strict=True)):
        about = cv2.dilate(scene.about_lips(number).astype(np.uint8), np.ones((61, 61), np.uint8)) > 0
        if number in on and cover.matte is not None:
            found.append((cover.matte[changed & about] > 0.99).mean())
    # What moves with the jaw beside what stands still would be a gap through it.
    assert len(found) > 0.8 * len(on) and min(found) > 0.9


def two_pieces(landmarks: np.ndarray, width: float, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An arm before the chin (H, W) bool, and the part of it that has the chin's own colours."""
    arm, alike = np.zeros(shape[:2], np.uint8), np.zeros(shape[:2], np.uint8)
    lips, thick = landmarks[LAYOUT.lips_outer], int(0.4 * width)
    x, y = lips[:, 0].mean() + 0.2 * width, lips[:, 1].max()
    cv2.line(arm, (int(x), int(y - 0.1 * width)), (int(x), int(y + 2.5 * width)), 1, thick)
    alike[int(y + 0.05 * width) : int(y + 0.22 * width)] = 1
    return arm > 0, (arm & alike) > 0


def palm(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    arm, alike = two_pieces(landmarks, width, frame.shape)
    frame[arm & ~alike] = (60, 90, 160)


def test_where_a_hand_is_like_the_chin_it_goes_on(scene):
    on, found = range(6, 12), []
    for number, cover in enumerate(scene.covers(scene.painted(palm, on))):
        if number in on and cover.matte is not None:
            width = float(np.ptp(scene.landmarks[number][LAYOUT.lips_outer, 0]))
            alike = two_pieces(scene.landmarks[number], width, scene.frames.shape[1:])[1]
            alike = cut_crop(
                np.repeat(alike[..., None], 3, -1).astype(np.uint8), scene.similarity[number], SIZE
            )
            found.append((cover.matte[alike[..., 0] > 0] > 0.99).mean())
    assert len(found) >= len(on) - 1 and min(found) > 0.8


def test_an_open_mouth_in_a_head_that_hardly_moves_is_no_overlay(scene):
    opening = np.ptp(scene.canonical[:, LAYOUT.lips_inner, 1], axis=1)
    still = np.repeat(opening.argmax(), FRAMES)
    head = Scene(*(part[still].copy() for part in vars(scene).values()))
    half = len(LAYOUT.lips_outer) // 2
    lower = np.concatenate([LAYOUT.lips_outer[1:half], LAYOUT.lips_inner[1:half]])
    for number, frame in enumerate(head.frames):
        down = 6 * np.sin(number)
        head.canonical[number, [*LAYOUT.jaw, *lower], 1] += down
        ring = head.landmarks[number][LAYOUT.lips_outer].astype(np.int32)
        cv2.fillPoly(frame, [ring], (190, 140, 120))
        cv2.fillPoly(frame, [head.landmarks[number][LAYOUT.lips_inner].astype(np.int32)], (28, 12, 12))
        # The lower lip comes and goes under the dark that stands still below the upper one.
        part = head.landmarks[number][LAYOUT.lips_inner[: half + 1]].astype(np.int32)
        cv2.polylines(frame, [part], False, (150 + int(8 * down), 90, 90), 9)
    references = head.references(head.frames)
    cheeks = head.canonical[0, [50, 280]].astype(int)
    skin = references.crops[0][cheeks[:, 1], cheeks[:, 0]].astype(np.float32)
    faces = FaceGrid.of(references.crops, references, head.similarity, LAYOUT)
    assert faces is not None and find_overlay(faces, skin) is None
    assert not find_held_objects(faces, skin, None)


@pytest.fixture(scope="module")
def talking(scene) -> References:
    """Crops of a head that keeps its place to the pixel; only its jaw goes up and down, by a unit or two."""
    plain = scene.references(scene.frames)
    shut = int(mouth_opening(plain.landmarks, LAYOUT).argmin())
    crop, face = plain.crops[shut], plain.landmarks[shut]
    half = len(LAYOUT.lips_outer) // 2
    lower = np.concatenate([LAYOUT.lips_outer[1:half], LAYOUT.lips_inner[1:half], LAYOUT.jaw[8:-8]])
    landmarks = np.repeat(face[None], FRAMES, 0)
    landmarks[:, lower, 1] += 1.5 + 1.5 * np.sin(np.arange(FRAMES))[:, None]
    whole, mesh = (0, 0, SIZE, SIZE), triangulate(LAYOUT)
    crops = np.stack([MeshWarp(mesh, points, SIZE, whole).warp(crop, face) for points in landmarks])
    return replace(plain, crops=crops, landmarks=landmarks)


@pytest.mark.parametrize(
    ("colour", "share"),
    [((255, 255, 255), 1.0), ((255, 255, 255), 0.5), ((20, 16, 12), 1.0), ((60, 110, 220), 1.0)],
    ids=["white", "half-transparent", "black", "blue"],
)
def test_letters_over_a_head_that_hardly_moves_stay(talking, colour, share):
    still = np.repeat(np.eye(2, 3, dtype=np.float32)[None], FRAMES, 0)
    crops = talking.crops.copy()
    below = talking.landmarks[:, LAYOUT.lips_outer].max((0, 1)).round().astype(int) + (-55, 10)
    letters = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.putText(letters, "I saw it", below, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 2, cv2.LINE_AA)
    strength = share * letters / np.float32(255)
    crops[:] = np.rint(crops + strength * (np.float32(colour) - crops))
    cover_detector = CoverDetector(replace(talking, crops=crops), LAYOUT, still)
    for crop, points in zip(crops, talking.landmarks, strict=True):
        cover = cover_detector.cover(crop, points, still[0])
        assert cover.matte is not None and cover.visible == 1
        assert (cover.matte[letters[..., 0] > 200] > 0.99).mean() > 0.9
        assert cover.matte.sum() < 7 * (letters[..., 0] > 200).sum(), "what is free is made anew"
        # Behind them is skin, as about them: neither their own colour nor another part of the face.
        about = cv2.dilate(letters[..., 0], np.ones((13, 13), np.uint8)) > 0
        skin = cover.mended(crop)[letters[..., 0] > 0].astype(int)
        assert np.abs(skin - np.median(talking.crops[:, about], (0, 1))).max(-1).mean() < 25


@pytest.mark.parametrize("colour", [(250, 225, 40), (40, 190, 230)], ids=["yellow", "blue"])
def test_letters_that_are_always_on_the_lips_go_on_top_too(talking, colour):
    still = np.repeat(np.eye(2, 3, dtype=np.float32)[None], FRAMES, 0)
    crops = talking.crops.copy()
    lips = talking.landmarks[:, LAYOUT.lips_outer]
    at = np.array([lips[..., 0].mean(), lips[..., 1].max()]).round().astype(int)
    drawn = np.zeros((SIZE, SIZE, 3), np.uint8)
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    cv2.putText(drawn, "I saw it", at + (-55, 14), font, 0.55, white, 2, cv2.LINE_AA)
    cv2.putText(drawn, "O", at + (-6, -4), font, 0.45, white, 2, cv2.LINE_AA)
    crops[:] = np.rint(crops + drawn / np.float32(255) * (np.float32(colour) - crops))
    cover_detector = CoverDetector(replace(talking, crops=crops), LAYOUT, still)
    on_lips = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(on_lips, [talking.landmarks[0, LAYOUT.lips_outer].astype(np.int32)], 1)
    letter = (drawn[..., 0] > 200) & (on_lips > 0)
    for crop, points in zip(crops, talking.landmarks, strict=True):
        cover = cover_detector.cover(crop, points, still[0])
        assert cover.matte is not None and (cover.matte[letter] > 0.99).mean() > 0.9


def test_a_head_that_hardly_moves_has_nothing_before_it(talking):
    still = np.repeat(np.eye(2, 3, dtype=np.float32)[None], FRAMES, 0)
    cover_detector = CoverDetector(talking, LAYOUT, still)
    pairs = zip(talking.crops, talking.landmarks, strict=True)
    assert all(cover_detector.cover(*pair, still[0]) is FREE for pair in pairs)


@pytest.mark.parametrize("head", [(70, 74, 80), (170, 40, 40), (30, 60, 160)])
@pytest.mark.parametrize("scale", [1, 2])
def test_the_old_mouth_ends_where_the_cover_ends(scene, head, scale):
    frames = scene.painted(microphone(head, (12, 12, 12)))
    cover_detector = CoverDetector(scene.references(frames), LAYOUT, scene.similarity)
    kept, lost = [], []
    for number in range(0, FRAMES, 2):
        similarity, landmarks = scene.similarity[number], scene.canonical[number]
        crop = cut_crop(frames[number], similarity, scale * SIZE)
        cover = cover_detector.cover(crop, landmarks, similarity)
        assert cover.matte.shape == (scale * SIZE, scale * SIZE)
        different = 255 * (frames[number] != scene.frames[number]).any(-1).astype(np.uint8)
        painted = cut_crop(cv2.merge([different] * 3), similarity, scale * SIZE)[..., 0]
        beside = cv2.dilate(painted, np.ones((5, 5), np.uint8)) > 0
        near = cv2.resize(scene.about_lips(number).astype(np.uint8), painted.shape) > 0
        kept.append(cover.matte[beside & (painted == 0) & near].mean())
        lost.append((cover.matte[(painted > 250) & near] < 0.99).mean())
    # Of the two pixels beside it, and of its own.
    assert np.mean(kept) < 0.15 and np.mean(lost) < 0.01


def test_references_are_lent_without_what_covers_them(scene):
    frames = scene.painted(microphone((70, 74, 80), (12, 12, 12)))
    references = scene.references(frames)
    cover_detector = CoverDetector(references, LAYOUT, scene.similarity)
    free, _ = free_references(references, cover_detector, scene.similarity)
    plain, changed = scene.references(scene.frames).crops, scene.changed(frames)
    left = []
    for row, number in enumerate(free.frame_index):
        part = changed[number] & scene.about_lips(number)
        left.append(np.abs(free.crops[row][part].astype(int) - plain[number][part]).mean())
        assert not free.free[row][changed[number] & scene.about_lips(number)].any()
    assert max(left) < 25 and np.mean(left) < 17


@pytest.mark.parametrize(
    ("painter", "most"),
    [
        (microphone((70, 74, 80), (12, 12, 12)), 6.3),
        (caption((255, 255, 255), (0, 0, 0)), 2.1),
        (caption((250, 230, 40), None), 2.1),
        (strand, 2.9),
    ],
    ids=["microphone", "caption", "yellow caption", "hair"],
)
def test_what_is_expected_behind_a_cover_has_no_seam(scene, painter, most):
    frames = scene.painted(painter)
    crops, plain = scene.references(frames).crops, scene.references(scene.frames).crops
    steps = []
    for number, cover in enumerate(scene.covers(frames)):
        hidden = (cover.touched > 0).astype(np.uint8)
        inside = cv2.erode(hidden, np.ones((3, 3), np.uint8))
        where = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(where, [scene.canonical[number][LAYOUT.oval].astype(np.int32)], 1)
        lips = np.zeros_like(where)
        cv2.fillPoly(lips, [scene.canonical[number][LAYOUT.lips_outer].astype(np.int32)], 1)
        skin = (where > 0) & (cv2.dilate(lips, np.ones((9, 9), np.uint8)) == 0)
        different = np.abs(cover.mended(crops[number]).astype(int) - plain[number]).mean(-1)
        steps.append(different[(hidden > inside) & skin].mean())
    assert np.mean(steps) < most, "levels by which the outermost pixels differ from the face as it is"


def test_beyond_the_face_what_is_about_a_cover_goes_on_behind_it():
    picture = np.full((256, 256, 3), (190, 150, 130), np.uint8)
    usual, face = np.full((120, 160, 3), (40, 40, 45), np.uint8), np.zeros((120, 160), bool)
    face[:50] = True
    usual[face] = (190, 150, 130)
    hole = np.zeros((256, 256), bool)
    hole[110:200, 100:124] = True
    picture[hole] = (220, 220, 255)
    within = slice(100, 220), slice(50, 210)
    behind = ExpectedFace(within, usual, face, face).behind(picture, hole, hole)
    assert np.abs(behind[hole].astype(int) - (190, 150, 130)).max() < 12


def dark_and_noisy(frames: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 3, frames.shape)
    return np.clip(0.2 * frames + noise, 0, 255).astype(np.uint8)


def soft(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames])


@pytest.mark.parametrize("change", [dark_and_noisy, soft])
def test_light_and_lens_are_no_cover(scene, change):
    assert all(cover is FREE for cover in scene.covers(change(scene.frames)))


@pytest.mark.parametrize("colour", [0, 255])
def test_a_fade_is_a_cover_as_long_as_it_is_most_of_what_is_seen(scene, colour):
    share = np.minimum(1, (1 + np.arange(len(scene.frames))) / 8)
    blended = colour + share[:, None, None, None] * (scene.frames.astype(np.float32) - colour)
    covers = scene.covers(blended.round().astype(np.uint8))
    visible = np.array([cover.visible for cover in covers])
    assert (visible[share < 0.3] == 0).all()
    assert (visible[share > 0.6] == 1).all()
    assert all(cover.matte is None for cover in covers)


def beard(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    """Dark, and grown: all that is below the nose but the lips."""
    where = np.zeros(frame.shape[:2], np.float32)
    points = np.concatenate([landmarks[LAYOUT.jaw], landmarks[[327, 2, 98]]])
    cv2.fillConvexPoly(where, cv2.convexHull(points.astype(np.int32)), 1)
    cv2.fillConvexPoly(where, cv2.convexHull(landmarks[LAYOUT.lips_outer].astype(np.int32)), 0)
    where = cv2.GaussianBlur(where, (0, 0), width / 20)[..., None]
    hair = np.random.default_rng(1).normal(38, 8, frame.shape)
    frame[:] = np.clip(frame + 0.85 * where * (hair - frame), 0, 255)


@pytest.mark.parametrize("light", [1.0, 0.3])
def test_a_beard_is_no_cover(scene, light):
    frames = (light * scene.painted(beard)).astype(np.uint8)
    assert all(cover is FREE for cover in scene.covers(frames))


def test_a_turned_head_is_not_compared(scene):
    references = scene.references(scene.frames)
    cover_detector = CoverDetector(references, LAYOUT, scene.similarity)
    turned = (references.landmarks[3] - 128) * np.float32([0.6, 1.0]) + 128
    assert cover_detector.cover(references.crops[3], turned, scene.similarity[3]).matte is None


def test_half_of_a_pool_always_stays(scene):
    references = scene.references(scene.frames)
    noise = np.random.default_rng(0).integers(0, 255, references.crops.shape, np.uint8)
    hidden = replace(references, crops=noise)
    free, _ = free_references(hidden, CoverDetector(hidden, LAYOUT, scene.similarity), scene.similarity)
    assert len(free) >= FRAMES // 2
