"""Who is who: people who cross, change places at a cut or melt into each other, and heads at any angle."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.errors import NoFaceError
from mytalk_core.face.choice import Place
from mytalk_core.face.external import find_shots
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.look import Look
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.people import choose_person, find_people, people_of_shots
from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.track import FaceTrack
from mytalk_core.face.tracker import track_faces
from mytalk_core.face.tracklet import Tracklet
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.picture import Picture

SIDE = 120
FRAME = (150, 480, 3)


@pytest.fixture(scope="module")
def reader():
    return load_face_reader()


def read(name: str, count: int = 40) -> np.ndarray:
    return next(FileClip.open(EXAMPLES / name).frames(0, count, batch_size=count))


@pytest.fixture(scope="module")
def woman():
    return read("ai_woman.mp4")


@pytest.fixture(scope="module")
def boy():
    return read("cartoon_boy.mp4")


def small(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames])


def placed(layers: list[tuple[np.ndarray, np.ndarray]], ground: int = 110) -> np.ndarray:
    """Frames with small pictures (T,S,S,3) at x (T,), the later ones before the others."""
    frames = np.full((len(layers[0][0]), *FRAME), ground, np.uint8)
    for pictures, lefts in layers:
        for frame, picture, left in zip(frames, pictures, np.rint(lefts).astype(int), strict=True):
            frame[15 : 15 + SIDE, left : left + SIDE] = picture
    return frames


def follow(reader, frames: np.ndarray):
    pictures = pictures_from(frames)
    return track_faces(
        [pictures[i : i + 16] for i in range(0, len(frames), 16)], np.arange(len(frames)) / 25, reader
    )


def pictures_from(frames: np.ndarray) -> list[Picture]:
    return [Picture.from_rgb(*numbered) for numbered in enumerate(frames)]


def distance_px(track: FaceTrack, lefts: np.ndarray) -> np.ndarray:
    """How far the face is from the middle of the picture that it belongs to, where it is seen."""
    x = track.landmarks[:][..., 0].mean(1)
    return np.abs(x - lefts - SIDE / 2)[track.present]


@pytest.mark.parametrize("front", ["woman", "boy"])
@pytest.mark.parametrize("frames", [16, 40], ids=["fast", "slow"])
def test_who_cross_stay_themselves(reader, woman, boy, front, frames):
    right, left = np.linspace(10, 350, frames), np.linspace(350, 10, frames)
    layers = [(small(woman[:frames]), right), (small(boy[:frames]), left)]
    faces = follow(reader, placed(layers if front == "boy" else layers[::-1]))
    for which, lefts in (("left", right), ("right", left)):
        track = faces.choose(which)
        assert (distance_px(track, lefts) < 0.25 * SIDE).all(), f"{which} is always the same person"
        assert track.present[[0, -1]].all(), "and is found again on the other side"
    before = faces.choose("right" if front == "woman" else "left")
    assert not before.present.all(), "who is covered is not seen"


def test_who_change_places_at_a_cut_stay_themselves(reader, woman, boy):
    left, right = np.full(10, 40.0), np.full(10, 300.0)
    a, b = small(woman[:20]), small(boy[:20])
    one = placed([(a[:10], left), (b[:10], right)])
    other = placed([(a[10:], right), (b[10:], left)], ground=200)
    faces = follow(reader, np.concatenate([one, other]))
    assert faces.shots.tolist() == [0] * 10 + [1] * 10
    for which, lefts in (((100, 75), np.append(left, right)), ((360, 75), np.append(right, left))):
        track = faces.choose(which)
        assert track.present.all() and (distance_px(track, lefts) < 0.25 * SIDE).all()
    late = faces.choose(Place(100, 75, 0.6))
    assert (distance_px(late, np.append(right, left)) < 0.25 * SIDE).all(), "who is there at that time"


def test_another_person_after_a_cut_is_not_the_one_before(reader, woman, boy):
    faces = follow(reader, np.concatenate([woman[:8], boy[:5], woman[8:12]]))
    assert faces.choose("largest").present.tolist() == [True] * 8 + [False] * 5 + [True] * 4
    assert faces.choose(1).present.tolist() == [False] * 8 + [True] * 5 + [False] * 4
    with pytest.raises(NoFaceError, match="choose 0 to 1"):
        faces.choose(2)


def test_another_person_in_the_same_place_is_not_the_one_before(reader, woman, boy):
    """No cut: the rest of the picture stays."""
    place = np.full(16, 180.0)
    frames = placed([(np.concatenate([small(woman[:8]), small(boy[:8])]), place)])
    faces = follow(reader, frames)
    assert len(np.unique(faces.shots)) == 1
    assert faces.choose(Place(240, 75, 0.0)).present.tolist() == [True] * 8 + [False] * 8
    assert faces.choose(Place(240, 75, 0.5)).present.tolist() == [False] * 8 + [True] * 8


def mixed(a: np.ndarray, b: np.ndarray, blended: int) -> np.ndarray:
    """a, then b, with `blended` frames of both from the tenth on."""
    share = np.clip((np.arange(len(a)) - 9) / (blended + 1), 0, 1)[:, None, None, None]
    return np.rint(a * (1 - share) + b * share).astype(np.uint8)


def test_who_is_lit_otherwise_stays_themselves(reader, woman):
    """By lamps that change their colour, by a flash of one frame, by flashes so bright that they look like
    cuts."""
    turn = np.linspace(0, np.pi, len(woman))[:, None] + np.array([0, 2, 4]) * np.pi / 3
    lamps = woman * (0.75 + 0.25 * np.cos(turn))[:, None, None]
    flash = woman.astype(float)
    flash[20] = flash[20] * 0.5 + 110
    strobe = woman * np.where(np.arange(len(woman)) % 4 == 0, 1.9, 1)[:, None, None, None]
    for frames in (lamps, flash, strobe):
        assert follow(reader, frames.clip(0, 255).astype(np.uint8)).choose().present.all()


@pytest.mark.parametrize("blended", [1, 4, 12])
def test_blended_frames_of_a_dissolve_show_nobody(reader, woman, boy, blended):
    faces = follow(reader, mixed(woman[:32], boy[:32], blended))
    ends = 10 + blended
    assert faces.shots.tolist() == [0] * ends + [1] * (32 - ends)
    seen = [np.flatnonzero(faces.choose(number).present).tolist() for number in (0, 1)]
    assert sorted(seen) == [list(range(10)), list(range(ends, 32))]


def test_dissolves_end_shots_of_faces_found_elsewhere_too(woman, boy):
    shots = find_shots(pictures_from(mixed(woman[:32], boy[:32], 6)))
    assert shots.tolist() == [0] * 10 + [-1] * 6 + [1] * 16


def swaying(frames: np.ndarray, reach_px: float) -> np.ndarray:
    """What they show, moved from side to side, so far, before a wall that stays."""
    moved = []
    for number, frame in enumerate(frames):
        matrix = np.float32([[1, 0, reach_px * np.sin(number / 3)], [0, 1, 0]])
        moved.append(cv2.warpAffine(frame, matrix, frame.shape[1::-1], borderMode=cv2.BORDER_REPLICATE))
    return np.stack(moved)


@pytest.mark.parametrize("blended", [24, 36])
def test_a_slow_dissolve_of_heads_that_move_is_found(blended):
    one, other = (swaying(read(name, 64), 12) for name in ("ai_woman.mp4", "cartoon_boy.mp4"))
    shots = find_shots(pictures_from(mixed(one, other, blended)))
    assert (shots[:10] == 0).all() and (shots[12 + blended :] == 1).all()
    assert (shots[14 : 6 + blended] == -1).all()


def test_a_head_that_moves_is_no_dissolve(woman):
    assert (find_shots(pictures_from(swaying(woman, 28))) == 0).all()


@pytest.mark.parametrize("length", [4, 8, 20])
def test_a_fade_from_black_and_to_it_is_no_cut(woman, length):
    share = np.clip(np.minimum(np.arange(40), 39 - np.arange(40)) / length, 0, 1)[:, None, None, None]
    shots = find_shots(pictures_from(np.rint(woman * share).astype(np.uint8)))
    # The black picture and the first that shows something have nothing in common.
    assert len(np.unique(shots[1:-1])) == 1 and (shots >= 0).all()


def test_a_cut_of_luminance_alone_ends_a_shot(woman):
    """The histogram of a picture and of its mirror are one."""
    ramp = np.tile(np.linspace(20, 220, 128, dtype=np.uint8)[None, :, None], (72, 1, 3))
    frames = np.stack([ramp, ramp, ramp[:, ::-1], ramp[:, ::-1]])
    assert find_shots(pictures_from(frames)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("degrees", [60, 90, 135, 180, 200, 270])
def test_a_head_at_any_angle_is_found_upright(reader, boy, woman, degrees):
    for name, frames in (("woman", woman[:2]), ("boy", boy[:2])):
        turn = cv2.getRotationMatrix2D((256, 256), degrees, 0.8)
        turned = np.stack([cv2.warpAffine(f, turn, (512, 512), borderValue=(80, 80, 80)) for f in frames])
        straight, again = follow(reader, frames).choose(), follow(reader, turned).choose()
        assert again.present.all(), name
        wanted = straight.landmarks[0][:, :2] @ turn[:, :2].T + turn[:, 2]
        away = np.linalg.norm(again.landmarks[0][:, :2] - wanted, axis=1).mean()
        assert away < 0.05 * np.ptp(wanted, axis=0).max(), name


def wall(count: int) -> np.ndarray:
    """Bricks, and the noise of a camera."""
    bricks = np.full((240, 320, 3), (150, 140, 130), np.uint8)
    for row, top in enumerate(range(0, 240, 20)):
        for left in range(-20 * (row % 2), 320, 40):
            cv2.rectangle(bricks, (left + 2, top + 2), (left + 37, top + 17), (150, 70, 50), -1)
    noise = np.random.default_rng(1).integers(-5, 6, (count, *bricks.shape))
    return np.clip(bricks + noise, 0, 255).astype(np.uint8)


def test_where_no_face_is_the_search_is_rare_and_who_comes_is_found_at_once(reader, woman, monkeypatch):
    searched = []
    detect = reader.detector.detect

    def counted(frame, tiles=False):
        searched.append(tiles)
        return detect(frame, tiles)

    monkeypatch.setattr(reader.detector, "detect", counted)
    frames = wall(48)
    with pytest.raises(NoFaceError):
        follow(reader, frames).choose()
    # The first frame, every eighth, and the last before a new look at the whole; each in parts, too.
    assert len(searched) <= 2 * (48 // 8 + 4)
    frames[21:33, 60:180, 100:220] = small(woman[:12])
    track = follow(reader, frames).choose()
    assert np.flatnonzero(track.present).tolist() == list(range(21, 33))


def look(who: int, blur: float = 0.0) -> Look:
    """What somebody looks like; a look that is blurred by more resembles it less."""
    own, other = (np.random.default_rng(seed).normal(0, 20, (2, 200, 3)) for seed in (who, who + 100))
    return Look((own[0] + blur * other[0]).astype(np.float32), (own[1] + blur * other[1]).astype(np.float32))


def face(who: Look, frames: range, x_px: float = 100.0, size: float = 1.0, shot: int = 0) -> Tracklet:
    """A face that stays where it is."""
    points = LandmarkLayout.load("mesh478").template * size + [x_px, 0, 0]
    landmarks = PackedLandmarks.pack(np.repeat(points[None], len(frames), 0))
    return Tracklet(shot, np.array(frames), landmarks, {frames[0]: who})


def people(*faces: Tracklet) -> list[list[Tracklet]]:
    """The faces of each person, the largest person first."""
    return [sum(person.values(), []) for person in find_people(people_of_shots(faces))]


def test_within_a_shot_faces_of_one_look_are_one_person_unless_both_are_there_at_once():
    first, again = face(look(1), range(10)), face(look(1, 0.1), range(15, 30), x_px=500)
    assert [len(person) for person in people(first, again)] == [2]
    other, twin = face(look(2), range(15, 30)), face(look(1), range(5, 25), x_px=500)
    assert [len(person) for person in people(first, other)] == [1, 1]
    assert [len(person) for person in people(first, twin)] == [1, 1]


def test_who_is_seen_only_in_passing_is_not_counted():
    stays, passes, long = face(look(1), range(20)), face(look(2), range(5)), face(look(3), range(7))
    assert people(passes, long, stays) == [[stays], [long]]


def test_across_a_cut_who_is_most_alike_is_the_same_person_and_only_one_is():
    before = face(look(1), range(10))
    near, far = (face(look(1, blur), range(10, 20), x_px=300 * blur, shot=1) for blur in (0.1, 0.3))
    for order in ((near, far), (far, near)):
        assert people(before, *order) == [[before, near], [far]]
    assert people(before, face(look(2), range(10, 20), shot=1))[0] == [before]


def test_who_is_chosen_longer_counts_for_more_than_who_is_chosen_in_more_shots():
    short = [(face(look(1), range(5), 0, 2, n), face(look(2), range(5), 400, 1, n)) for n in range(2)]
    long = face(look(1), range(50), 400, 1, 2), face(look(2), range(50), 0, 2, 2)
    found = find_people(people_of_shots([*sum(short, ()), *long]))
    assert found[0][2] == [long[1]], "the largest of most frames"
    for which, wanted in (("left", long[1]), ("right", long[0]), ("largest", long[1]), (1, long[0])):
        assert choose_person(found, which, np.arange(60) / 25)[2] == [wanted]


def test_a_photo_is_of_whom_it_plainly_resembles_or_of_nobody():
    faces = face(look(1), range(10)), face(look(2), range(10), 400), face(look(1, 0.1), range(10), 800)
    found = find_people(people_of_shots(faces[:2]))
    faces[0].looks[5] = look(1, 2.0)  # turned away
    for who, wanted in ((1, faces[0]), (2, faces[1])):
        assert choose_person(found, look(who, 0.05), np.arange(10))[0] == [wanted]
    twins = find_people(people_of_shots(faces))
    for doubtful, among in ((look(3), found), (look(1, 0.05), twins)):
        with pytest.raises(NoFaceError, match="none is plainly that one"):
            choose_person(among, doubtful, np.arange(10))
