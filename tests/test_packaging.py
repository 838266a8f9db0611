"""What is installed: one version, one set of bounds, all packages and all their files."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import mytalk_core

if sys.version_info >= (3, 11):
    import tomllib
else:
    # pytest brings it.
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# ComfyUI's own requirements; the newest releases leave out torchaudio, which the nodes do without.
HOST = {"torch", "torchaudio", "numpy", "tqdm"}


def test_the_version_is_the_projects():
    assert mytalk_core.__version__ == PROJECT["project"]["version"]
    assert PROJECT["project"]["version"] not in Path(mytalk_core.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "beside, version", [('name = "other"\nversion = "9"\n', "2.5"), ("", "2.5"), (None, "unknown")]
)
def test_an_installed_copy_tells_its_own_version(tmp_path, beside, version):
    (tmp_path / "mytalk_core").mkdir()
    shutil.copy(mytalk_core.__file__, tmp_path / "mytalk_core")
    if beside:
        (tmp_path / "pyproject.toml").write_text(beside)
    if beside is not None:
        (tmp_path / "mytalk-2.5.dist-info").mkdir()
        (tmp_path / "mytalk-2.5.dist-info" / "METADATA").write_text("Name: mytalk\nVersion: 2.5\n")
    # -S: nothing else that is installed.
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import mytalk_core; print(mytalk_core.__version__)"
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path)]
    assert subprocess.check_output(command, text=True).strip() == version


def test_comfyui_gets_the_same_bounds():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = {line for line in lines if line and not line.startswith("#")}
    dependencies = set(PROJECT["project"]["dependencies"])
    assert {re.split(r"[<>=!~]", line)[0] for line in dependencies - asked} == HOST
    assert not asked - dependencies


def test_the_registry_s_page_has_what_its_rules_ask_for():
    """A name without ComfyUI in it, a square icon, a banner of 21:9, classifiers that it knows."""
    project, page = PROJECT["project"], PROJECT["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9._-]*", project["name"]) and "comfy" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"]) and project["description"]
    assert page["PublisherId"] and page["DisplayName"] and page["requires-comfyui"] == ">=0.8.0"
    sizes = {}
    for key in ("Icon", "Banner"):
        begin = project["urls"]["Repository"].replace("github.com", "raw.githubusercontent.com") + "/main/"
        assert page[key].startswith(begin)
        sizes[key] = Image.open(ROOT / page[key].removeprefix(begin)).size
    assert sizes["Icon"][0] == sizes["Icon"][1] <= 400
    assert sizes["Banner"][0] * 9 == sizes["Banner"][1] * 21
    kinds = ("Operating System :: ", "Environment :: GPU :: ")
    assert project["classifiers"] and all(entry.startswith(kinds) for entry in project["classifiers"])


def test_training_packages_are_installed_as_mytalk_training(monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    expected = {
        ".".join(
            ("mytalk_" + name if name == "training" else name, *path.parent.relative_to(ROOT / name).parts)
        )
        for name in ("mytalk_core", "training")
        for path in (ROOT / name).rglob("*.py")
    }
    assert set(given["packages"]) == expected
    assert given["package_dir"] == {"mytalk_training": "training"}


def test_every_file_of_the_core_is_in_the_wheel():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["mytalk_core"]
    core = ROOT / "mytalk_core"
    packed = {path for pattern in patterns for path in core.glob(pattern)}
    files = {path for path in core.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files <= packed


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_server_tests_say_what_they_need(tmp_path):
    def made(**variables: str) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if name != "COMFYUI_DIR"}
        command = ["make", "-s", "test-comfyui"]
        return subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True)

    skipped = made()
    assert skipped.returncode == 0 and "skipped: no ComfyUI to test on" in skipped.stdout
    assert "COMFYUI_DIR=FOLDER" in skipped.stdout and "COMFYUI_PYTHON=PYTHON" in skipped.stdout
    wrong = made(COMFYUI_DIR=str(tmp_path))
    assert wrong.returncode == 2 and "must be the folder of a ComfyUI, with its main.py" in wrong.stdout


def steps_of(text: str) -> set[tuple[str, ...]]:
    """The commands that a text writes into out/ by, without what runs them: options in the alphabet's order,
    no variables."""
    lines = re.findall(r"-o out/(?!run|teacher).*", text.replace("\\\n", " "))
    plain = (" ".join(re.sub(r"\$\(?[A-Z]+\)?", "", line).split()) for line in lines)
    options = (re.split(r" (?=--)", line) for line in plain)
    return {tuple(sorted(option for option in one if "--workers" not in option)) for one in options}


def test_make_trains_by_the_model_card_s_commands():
    card = steps_of((ROOT / "mytalk_core/weights/mini/MODEL_CARD.md").read_text(encoding="utf-8"))
    assert len(card) > 8 and card == steps_of((ROOT / "Makefile").read_text(encoding="utf-8"))
