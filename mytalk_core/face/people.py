"""Who is in a video: faces that were followed, joined over gaps and cuts by looks, and the choice of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from ..errors import NoFaceError
from .choice import FaceChoice, Mask, Photo, Place
from .look import Look, likeness, looks_apart
from .tracklet import Tracklet

# One person: for each shot with it, its tracklets, the longest first; they never overlap in time.
PersonTracklets: TypeAlias = dict[int, list[Tracklet]]
# A face seen in less than this share of the frames of the one seen most, in one shot, is seen in passing.
PASSING = 0.3
# So many looks of a face are compared across cuts.
COMPARED_LOOKS = 4
# A photo's person is this much nearer to it than the next one, else it is in doubt who is meant.
NEARER = 0.85


def people_of_shots(tracklets: Sequence[Tracklet]) -> dict[int, list[list[Tracklet]]]:
    """For each shot the tracklets of each person in it, the longest first."""
    shots = sorted({tracklet.shot for tracklet in tracklets})
    return {shot: _people([t for t in tracklets if t.shot == shot]) for shot in shots}


def _people(tracklets: list[Tracklet]) -> list[list[Tracklet]]:
    """Tracklets of one shot joined into people: those that never overlap in time and look alike, or, where no
    pictures were read, lie close together."""
    people: list[list[Tracklet]] = []
    for tracklet in sorted(tracklets, key=lambda t: -len(t.rows)):
        apart = [_apart(person, tracklet) for person in people]
        # Whom it resembles most is there beside it: then it is another's, or nobody knows whose.
        nearest = int(np.argmin(apart)) if apart else -1
        overlaps = apart and any(np.intersect1d(t.rows, tracklet.rows).size for t in people[nearest])
        if apart and apart[nearest] < 1 and not overlaps:
            people[nearest].append(tracklet)
        else:
            people.append([tracklet])
    lengths = [sum(len(t.rows) for t in person) for person in people]
    # A face seen only in passing does not compete with one that is there most of the shot.
    return [p for p, n in zip(people, lengths, strict=True) if n >= PASSING * max(lengths)]


def _apart(person: list[Tracklet], tracklet: Tracklet) -> float:
    """How far a tracklet is from a person of its shot: 1 and more, not the same."""
    looks = [look for t in person for look in t.looks.values()]
    if looks and tracklet.looks:
        return looks_apart(list(tracklet.looks.values()), looks)
    if any(np.intersect1d(t.rows, tracklet.rows).size for t in person):
        return np.inf
    away = abs(person[0].centre_x_px - tracklet.centre_x_px)
    return away / max(person[0].size_px, tracklet.size_px)


def find_people(shots: dict[int, list[list[Tracklet]]]) -> list[PersonTracklets]:
    """People of all shots, the largest first; those of two shots are one person if they look alike."""
    people: list[PersonTracklets] = []
    for shot, groups in shots.items():
        pairs = [
            (looks_apart(_some_looks([group]), _some_looks(person.values())), rank, number)
            for rank, person in enumerate(people)
            for number, group in enumerate(groups)
        ]
        joined: dict[int, int] = {}
        for apart, rank, number in sorted(pairs):
            if apart < 1 and number not in joined and rank not in joined.values():
                joined[number] = rank
        for number, group in enumerate(groups):
            if number in joined:
                people[joined[number]][shot] = group
            else:
                people.append({shot: group})
    return _by_votes(people, "largest")


def largest_first(groups: list[list[Tracklet]]) -> list[list[Tracklet]]:
    """The people of a shot by the size of their faces."""
    return sorted(groups, key=lambda group: -group[0].size_px)


def choose_person(people: list[PersonTracklets], which: FaceChoice, times_s: np.ndarray) -> PersonTracklets:
    """Who of `people`, the largest first, is meant; of several shots the longer counts for more.

    which: as `check_choice` returns it; times_s: (T,) of the video's frames. Raises NoFaceError where there
    is no such person, ValueError for a choice that needs pictures or sound.
    """
    if isinstance(which, Look):
        return _nearest_look(people, which)
    if isinstance(which, Place):
        return _nearest_place(people, which, times_s)
    if isinstance(which, (Mask, Photo)) or which == "speaking":
        raise ValueError(f"{which} is chosen from pictures or sound: use LipSync.choose with the clip")
    if not any(tracklet.looks for person in people for group in person.values() for tracklet in group):
        return _in_each_shot(people, which)
    if isinstance(which, int):
        if which >= len(people):
            raise _no_such(which, len(people))
        return people[which]
    return _by_votes(people, str(which))[0]


def _no_such(number: int, count: int) -> NoFaceError:
    return NoFaceError(
        f"face {number} was asked for; this video has {count} people to choose from: choose 0 to {count - 1}"
        if count > 1
        else f"face {number} was asked for; this video has one person: choose 0"
    )


def _ordered(groups: list[list[Tracklet]], which: str) -> list[list[Tracklet]]:
    """The people of a shot: from the left, from the right, or from the largest."""
    if which not in ("left", "right"):
        return largest_first(groups)
    middles = {id(group): group[0].centre_x_px for group in groups}
    ordered = sorted(groups, key=lambda group: middles[id(group)])
    # Who change places are told by where they are when they are first seen.
    size = max(group[0].size_px for group in groups)
    if len(groups) > 1 and middles[id(ordered[-1])] - middles[id(ordered[0])] < size / 2:
        ordered = sorted(groups, key=lambda group: _first_place(group)[0])
    return ordered if which == "left" else ordered[::-1]


def _first_place(group: list[Tracklet]) -> np.ndarray:
    first = min(group, key=lambda tracklet: tracklet.rows[0])
    return first.place_px(int(first.rows[0]))


def _by_votes(people: list[PersonTracklets], which: str) -> list[PersonTracklets]:
    """People by how long the choice falls on them, shot by shot, then by size."""
    votes = dict.fromkeys(range(len(people)), 0)
    for groups in _shots(people).values():
        chosen = _ordered(list(groups.values()), which)[0]
        rank = next(rank for rank, group in groups.items() if group is chosen)
        votes[rank] += sum(len(tracklet.rows) for tracklet in chosen)
    sizes = [max((t for g in p.values() for t in g), key=lambda t: len(t.rows)).size_px for p in people]
    return [people[rank] for rank in sorted(votes, key=lambda rank: (-votes[rank], -sizes[rank]))]


def _shots(people: list[PersonTracklets]) -> dict[int, dict[int, list[Tracklet]]]:
    """For each shot its people's tracklets by their rank among all."""
    shots = sorted({shot for person in people for shot in person})
    return {shot: {r: p[shot] for r, p in enumerate(people) if shot in p} for shot in shots}


def _in_each_shot(people: list[PersonTracklets], which: FaceChoice) -> PersonTracklets:
    """Where no pictures were read nobody knows who is the same in two shots: the choice in each."""
    number = which if isinstance(which, int) else 0
    shots = {shot: list(groups.values()) for shot, groups in _shots(people).items()}
    chosen = {
        shot: _ordered(groups, str(which))[number] for shot, groups in shots.items() if number < len(groups)
    }
    if not chosen:
        raise _no_such(number, max(map(len, shots.values())))
    return chosen


def _nearest_place(people: list[PersonTracklets], place: Place, times_s: np.ndarray) -> PersonTracklets:
    """Whose face is nearest to a place at its time; without one, where each is first seen or mostly is."""
    point = np.array([place.x_px, place.y_px])

    def near_in(shot: int, group: list[Tracklet]) -> tuple[bool, int, float]:
        middles = (_first_place(group), group[0].centre_px)
        away = min(float(np.hypot(*(middle - point))) for middle in middles)
        return away > group[0].size_px, shot, away

    def near_at(row: int, person: PersonTracklets) -> tuple[int, float]:
        tracklets = [tracklet for group in person.values() for tracklet in group]
        late = [int(np.abs(tracklet.rows - row).min()) for tracklet in tracklets]
        nearest = tracklets[int(np.argmin(late))]
        return min(late), float(np.hypot(*(nearest.place_px(row) - point)))

    if place.time_s is None:
        return min(people, key=lambda person: min(near_in(*part) for part in person.items()))
    row = int(np.searchsorted(times_s, place.time_s + 1e-6) - 1)
    return min(people, key=lambda person: near_at(row, person))


def _nearest_look(people: list[PersonTracklets], look: Look) -> PersonTracklets:
    """Who looks like `look`. Raises NoFaceError where that is in doubt."""
    apart = [min(likeness(look, own) for own in _looks(person.values())) for person in people]
    order = np.argsort(apart)
    nearest = apart[order[0]]
    if nearest >= 1 or (len(order) > 1 and nearest > NEARER * apart[order[1]]):
        raise NoFaceError(
            f"the person of the photo was required; of {len(people)} in the video none is plainly that one: "
            "choose another photo, or by number or place, or give the weights of face recognition"
        )
    return people[int(order[0])]


def _looks(groups: Iterable[list[Tracklet]]) -> list[Look]:
    return [look for group in groups for tracklet in group for look in tracklet.looks.values()]


def _some_looks(groups: Iterable[list[Tracklet]]) -> list[Look]:
    """A few of people's looks, spread over their time."""
    looks = _looks(groups)
    return [looks[i] for i in np.linspace(0, len(looks) - 1, min(len(looks), COMPARED_LOOKS)).astype(int)]
