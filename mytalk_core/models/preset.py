"""Presets: all configs of a whole model by one name. Data, not code: one JSON file a preset."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..appearance.networks.discriminator import DiscriminatorConfig
from ..appearance.networks.generator import AppearanceConfig, AppearanceGenerator
from ..checkpoint.pretrained import PretrainedModel, build_config
from ..expert.sync_expert import ExpertConfig, SyncExpert
from ..motion.denoiser import MotionConfig, MotionDenoiser
from ..motion.identity import IdentityConfig, IdentityExtractor
from ..motion.space import LandmarkSpace, SpaceConfig

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class SamplingConfig:
    """What its work is counted for: sampling steps, and motion frames at once."""

    steps: int = 10
    window: int = 250


@dataclass(frozen=True)
class Preset:
    """A whole model's configs.

    appearance, discriminator: None where a renderer without a network draws the lips. people: classes of the
    identity extractor's training head, 0 where none is counted. sync: the expert that measures, None where
    the model brings none. published: component -> the size that a publication prints for it.
    """

    name: str
    description: str
    motion: MotionConfig
    space: SpaceConfig
    identity: IdentityConfig
    sampling: SamplingConfig = SamplingConfig()
    people: int = 0
    appearance: AppearanceConfig | None = None
    discriminator: DiscriminatorConfig | None = None
    sync: ExpertConfig | None = None
    published: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load(name: str) -> Preset:
        """The preset of that name.

        Raises:
            FileNotFoundError: no such preset; the message names those that exist.
            WeightsError: a config in it does not fit this version.
        """
        path = FOLDER / f"{name}.json"
        if name not in preset_names():
            raise FileNotFoundError(f"a preset is one of {', '.join(preset_names())}; got {name!r}")
        data = json.loads(path.read_text(encoding="utf-8"))
        configs = {
            "motion": MotionConfig,
            "space": SpaceConfig,
            "identity": IdentityConfig,
            "sampling": SamplingConfig,
            "appearance": AppearanceConfig,
            "discriminator": DiscriminatorConfig,
            "sync": ExpertConfig,
        }
        return Preset(**{key: _read(configs.get(key), value, path) for key, value in data.items()})

    @staticmethod
    def of_model(source: str | Path, revision: str | None = None) -> Preset:
        """The configs of saved weights; only their config.json files are read, or downloaded.

        Raises FileNotFoundError and WeightsError as `PretrainedModel.from_pretrained` does.
        """
        parts: dict[str, type[PretrainedModel]]
        parts = {"motion": MotionDenoiser, "space": LandmarkSpace, "identity": IdentityExtractor}
        configs = {name: cls.read_config(source, name, revision) for name, cls in parts.items()}
        # Without one, a renderer that needs no network draws this model's lips.
        with suppress(FileNotFoundError):
            configs["appearance"] = AppearanceGenerator.read_config(source, "appearance", revision)
        with suppress(FileNotFoundError):
            configs["sync"] = SyncExpert.read_config(source, "sync", revision)
        return Preset(str(source), f"weights of {source}", **configs)


def preset_names() -> tuple[str, ...]:
    """The presets there are."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def _read(config_class: type | None, value: Any, path: Path) -> Any:
    return value if config_class is None or value is None else build_config(config_class, value, path)
