"""config.json + model.safetensors <-> module: strict, versioned, hashed, never pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..errors import WeightsError
from ..files import replacing
from . import hub

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
BUNDLED = Path(__file__).parents[1] / "weights"

Model = TypeVar("Model", bound="PretrainedModel")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with the installation; the face networks beside them are none."""
    return tuple(sorted({config.parents[1].name for config in BUNDLED.glob(f"*/*/{CONFIG_NAME}")}))


def resolve_folder(
    source: str | Path, subfolder: str | None = None, revision: str | None = None, files: tuple[str, ...] = ()
) -> Path:
    """Find the local folder of a model, downloading `files` where the source is a Hub repository.

    source: the name of a bundled model ("mini"), a folder, "hub:OWNER/NAME" or "OWNER/NAME". A folder that
    exists wins over a repository of the same name. `revision` (branch, tag or commit) is for repositories.

    Raises:
        FileNotFoundError: nothing by that name, or no such file in the repository.
        WeightsError: a gated repository or a pickle file.
    """
    text = str(source)
    files = files or (CONFIG_NAME, WEIGHTS_NAME)
    if isinstance(source, str) and text.startswith("hub:"):
        return hub.download(text.removeprefix("hub:"), files, subfolder=subfolder, revision=revision)
    path = Path(text).expanduser()
    if path.suffix in PICKLE_SUFFIXES:
        raise WeightsError(_pickle_refusal(path))
    if path.is_dir():
        return path / subfolder if subfolder else path
    if isinstance(source, str) and text in bundled_models():
        return BUNDLED / text / subfolder if subfolder else BUNDLED / text
    if isinstance(source, str) and hub.is_repository(text):
        return hub.download(text, files, subfolder=subfolder, revision=revision)
    names = ", ".join(bundled_models()) or "none in this installation"
    raise FileNotFoundError(
        f"no model {text!r}: give a bundled model ({names}), "
        f"a folder with {CONFIG_NAME} and {WEIGHTS_NAME}, or hub:OWNER/NAME"
    )


def model_hashes(
    source: str | Path, subfolders: tuple[str, ...], revision: str | None = None
) -> dict[str, str]:
    """SHA-256 of each part's weights, by subfolder; parts the model does not bring are left out."""
    folders = {name: resolve_folder(source, name, revision) for name in subfolders}
    return {
        name: file_sha256(folder / WEIGHTS_NAME)
        for name, folder in folders.items()
        if (folder / WEIGHTS_NAME).is_file()
    }


class PretrainedModel(nn.Module):
    """Base of every model whose weights travel; `__init__` takes one frozen dataclass, `config_class`.

    A change that old files cannot meet raises `format_version`; where they can be brought up to it,
    `migrations` holds, by the version it starts from, the function from that version's config to the next's.
    """

    config_class: ClassVar[type]
    format_version: ClassVar[int] = 1
    migrations: ClassVar[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
    config: Any

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write config.json and model.safetensors into `folder`, each whole or not at all.

        dtype: of the stored floating-point tensors (float16 halves the file); None keeps them as they are.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            key: (value.to(dtype) if dtype and value.is_floating_point() else value)
            .detach()
            .cpu()
            .contiguous()
            for key, value in self.state_dict().items()
        }
        # Weights take their name first: a crash in between leaves a hash that does not fit, which loading
        # reports.
        with replacing(folder / CONFIG_NAME) as config, replacing(folder / WEIGHTS_NAME) as weights:
            save_file(tensors, weights, metadata={"format": "pt"})
            description = {
                "class": type(self).__name__,
                "format_version": self.format_version,
                "sha256": file_sha256(weights),
                "config": dataclasses.asdict(self.config),
            }
            config.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def from_pretrained(
        cls: type[Model],
        source: str | Path,
        subfolder: str | None = None,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Model:
        """Load a model in evaluation mode; `source`, `subfolder` and `revision` as in `resolve_folder`.

        Raises:
            FileNotFoundError: no such model, or a file of it is missing.
            WeightsError: another class or format version, unknown or missing config fields or tensors, other
                shapes, a hash that does not fit, an unreadable or a pickle file.
        """
        folder = resolve_folder(source, subfolder, revision)
        description = read_description(folder, cls)
        path = folder / WEIGHTS_NAME
        _check_hash(path, description["sha256"])
        model = cls(build_config(cls.config_class, description["config"], folder / CONFIG_NAME))
        _load_strictly(model, path)
        return model.to(device=device, dtype=dtype).eval()

    @classmethod
    def read_config(
        cls, source: str | Path, subfolder: str | None = None, revision: str | None = None
    ) -> Any:
        """The config of a saved model, without its weights; arguments and errors as in `from_pretrained`."""
        folder = resolve_folder(source, subfolder, revision, files=(CONFIG_NAME,))
        description = read_description(folder, cls, files=(CONFIG_NAME,))
        return build_config(cls.config_class, description["config"], folder / CONFIG_NAME)

    @classmethod
    def verify(cls, folder: Path) -> dict[str, Any]:
        """Check the files in `folder` as `from_pretrained` would, allocating nothing: config.json's content.

        Raises FileNotFoundError and WeightsError as `from_pretrained` does.
        """
        description = read_description(folder, cls)
        path = folder / WEIGHTS_NAME
        _check_hash(path, description["sha256"])
        with torch.device("meta"):
            model = cls(build_config(cls.config_class, description["config"], folder / CONFIG_NAME))
        with _opened(path) as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        _check_shapes(path, model, shapes)
        return description


def read_description(
    folder: Path, cls: type[PretrainedModel], files: tuple[str, ...] = (CONFIG_NAME, WEIGHTS_NAME)
) -> dict[str, Any]:
    """Read and check config.json of a model of class `cls`: its class, format_version, sha256 and config.

    The config of an older version that can be migrated comes back migrated. files: what must be there.
    """
    path = folder / CONFIG_NAME
    for name in files:
        if not (folder / name).is_file():
            _raise_missing(folder, name)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(
            f"{path} is not valid JSON ({error}); download or export the model again"
        ) from error
    required = {"class", "format_version", "sha256", "config"}
    _check_names(path, "fields", required, set(description) if isinstance(description, dict) else set())
    if description["class"] != cls.__name__:
        raise WeightsError(
            f"{path} holds a {description['class']}, but a {cls.__name__} was asked for; "
            "choose another folder or subfolder"
        )
    version = description["format_version"]
    while version in cls.migrations and isinstance(description["config"], dict):
        description["config"] = cls.migrations[version](description["config"])
        version += 1
    if version != cls.format_version:
        newer = isinstance(version, int) and version > cls.format_version
        remedy = "update mytalk" if newer else "download the model again, or export it with this version"
        raise WeightsError(
            f"{path} has format version {version}; this mytalk reads version {cls.format_version}: {remedy}"
        )
    return description


def _pickle_refusal(path: Path) -> str:
    return (
        f"{path} is a pickle file, which can run any code while it loads, so it is never opened; "
        f"convert it to {WEIGHTS_NAME} with save_pretrained and pass the folder"
    )


def _raise_missing(folder: Path, name: str) -> None:
    pickles = sorted(p for p in folder.iterdir() if p.suffix in PICKLE_SUFFIXES) if folder.is_dir() else []
    if pickles and name == WEIGHTS_NAME:
        raise WeightsError(_pickle_refusal(pickles[0]))
    raise FileNotFoundError(
        f"{folder / name} is missing: a model folder needs {CONFIG_NAME} and {WEIGHTS_NAME}; "
        "check the path and the subfolder"
    )


def _check_hash(path: Path, expected: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise WeightsError(
            f"{path} has sha256 {found[:16]}..., its {CONFIG_NAME} names {str(expected)[:16]}...: the file "
            "is damaged or from another version; delete it and download or export the model again"
        )


def _check_names(path: Path, kind: str, required: set[str], found: set[str]) -> None:
    missing, unknown = sorted(required - found), sorted(found - required)
    if missing or unknown:
        parts = [
            f"{word} {_shorten(names)}"
            for word, names in (("missing", missing), ("unknown", unknown))
            if names
        ]
        raise WeightsError(
            f"{path}: {kind} do not fit this version: {'; '.join(parts)}; "
            "use weights exported for this version"
        )


def _shorten(names: list[str], count: int = 8) -> str:
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest


def build_config(config_class: type, values: dict[str, Any], path: Path) -> Any:
    """JSON object of the file `path` -> config dataclass: every field named, lists as tuples.

    Raises WeightsError for missing or unknown fields and for values of another type.
    """
    names = {field.name for field in dataclasses.fields(config_class)}
    _check_names(path, "config fields", names, set(values) if isinstance(values, dict) else set())
    values = {key: _as_tuples(value) for key, value in values.items()}
    for field in dataclasses.fields(config_class):
        expected, value = type(field.default), values[field.name]
        known = field.default is not dataclasses.MISSING and field.default is not None
        if known and type(value) is not expected and not (expected is float and type(value) is int):
            raise WeightsError(f"{path}: {field.name} must be {expected.__name__}; got {value!r}")
    try:
        return config_class(**values)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file ({error}); download it again"
        ) from error


def _check_shapes(path: Path, model: nn.Module, found: dict[str, tuple[int, ...]]) -> None:
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    _check_names(path, "tensors", set(expected), set(found))
    for key, shape in found.items():
        if shape != expected[key]:
            raise WeightsError(f"{path}: tensor {key} has shape {shape}, the config asks for {expected[key]}")


def _load_strictly(model: nn.Module, path: Path) -> None:
    with _opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    _check_shapes(path, model, {key: tuple(value.shape) for key, value in tensors.items()})
    model.load_state_dict(tensors, strict=True)
