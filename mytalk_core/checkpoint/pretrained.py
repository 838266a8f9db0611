"""config.json + model.safetensors <-> module: strict, versioned, hashed, never pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..errors import WeightsError
from ..files import replacing
from ..json_text import read_object
from . import hub

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
BUNDLED = Path(__file__).parents[1] / "weights"
# Far above any config; a larger file is something else.
CONFIG_BYTES = 1 << 20
# Where there is no file to compare a config with: several times what our largest model has.
CONFIG_TENSORS = 4_000
NAMED = 8  # keys that do not fit, of those that a message names

Model = TypeVar("Model", bound="PretrainedModel")
Module = TypeVar("Module", bound=nn.Module)


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
    exists wins over a repository of the same name. `revision`: branch, tag or commit of a repository.

    Raises:
        FileNotFoundError: nothing by that name, or no such file in the repository.
        ValueError: a revision of what is no repository.
        WeightsError: a gated repository or a pickle file.
    """
    text = str(source)
    files = files or (CONFIG_NAME, WEIGHTS_NAME)
    if isinstance(source, str) and text.startswith("hub:"):
        return hub.download(text.removeprefix("hub:"), files, subfolder=subfolder, revision=revision)
    path = Path(text).expanduser()
    if path.suffix in PICKLE_SUFFIXES:
        raise WeightsError(_pickle_refusal(path))
    bundled = isinstance(source, str) and text in bundled_models()
    if path.is_dir() or bundled:
        if revision is not None:
            raise ValueError(
                f"a Hub repository was required with the revision {revision!r}, but {text!r} lies here and "
                "has none: leave the revision out, or give hub:OWNER/NAME"
            )
        folder = path if path.is_dir() else BUNDLED / text
        return folder / subfolder if subfolder else folder
    if isinstance(source, str) and hub.is_repository(text):
        return hub.download(text, files, subfolder=subfolder, revision=revision)
    names = ", ".join(bundled_models()) or "none in this installation"
    raise FileNotFoundError(
        f"no model {text!r}: give a bundled model ({names}), "
        f"a folder with {CONFIG_NAME} and {WEIGHTS_NAME}, or hub:OWNER/NAME"
    )


def own_folder(source: str) -> Path | None:
    """The folder of a model that is one of the user's own, absolute; None for a bundled one or the Hub's."""
    path = Path(source).expanduser()
    return path.resolve() if not source.startswith("hub:") and path.is_dir() else None


def weights_in(folder: Path) -> str:
    """One hash of all weights of a model's folder, from the hashes that its configs hold."""
    digest = hashlib.sha256()
    for config in sorted(folder.glob(f"*/{CONFIG_NAME}")):
        digest.update(config.parent.name.encode() + config.read_bytes())
    return digest.hexdigest()


def resolve_whole(source: str, revision: str | None = None) -> Path:
    """The folder of a whole model, all of it downloaded where the source is a Hub repository; as
    `resolve_folder`."""
    name = source.removeprefix("hub:")
    local = Path(name).expanduser().is_dir() or (BUNDLED / name).is_dir()
    if source.startswith("hub:") or (hub.is_repository(name) and not local):
        return hub.download_all(name, revision)
    return resolve_folder(name, revision=revision)


class PretrainedModel(nn.Module):
    """Base of every model whose weights travel; `__init__` takes one frozen dataclass, `config_class`.

    A change that old files cannot meet raises `format_version`; where they can be brought up to it,
    `migrations` holds, by the version it starts from, the function from that version's config to the next's.
    A buffer that is not saved is made on the CPU by name (`device="cpu"`): loading builds on the meta device.
    `sha256`: of the weights' file that was loaded, "" before.
    """

    config_class: ClassVar[type]
    format_version: ClassVar[int] = 1
    migrations: ClassVar[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
    config: Any
    sha256: str = ""

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
        description, model, tensors = cls._read(folder)
        assign(model, tensors)
        model.sha256 = description["sha256"]
        return model.to(device=device, dtype=dtype).eval()

    @classmethod
    def _read(cls: type[Model], folder: Path) -> tuple[dict[str, Any], Model, dict[str, Tensor]]:
        """config.json's content, the model on the meta device and the tensors that fit it."""
        description = read_description(folder, cls)
        path = folder / WEIGHTS_NAME
        tensors, sha256 = read_weights(path)
        _check_hash(path, sha256, description["sha256"])
        config = build_config(cls.config_class, description["config"], folder / CONFIG_NAME)
        model = build_empty(lambda: cls(config), folder / CONFIG_NAME, len(tensors))
        check_tensors(path, model, tensors)
        return description, model, tensors

    @classmethod
    def read_config(
        cls, source: str | Path, subfolder: str | None = None, revision: str | None = None
    ) -> Any:
        """The config of a saved model, without its weights; arguments and errors as in `from_pretrained`."""
        folder = resolve_folder(source, subfolder, revision, files=(CONFIG_NAME,))
        description = read_description(folder, cls, files=(CONFIG_NAME,))
        config = build_config(cls.config_class, description["config"], folder / CONFIG_NAME)
        build_empty(lambda: cls(config), folder / CONFIG_NAME)
        return config

    @classmethod
    def verify(cls, folder: Path) -> dict[str, Any]:
        """Check the files in `folder` as `from_pretrained` does: config.json's content.

        Raises FileNotFoundError and WeightsError as `from_pretrained` does.
        """
        return cls._read(folder)[0]


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a safetensors file and its SHA-256, from one reading of it; nothing of it stays mapped.

    Raises WeightsError if it is not one.
    """
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return load(data), sha256
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); {_remedy(path)}") from error


def build_empty(build: Callable[[], Module], path: Path, tensors: int | None = None) -> Module:
    """The module that `build` makes from the config in `path`, on the meta device: without memory of its own.

    It may have about as many parameters as the file of weights has `tensors` (CONFIG_TENSORS where None), so
    that a config with millions of layers ends as soon as it has shown that it does not fit.

    Raises WeightsError where it has more, or no module can be built from such a config.
    """
    count, thread = 0, threading.get_ident()
    # Some are replaced while a network is built; what is missing or unknown by a few is named later.
    most = CONFIG_TENSORS if tensors is None else 2 * tensors + 100
    those = f"{most} tensors" if tensors is None else f"the file's {tensors} tensors"

    def number(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        if threading.get_ident() == thread:
            count += 1
            if count > most:
                raise WeightsError(f"{path}: the config asks for more than {those}")

    hook = register_module_parameter_registration_hook(number)
    try:
        with torch.device("meta"):
            return build()
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: no network can be built from this config: {error}") from error
    finally:
        hook.remove()


def check_tensors(path: Path, model: nn.Module, found: dict[str, Tensor]) -> None:
    """Raise WeightsError unless the tensors of the file `path` have the model's names and shapes."""
    expected = model.state_dict()
    _check_names(path, "tensors", set(expected), set(found))
    for key, tensor in sorted(found.items()):
        shape, wanted = tuple(tensor.shape), tuple(expected[key].shape)
        if shape != wanted:
            raise WeightsError(f"{path}: tensor {key} has shape {shape}, the config asks for {wanted}")


def assign(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Make the checked tensors the model's own, in the dtypes that it asks for; `tensors` is used up."""
    own = {
        # In memory that PyTorch allots: what a file's bytes hold need not be aligned.
        key: tensors.pop(key).to(value.dtype, copy=True)
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(own, strict=True, assign=True)


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
    description = read_json(path)
    required = {"class", "format_version", "sha256", "config"}
    _check_names(path, "fields", required, set(description))
    if description["class"] != cls.__name__:
        raise WeightsError(
            f"{path} holds a {description['class']}, but a {cls.__name__} was asked for; "
            "choose another folder or subfolder"
        )
    version = description["format_version"]
    while isinstance(version, int) and version in cls.migrations and isinstance(description["config"], dict):
        description["config"] = cls.migrations[version](description["config"])
        version += 1
    if version != cls.format_version:
        newer = isinstance(version, int) and version > cls.format_version
        remedy = "update mytalk" if newer else "download the model again, or export it with this version"
        raise WeightsError(
            f"{path} has format version {version!r:.60}; this mytalk reads version "
            f"{cls.format_version}: {remedy}"
        )
    return description


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a config file; WeightsError if it is none, or too large to be one."""
    if path.stat().st_size > CONFIG_BYTES:
        raise WeightsError(f"{path} is larger than {CONFIG_BYTES} bytes, which no config is")
    try:
        return read_object(path)
    except ValueError as error:
        raise WeightsError(f"{error}; {_remedy(path)}") from error


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


def _check_hash(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise WeightsError(
            f"{path} has sha256 {found[:16]}..., its {CONFIG_NAME} names {str(expected)[:16]}...: the file "
            f"is damaged or from another version; {_remedy(path)}"
        )


def _remedy(path: Path) -> str:
    """What to do about a damaged file: not the link to it in the Hub's cache, which would be renewed."""
    return f"delete {path.resolve()} and download or export the model again"


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


def _shorten(names: list[str]) -> str:
    """The first names of a list that may be long."""
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


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
