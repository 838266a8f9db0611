"""Which of a video's people is meant, where pictures or sound must tell: a mask, a photo, who is speaking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import MediaError, NoFaceError
from ..expert.scorer import ExpertScorer
from ..face.choice import FaceChoice, Mask, Photo, Place, check_choice
from ..face.reader import FaceReader
from ..face.track import Faces, FaceTrack
from ..media.clip import Clip
from ..media.source import open_clip


def choose(
    reader: FaceReader, clip: Clip, faces: Faces, which: FaceChoice, scorer: Callable[[], ExpertScorer]
) -> FaceTrack:
    """The track of the person who is meant among the faces of a clip.

    which: see `check_choice`; reader: reads a photo's face; scorer: loads the lip-sync expert, for who is
    speaking. Raises NoFaceError, ValueError, MediaError and FileNotFoundError; where there is no expert what
    loading it raises.
    """
    which = check_choice(which)
    if isinstance(which, Mask):
        which = _masked_place(which, clip)
    elif isinstance(which, Photo):
        picture = next(open_clip(which.path).frames(0, 1))[0]
        which = reader.look_of_photo(picture, which.path)
    elif which == "speaking":
        return _who_speaks(clip, faces, scorer)
    return faces.choose(which)


def _masked_place(mask: Mask, clip: Clip) -> Place:
    """The middle of what is painted in a mask's first painted frame, at its time where it is a video."""
    painted = open_clip(mask.path)
    for row, picture in enumerate(painted.pictures()):
        rows, columns = np.nonzero(picture.rgb.max(-1) > 127)
        if len(rows):
            x = (columns.mean() + 0.5) * clip.width / painted.width
            y = (rows.mean() + 0.5) * clip.height / painted.height
            return Place(float(x), float(y), float(painted.times_s[row]) if len(painted) > 1 else None)
    raise MediaError(
        f"{mask.path}: a face painted white on black was required, but nothing is painted: paint over it"
    )


def _who_speaks(clip: Clip, faces: Faces, scorer: Callable[[], ExpertScorer]) -> FaceTrack:
    """The person whose mouth fits the clip's own sound best, by how much nearer it is than at other times."""
    if not clip.has_audio:
        raise MediaError(
            "who is speaking is told by the video's own sound, but it has none: choose the face otherwise"
        )
    speech, expert = clip.speech(), scorer()
    tracks = [faces.track_of(person) for person in faces.people]
    if not tracks:
        return faces.choose()
    figures = [expert.score(track, speech.mono_16k) for track in tracks]
    heard = [(score.confidence, rank) for rank, score in enumerate(figures) if score is not None]
    if not heard:
        raise NoFaceError(
            "who is speaking is told by at least 1.4 s of video with sound, but this one is shorter: choose "
            "the face otherwise"
        )
    return tracks[max(heard)[1]]
