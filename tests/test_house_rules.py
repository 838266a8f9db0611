"""The house's directions: who may import whom, and that importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

CORE = sorted((ROOT / "mytalk_core").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of absolute imports, anywhere in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_knows_neither_nodes_training_nor_comfy(path):
    assert not imported(path) & {"mytalk_core", "nodes", "training", "mytalk_training", "comfy", "comfy_api"}


def test_nodes_use_relative_imports_of_the_core():
    for path in [ROOT / "__init__.py", *(ROOT / "nodes").rglob("*.py")]:
        assert not imported(path) & {"mytalk_core", "nodes", "training"}, path


def test_importing_the_pipeline_reads_no_weights_and_touches_no_device():
    code = (
        "import builtins, sys, torch\n"
        "import mytalk_core.pipeline.stages, mytalk_core.cli.main\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert 'transformers' not in sys.modules, 'loaded where speech is encoded, not before'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_files_are_one_idea_long():
    long = {p.name: n for p in CORE if (n := len(p.read_text().splitlines())) > 400}
    assert not long
