"""The pack as ComfyUI loads it, with stand-ins for ComfyUI's modules; and real servers where there are
some."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pack_loader import ROOT, STAND_IN, load


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The pack's root module, loaded from a folder with dashes under that folder's path, and
    `node_classes`."""
    folder = tmp_path_factory.mktemp("custom_nodes") / "ComfyUI-MyTalk"
    folder.symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, str(STAND_IN))
    module = load(folder)
    extension = asyncio.run(module.comfy_entrypoint())
    module.node_classes = asyncio.run(extension.get_node_list())
    yield module
    sys.path.remove(str(STAND_IN))
    for name in [name for name in sys.modules if name.startswith((module.__name__, "comfy"))]:
        del sys.modules[name]
    for name in ("folder_paths", "server", "aiohttp"):
        sys.modules.pop(name, None)


@pytest.fixture
def schemas(pack: ModuleType) -> dict:
    """Node id -> schema."""
    return {schema.node_id: schema for schema in (node.define_schema() for node in pack.node_classes)}


@pytest.fixture
def part(pack: ModuleType):
    """A module of the loaded pack by its dotted name below the root."""
    return lambda name: sys.modules[f"{pack.__name__}.{name}"]


@pytest.fixture
def folders(pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's input, output and temp folders, empty."""
    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys.modules["folder_paths"], "base", tmp_path)
    return tmp_path


@pytest.fixture
def examples_folder() -> Path:
    """The repository's own sample files."""
    return ROOT / "examples"


@pytest.fixture
def clip(part, examples_folder):
    """The first quarter of a second of the sample."""
    whole = part("mytalk_core.media.file_clip").FileClip.open(examples_folder / "ai_woman.mp4")
    return part("mytalk_core.media.arranged").part_of(whole, 0.0, 0.24)


@pytest.fixture
def tracked(part, clip):
    """Its face, as it travels between nodes."""
    return part("nodes.sockets").TrackedFace(clip, part("nodes.analyse").own_faces(clip).choose())
