"""Face tracks and re-encodings kept between evaluations, by the content of the video they were made from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..checkpoint.pretrained import file_sha256
from ..errors import MediaError
from ..face.reader import FaceReader
from ..face.track import FaceTrack
from ..media.clip import Clip
from ..media.file_clip import FileClip
from ..pipeline.stages import Progress
from ..pipeline.write import write
from .subject import Subject, read_subject


class SubjectCache:
    """Face tracks that are read once and kept for the next evaluation.

    folder: where tracks lie, None to keep none. Several processes may share it: files appear whole.
    """

    def __init__(self, folder: Path | None, reader: FaceReader):
        self.folder, self.reader = folder, reader
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def read(
        self, clip: Clip, face: str | int | tuple[float, float], progress: Progress | None = None
    ) -> Subject:
        """A clip with its face; errors as in `read_subject`."""
        if self.folder is None or not isinstance(clip, FileClip):
            return read_subject(clip, self.reader, face, progress)
        # A point is where the face was seen elsewhere: a few pixels do not make it another face.
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
    write(clip, path)
    return path
