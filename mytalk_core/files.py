"""Files that are there whole or not at all, and outputs that are checked before any work."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import MediaError

try:
    import fcntl
except ImportError:  # Windows, where nothing that somebody has open can be removed: that is the lock
    fcntl = None  # type: ignore[assignment]

# Locks may be known to one machine only, so each removes its own leftovers.
MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
WORKSHOP = re.compile(rf"\.mytalk-{MACHINE}-[0-9a-f]{{8}}")
LOCK, HELD = "lock", "held"
LONGEST_NAME = 255  # bytes, of every common file system
LONGEST_SUFFIX = 32
NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A name to write to; what lies there takes the name `path` when the block ends well, else it is removed.

    The name has the suffix of `path`, since encoders choose by it, and lies in a hidden folder beside it that
    no other call uses. A block may make a folder of it, where nothing is at `path`. Permissions are by the
    umask, whatever the block's libraries set. Where `path` is a link, what it points to is replaced and the
    link stays. Leftovers of runs that were killed are removed from the folder on the way.

    Raises: MediaError as `check_outputs`; an OSError of the block names `path` where the disk is full, which
    other libraries' own kinds of error become.
    """
    path = Path(path)
    _check_target(path, "the output")
    target = Path(os.path.realpath(path))
    sweep(target.parent)
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= LONGEST_SUFFIX else ""
    with _workshop(target.parent) as (folder, mode):
        temporary = folder / f"new{suffix}"
        try:
            try:
                yield temporary
            except Exception as error:
                full = _no_room(error)
                if full is None:
                    raise
                raise full from None
            if temporary.is_file() and stat.S_IMODE(temporary.stat().st_mode) != mode:
                temporary.chmod(mode)
            temporary.replace(target)
        except OSError as error:
            if error.errno in NO_ROOM or str(error.filename) == str(temporary):
                # FFmpeg's own errors name their file themselves.
                with contextlib.suppress(AttributeError):
                    error.filename, error.filename2 = str(path), None
            raise


def _no_room(error: Exception) -> OSError | None:
    """The full disk behind another library's error: torch raises its own while it handles the system's,
    safetensors has its number in the text, in one of two ways. None where there is none, or the error itself
    is the system's."""
    behind = error.__context__
    if isinstance(error, OSError):
        return None
    if isinstance(behind, OSError) and behind.errno in NO_ROOM:
        return behind
    number = re.search(r"(?:\(os error |Os \{ code: )(\d+)", str(error))
    if number is None or int(number[1]) not in NO_ROOM:
        return None
    return OSError(int(number[1]), os.strerror(int(number[1])))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A block that makes a file at its end: from its beginning an empty one keeps the name, so that another
    process that looks for a free one takes the next. It is removed where the block fails, and where the
    process is killed by the next run that writes into the folder."""
    with contextlib.ExitStack() as stack:
        # What is there is replaced, and what cannot be made the block says better.
        with contextlib.suppress(OSError):
            folder, _ = stack.enter_context(_workshop(path.parent))
            path.open("xb").close()
            stack.push(lambda kind, *_: path.unlink(missing_ok=True) if kind else None)
            (folder / HELD).write_text(path.name, encoding="utf-8")
        yield


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all; errors as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change, so that a new file under a name is another; None where none is."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns
    return None


def stamp_of_all(files: Iterable[Path]) -> str:
    """One stamp of several files: which there are and when each was written, as a digest, which says nothing
    of one's folders."""
    listed = sorted(f"{path!r} {stamp(path)}" for path in files)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]


@contextmanager
def alone(path: str | Path, doing: str) -> Iterator[None]:
    """A block that only one process at a time is in. path: a file for the lock, removed behind it; doing:
    what another one does meanwhile, for the message. Where the file system knows no locks, all are let in.

    Raises: MediaError while another process is in it.
    """
    path = Path(path)
    lock = take_lock(path)
    if lock is None:
        raise MediaError(f"another run {doing}: wait for its end, or name another folder")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(lock)


def plain_name(name: str, where: str) -> str:
    """`name`, if it is one part of a path, so that what is named after it stays in its folder.

    where: what gave the name, for the message. Raises ValueError for a path, a control character, a hidden or
    an empty name, or one too long for a suffix behind it.
    """
    forbidden = "/\\" if os.name != "nt" else '/\\:*?"<>|'
    odd = [c for c in name if c in forbidden or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    if odd or not name.strip() or name.startswith("."):
        raise ValueError(
            f"{where}: a plain file name was required, no path, but {name!r:.80} arrived: rename it"
        )
    if len(os.fsencode(name)) > LONGEST_NAME - LONGEST_SUFFIX:
        raise ValueError(
            f"{where}: a name of at most {LONGEST_NAME - LONGEST_SUFFIX} bytes was required, but "
            f"{name[:40]!r}... is longer: shorten it"
        )
    return name


def sweep(folder: Path) -> None:
    """Remove what runs on this machine that were killed left in a folder; what a live one writes stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if WORKSHOP.fullmatch(entry.name)]:
            # In use, or another user's.
            with contextlib.suppress(OSError):
                _remove_abandoned(Path(entry))


def check_outputs(outputs: Mapping[str, str | Path | None], inputs: Iterable[str | Path | None] = ()) -> None:
    """Check, before any work, that outputs can be written and that none replaces an input or another output.

    outputs: by the word the user knows them by, such as a flag; None is one that was not asked for. Files
    are the same whatever their names: links, hard links and another case where the system ignores it count.

    Raises: MediaError for one that is an input or another output, a folder, a device or a pipe, of a name too
    long, in a folder that is missing, or not writable.
    """
    asked = {word: Path(path) for word, path in outputs.items() if path is not None}
    for word, path in asked.items():
        _check_target(path, word)
    # Only those of one key can be the same file: a list of thousands is not compared pair by pair.
    alike: dict[tuple, list[tuple[str | None, Path]]] = {}
    for source in (Path(path) for path in inputs if path is not None):
        alike.setdefault(_file_key(source), []).append((None, source))
    for word, path in asked.items():
        others = alike.setdefault(_file_key(path), [])
        _check_alone(word, path, others)
        others.append((word, path))


def _check_alone(word: str, path: Path, others: list[tuple[str | None, Path]]) -> None:
    """Raises MediaError where an output is one of other files: inputs, whose word is None, or outputs."""
    for other_word, other in others:
        if not _same_file(path, other):
            continue
        if other_word is None:
            raise MediaError(
                f"{word}: an output other than the source was required, but both are {path}: name "
                "another file"
            )
        raise MediaError(
            f"{word}: a file of its own was required, but {other_word} writes {other} too: name another file"
        )


def _file_key(path: Path) -> tuple:
    """Equal for names of one file; different files may share one."""
    if path.exists():
        found = path.stat()
        return found.st_dev, found.st_ino
    return (_folded(Path(os.path.realpath(path)).name),)


def _check_target(path: Path, word: str) -> None:
    """Raises MediaError where `path` cannot be made, or be replaced by a file."""
    target = Path(os.path.realpath(path))
    size = max(len(os.fsencode(name)) for name in (path.name, target.name))
    if size > LONGEST_NAME:
        raise MediaError(
            f"{word}: a file name of at most {LONGEST_NAME} bytes was required, but {path.name[:40]}... has "
            f"{size}: shorten it"
        )
    if path.is_dir():
        raise MediaError(f"{word}: an output file was required, but {path} is a folder: add a file name")
    folder = target.parent
    if not folder.is_dir():
        raise MediaError(
            f"{word}: a folder to write in was required, but {folder if path.is_symlink() else path.parent} "
            "does not exist: create it, or name another"
        )
    there = path.exists()
    if there and not path.is_file():
        raise MediaError(
            f"{word}: a file, or nothing yet, was required, but {path} is {kind_of(path)}: name another file"
        )
    if not os.access(folder, os.W_OK) or (there and not os.access(path, os.W_OK)):
        raise MediaError(
            f"{word}: a writable output was required, but {path} may not be written: change its permissions, "
            "or name another"
        )


def kind_of(path: Path) -> str:
    """What is at a path where it is neither a file nor a folder: "a pipe", for messages."""
    return KINDS.get(stat.S_IFMT(path.stat().st_mode), "no file")


def _same_file(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    first, second = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    if first == second:
        return True
    if _folded(first.name) != _folded(second.name) or not first.parent.is_dir():
        return False
    if not second.parent.is_dir() or not first.parent.samefile(second.parent):
        return False
    with _workshop(first.parent) as (folder, _):
        (folder / first.name).touch()
        return (folder / second.name).exists()


def _folded(name: str) -> str:
    """Names alike for systems that ignore case or how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()


@contextmanager
def _workshop(parent: Path) -> Iterator[tuple[Path, int]]:
    """A hidden folder in `parent`, locked while it is used, then removed; and the mode of new files."""
    folder, lock = None, None
    try:
        while lock is None:
            made = parent / f".mytalk-{MACHINE}-{secrets.token_hex(4)}"
            try:
                made.mkdir()
            except FileExistsError:
                continue
            folder = made
            lock = take_lock(made / LOCK)
        yield made, stat.S_IMODE(os.fstat(lock).st_mode)
    finally:
        try:
            _remove(folder)
        except KeyboardInterrupt:
            # A second Ctrl-C, in the midst of it.
            _remove(folder)
            raise
        finally:
            if lock is not None:
                os.close(lock)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def take_lock(path: Path) -> int | None:
    """The locked file, open; None where another process has it, or swept it away before it was locked."""
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except FileNotFoundError:
        return None
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(lock), path.stat()):
            raise FileNotFoundError(path)
    except (BlockingIOError, FileNotFoundError):
        os.close(lock)
        return None
    except OSError:
        # A file system without locks: nobody can tell there whether a folder is in use, so none is swept.
        pass
    return lock


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder that no process uses any more. Raises OSError where one does, or nobody can tell."""
    lock = folder / LOCK
    if not lock.exists():
        # A live one is about to lock it, or it is empty.
        folder.rmdir()
    elif fcntl is None:
        lock.unlink()
        _release(folder)
        _remove(folder)
        shutil.rmtree(folder)
    else:
        with lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _release(folder)
            _remove(folder)
            shutil.rmtree(folder)


def _release(folder: Path) -> None:
    """Remove the empty file whose name a folder that nobody uses any more has `held`."""
    with contextlib.suppress(OSError):
        path = folder.parent / (folder / HELD).read_text(encoding="utf-8")
        if path.stat().st_size == 0:
            path.unlink()


def _remove(folder: Path | None) -> None:
    """Remove all but the lock, which goes last: without it nobody could tell that the rest is left over."""
    if folder is None or not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            with contextlib.suppress(OSError):
                path.unlink()
