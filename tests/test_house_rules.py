"""The house's directions, read from the source: who may import whom, and that importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from repository import ROOT

# From the bottom up: a room imports from itself and from those before it.
BOTTOM = (
    "errors",
    "limits",
    "memory",
    "collector",
    "files",
    "json_text",
    "tensor_files",
    "program",
    "arguments",
    "progress",
)
ROOMS = ("checkpoint", "media", "face", "speech", "motion", "appearance", "expert", "pipeline", "models")
TOP = ("evaluation", "cli", "__main__")
FLOOR = dict.fromkeys(BOTTOM, 0) | {room: floor for floor, room in enumerate((*ROOMS, *TOP), 1)}
SOURCES = {
    folder: sorted((ROOT / folder).rglob("*.py"))
    for folder in ("mytalk_core", "nodes", "training", "benchmarks")
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
CORE = [path.relative_to(ROOT) for path in SOURCES["mytalk_core"]]


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Level (dots) and dotted name of everything that a file imports, inside functions and for types too."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}." if node.module else ""
            found += [(node.level, f"{module}{alias.name}") for alias in node.names]
    return tuple(found)


def top_names(path: Path) -> set[str]:
    """Top-level names of a file's absolute imports."""
    return {name.split(".")[0] for level, name in imports(path) if level == 0}


def modules_read(path: Path) -> set[str]:
    """Dotted names of the core's modules that one of its files imports; the core's own is left out: it holds
    no more than the version."""
    found = set()
    for level, name in imports(path):
        if level:
            parts = [*path.parts[:-level], *name.split(".")]
            while not _is_module(parts):
                parts.pop()
            found.add(".".join(parts))
    return found - {"mytalk_core"}


def _is_module(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room(parts: list[str] | tuple[str, ...]) -> str | None:
    """The core's room of a module, None for the core itself."""
    return Path(parts[1]).stem if len(parts) > 1 and parts[1] != "__init__.py" else None


@pytest.mark.parametrize("path", CORE, ids=str)
def test_core_knows_neither_nodes_training_nor_comfy(path):
    assert not top_names(path) & {"mytalk_core", "nodes", "training", "mytalk_training", "comfy", "comfy_api"}


@pytest.mark.parametrize("path", CORE, ids=str)
def test_core_imports_only_downwards(path):
    own = room(path.parts)
    if own is None:
        return
    read = {room(module.split(".")) for module in modules_read(path)} - {None}
    assert read <= FLOOR.keys(), "a room that the house's order does not know"
    climbs = {other for other in read if other != own and FLOOR[other] >= max(FLOOR[own], 1)}
    assert not climbs, f"{path} is in {own} and reads {climbs}"


def test_no_two_modules_of_the_core_import_each_other():
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in CORE}
    read = {name: modules_read(path) - {name} for name, path in names.items()}
    assert not circle(read)


def test_no_two_folders_of_a_room_import_each_other():
    read: dict[str, set[str]] = {}
    for path in CORE:
        own = ".".join(path.parts[:3])
        if len(path.parts) > 3:
            others = {".".join(module.split(".")[:3]) for module in modules_read(path)}
            read.setdefault(own, set()).update(others - {own})
    assert len(read) > 5
    assert not circle(read)


def circle(read: dict[str, set[str]]) -> set[str]:
    """Those of some names that read each other in a circle, or what is in one."""
    left = dict(read)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return set(left)


def test_the_pack_uses_relative_imports_of_the_core():
    for path in [Path("__init__.py"), *(path.relative_to(ROOT) for path in SOURCES["nodes"])]:
        assert not top_names(path) & {"mytalk_core", "nodes", "training", "mytalk_training"}, path


def test_programs_import_the_core_absolutely():
    for folder in ("training", "benchmarks"):
        for path in SOURCES[folder]:
            name = path.relative_to(ROOT)
            assert not top_names(name) & {"nodes", "training"}, name
            depth = len(name.parts) - 1
            assert all(level <= depth for level, _ in imports(name)), f"{name} climbs out of {folder}"


def test_file_names_say_what_is_in_them():
    vague = [path for paths in SOURCES.values() for path in paths if path.stem in VAGUE]
    assert not vague


def test_importing_the_pipeline_reads_no_weights_and_touches_no_device():
    code = (
        "import builtins, sys, torch\n"
        "import mytalk_core.pipeline.stages, mytalk_core.cli.main\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert 'transformers' not in sys.modules, 'loaded where speech is encoded, not before'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_each_stage_stands_once():
    """What tracks, speaks, draws and writes is called by one function each, and all else calls that one."""
    allowed = {
        "track_faces": {"mytalk_core/pipeline/stages.py"},
        "generate_motion": {"mytalk_core/pipeline/stages.py"},
        # `lip_sync` makes one before the work, to hear what cannot be written, and writes nothing with it.
        "VideoWriter": {"mytalk_core/pipeline/write.py", "mytalk_core/pipeline/lip_sync.py"},
        # The benchmarks of renderers take single frames without their neighbourhood, what cuts mouths takes
        # open ones only, and what teaches of covers draws nothing, which no stage does.
        "read_references": {
            "mytalk_core/pipeline/stages.py",
            "benchmarks/closed_mouths.py",
            "benchmarks/reconstruction.py",
            "benchmarks/seams.py",
            "training/covers/prepare.py",
            "training/refiner/cut_interiors.py",
        },
    }
    found: dict[str, set[str]] = {name: set() for name in allowed}
    for path in (path for paths in SOURCES.values() for path in paths):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in allowed:
                found[node.func.id].add(path.relative_to(ROOT).as_posix())
    assert found == allowed
