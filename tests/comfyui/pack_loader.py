"""Loads the pack as ComfyUI does: the folder's `__init__.py`, under the folder's path as its module name."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).parent / "stand_in"


def load(folder: Path) -> ModuleType:
    """The pack's root module; ComfyUI's modules, or the stand-ins, must be on sys.path."""
    spec = importlib.util.spec_from_file_location(str(folder).replace(".", "_x_"), folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
