"""Safetensors files of tracks and motions: written whole, read only if nothing in them is amiss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .errors import MediaError
from .files import replacing


@dataclass(frozen=True)
class FileKind:
    """What a kind of file holds.

    name: such as "face track"; source: what writes one; tensors: name -> the types it may have, as
    safetensors spells them, and its shape, where a letter is any length, the same one wherever it stands.
    """

    name: str
    source: str
    tensors: Mapping[str, tuple[tuple[str, ...], tuple[int | str, ...]]]

    def refusal(self, path: Path, arrived: str) -> MediaError:
        """The error for a file in which something else arrived."""
        return MediaError(
            f"{path} is not a readable {self.name}: what {self.source} wrote was required, but {arrived}: "
            "write it again, or name another"
        )


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all; errors as `replacing`."""
    data = save({name: np.ascontiguousarray(values) for name, values in tensors.items()}, metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_metadata(path: str | Path, kind: FileKind) -> dict[str, str]:
    """The texts in a file's header.

    Raises: FileNotFoundError; MediaError for a damaged file or one of another format.
    """
    with _opened(Path(path), kind) as file:
        return file.metadata() or {}


def read_tensors(path: str | Path, kind: FileKind) -> dict[str, np.ndarray]:
    """The tensors of a file, those of its kind and no others.

    Raises: FileNotFoundError; MediaError for a damaged file, a tensor that is missing or surplus, of another
    type or shape, or with a number that is not finite.
    """
    path = Path(path)
    with _opened(path, kind) as file:
        _check_header(file, path, kind)
        tensors = {name: file.get_tensor(name) for name in kind.tensors}
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise kind.refusal(path, f"its {name} has numbers that are not finite")
    return tensors


def _check_header(file: Any, path: Path, kind: FileKind) -> None:
    names = set(file.keys())
    if names != set(kind.tensors):
        raise kind.refusal(
            path, f"it holds {', '.join(sorted(names)) or 'nothing'}, not {', '.join(kind.tensors)}"
        )
    lengths: dict[str, int] = {}
    for name, (types, shape) in kind.tensors.items():
        header = file.get_slice(name)
        found = tuple(header.get_shape())
        if header.get_dtype() not in types:
            raise kind.refusal(path, f"its {name} is {header.get_dtype()}, not {' or '.join(types)}")
        for length, wanted in zip(found, shape, strict=False):
            if isinstance(wanted, str):
                lengths.setdefault(wanted, length)
        if found != tuple(lengths.get(wanted, 0) if isinstance(wanted, str) else wanted for wanted in shape):
            dimensions = ", ".join(str(wanted) for wanted in shape)
            raise kind.refusal(path, f"its {name} is {found}, not ({dimensions})")


@contextmanager
def _opened(path: Path, kind: FileKind) -> Iterator[Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such {kind.name}: check the path")
    if not path.is_file():
        raise kind.refusal(path, "it is no file")
    # safetensors names neither the file nor its fault where it may not be read.
    path.open("rb").close()
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise kind.refusal(path, str(error)) from error
