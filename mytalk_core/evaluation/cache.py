"""Face tracks and re-encodings kept between evaluations, by the content of the video they were made from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..checkpoint.pretrained import file_sha256
from ..errors import MediaError
from ..face.track import FaceTrack
from ..face.tracker import FaceReader
from ..media.video import Clip
from ..media.writer import VideoWriter
from .subject import Subject, read_subject


class SubjectCache:
    """folder: where tracks lie, None to keep none. Several processes may share it: files appear whole."""

    def __init__(self, folder: Path | None, reader: FaceReader):
        self.folder, self.reader = folder, reader
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def read(
        self, clip: Clip, face: str | int | tuple[float, float], progress: Callable[[int], None] | None = None
    ) -> Subject:
        """A clip with its face; errors as in `read_subject`."""
        if self.folder is None or clip.path is None:
            return read_subject(clip, self.reader, face, progress)
        # A place is where the face was seen elsewhere: a few pixels do not make it another face.
        word = "-".join(str(round(number / 16)) for number in face) if isinstance(face, tuple) else face
        path = self.folder / f"{file_sha256(clip.path)[:20]}-{word}.safetensors"
        if path.is_file():
            # A damaged one is made again.
            with suppress(MediaError):
                return Subject(clip, FaceTrack.load(path))
        subject = read_subject(clip, self.reader, face, progress)
        subject.track.save(path)
        return subject


def encode_again(clip: Clip, path: Path) -> Path:
    """The clip as `mytalk sync` would write it if it changed nothing: H.264 at crf 18, its own sound."""
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = clip.speech() if clip.has_audio else None
    with VideoWriter(path, clip, speech=sound) as writer:
        for picture in clip.pictures():
            writer.write(picture)
    return path
