"""Weights that travel: what is saved comes back, and whatever does not fit is refused by name."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mytalk_core.checkpoint import pretrained
from mytalk_core.checkpoint.pretrained import PretrainedModel, file_sha256, resolve_folder, resolve_whole
from mytalk_core.errors import WeightsError
from mytalk_core.speech.features import SpeechEncoder


@dataclass(frozen=True)
class SmallConfig:
    width: int = 3
    layers: tuple[int, ...] = (1, 2)
    name: str = "small"


class SmallModel(PretrainedModel):
    config_class = SmallConfig

    def __init__(self, config: SmallConfig):
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, 2)
        self.register_buffer("steps", torch.tensor(7))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    return SmallModel(SmallConfig()).save_pretrained(tmp_path / "model")


def edit_config(folder, **changes):
    path = folder / "config.json"
    description = json.loads(path.read_text())
    for key, value in changes.items():
        target = description["config"] if key in ("width", "layers", "name", "extra") else description
        if value is None:
            del target[key]
        else:
            target[key] = value
    path.write_text(json.dumps(description))


def rewrite_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    edit_config(folder, sha256=file_sha256(folder / "model.safetensors"))


def test_round_trip_is_exact(folder):
    first = SmallModel.from_pretrained(folder)
    torch.manual_seed(0)
    original = SmallModel(SmallConfig())
    assert first.config == SmallConfig()
    assert isinstance(first.config.layers, tuple)
    assert not first.training
    for key, value in original.state_dict().items():
        assert torch.equal(first.state_dict()[key], value)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_on_disk_any_dtype_in_memory(tmp_path):
    model = SmallModel(SmallConfig(width=400))
    small = model.save_pretrained(tmp_path / "half", dtype=torch.float16)
    large = model.save_pretrained(tmp_path / "full")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (small, large)]
    assert sizes[0] < 0.65 * sizes[1]
    assert load_file(small / "model.safetensors")["steps"].dtype == torch.int64
    back = SmallModel.from_pretrained(small)
    assert back.linear.weight.dtype == torch.float32
    torch.testing.assert_close(back.linear.weight, model.linear.weight, atol=1e-4, rtol=1e-3)
    assert SmallModel.from_pretrained(small, dtype=torch.bfloat16).linear.weight.dtype == torch.bfloat16


def test_saving_again_replaces_and_a_failure_leaves_the_old(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(pretrained, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        SmallModel(SmallConfig()).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    model = SmallModel(SmallConfig()).eval()
    model.save_pretrained(folder)
    assert torch.equal(SmallModel.from_pretrained(folder).linear.weight, model.linear.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": "OtherModel"}, "holds a OtherModel, but a SmallModel"),
        ({"format_version": 2}, r"format version 2; this mytalk reads version 1: update mytalk"),
        ({"format_version": 0}, r"format version 0; .* download the model again"),
        ({"sha256": "0" * 64}, "damaged or from another version"),
        ({"sha256": None}, "missing sha256"),
        ({"extra": 3}, "unknown extra"),
        ({"width": None}, "missing width"),
        ({"width": 4}, r"linear.weight has shape \(2, 3\), the config asks for \(2, 4\)"),
        ({"width": "wide"}, "config.json: width must be int; got 'wide'"),
    ],
)
def test_configs_that_do_not_fit_are_refused(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(WeightsError, match=message):
        SmallModel.from_pretrained(folder)


def test_tensors_that_do_not_fit_are_named(folder):
    rewrite_weights(folder, lambda tensors: tensors.update(surplus=torch.zeros(1)))
    with pytest.raises(WeightsError, match=r"model.safetensors: tensors .*unknown surplus"):
        SmallModel.from_pretrained(folder)
    rewrite_weights(folder, lambda tensors: (tensors.pop("surplus"), tensors.pop("linear.bias")))
    with pytest.raises(WeightsError, match=r"missing linear.bias"):
        SmallModel.from_pretrained(folder)


def test_one_changed_byte_is_noticed(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="sha256"):
        SmallModel.from_pretrained(folder)


def test_unreadable_files_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"\x00" * 20)
    edit_config(folder, sha256=file_sha256(folder / "model.safetensors"))
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        SmallModel.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="a JSON object was required, but it cannot be read"):
        SmallModel.from_pretrained(folder)


def test_missing_files_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors is missing"):
        SmallModel.from_pretrained(folder)
    with pytest.raises(FileNotFoundError, match="config.json is missing"):
        SmallModel.from_pretrained(folder, subfolder="motion")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "last.ckpt", "model.pt"])
def test_pickle_is_refused_with_the_reason(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(WeightsError, match=f"{name} is a pickle file, which can run any code"):
        SmallModel.from_pretrained(folder)
    with pytest.raises(WeightsError, match="pickle"):
        SmallModel.from_pretrained(folder / name)


def test_sources_are_resolved_in_order(folder, tmp_path, monkeypatch):
    bundled = tmp_path / "weights"
    SmallModel(SmallConfig(name="bundled")).save_pretrained(bundled / "mini" / "motion")
    monkeypatch.setattr(pretrained, "BUNDLED", bundled)
    monkeypatch.chdir(tmp_path)
    assert SmallModel.from_pretrained("mini", subfolder="motion").config.name == "bundled"
    # A folder of that name in the working directory wins, by its plain path.
    SmallModel(SmallConfig(name="mine")).save_pretrained(tmp_path / "mini" / "motion")
    assert SmallModel.from_pretrained("mini", subfolder="motion").config.name == "mine"
    assert resolve_folder("model") == (tmp_path / "model").relative_to(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no model 'maxi': give a bundled model \(mini\)"):
        SmallModel.from_pretrained("maxi")
    with pytest.raises(FileNotFoundError, match="no model"):
        SmallModel.from_pretrained("./some/where/else")


def test_a_revision_is_a_repository_s(folder):
    for source in (folder, str(folder), "mini"):
        with pytest.raises(ValueError, match=r"Hub repository was required with the revision 'v2'"):
            resolve_folder(source, revision="v2")
    with pytest.raises(ValueError, match="leave the revision out"):
        resolve_whole("mini", "v2")


def test_the_face_networks_are_no_model():
    with pytest.raises(FileNotFoundError, match=r"no model 'face': give a bundled model \(mini\)"):
        resolve_folder("face")


def test_the_bundled_speech_encoder_is_found():
    folder = resolve_folder("mini", "speech")
    assert (folder / "model.safetensors").is_file()


def test_loading_draws_nothing_at_random_and_keeps_what_init_decides(folder):
    state = torch.get_rng_state()
    model = SmallModel.from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.sha256 == file_sha256(folder / "model.safetensors")
    assert SmallModel(SmallConfig()).sha256 == ""

    class Frozen(SmallModel):
        def __init__(self, config):
            super().__init__(config)
            self.register_buffer("shift", torch.tensor([0.5, 2.0], device="cpu"), persistent=False)
            self.requires_grad_(False)

    edit_config(folder, **{"class": "Frozen"})
    frozen = Frozen.from_pretrained(folder)
    assert frozen.shift.tolist() == [0.5, 2.0]
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Names of the files that are opened as a `Path`."""
    names, real = [], Path.open

    def note(path, *args, **kwargs):
        names.append(path.name)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", note)
    monkeypatch.setattr("safetensors.safe_open", None)
    return names


def test_each_file_is_read_once(folder, opened):
    SmallModel.from_pretrained(folder)
    assert sorted(opened) == ["config.json", "model.safetensors"]
    opened.clear()
    encoder = SpeechEncoder.from_pretrained("mini")
    assert sorted(set(opened) & {"config.json", "model.safetensors"}) == ["config.json", "model.safetensors"]
    assert opened.count("config.json") == opened.count("model.safetensors") == 1
    assert encoder.sha256 == file_sha256(resolve_folder("mini", "speech") / "model.safetensors")


def test_a_loaded_model_does_not_depend_on_its_file(folder):
    model = SmallModel.from_pretrained(folder)
    before = model.linear.weight.clone()
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * 4000)
    assert torch.equal(model.linear.weight, before)


class DeepModel(SmallModel):
    def __init__(self, config: SmallConfig):
        super().__init__(config)
        self.stack = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(config.layers[0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [10_000_000]}, "config.json: the config asks for more than the file's 5 tensors"),
        ({"width": 1_000_000}, r"shape \(2, 3\), the config asks for \(2, 1000000\)"),
        ({"width": 10**18}, "config.json: no network can be built from this config"),
        ({"width": -1}, "config.json: no network can be built from this config"),
        ({"layers": []}, "config.json: no network can be built from this config"),
        ({"name": "x" * (1 << 20)}, "config.json is larger than 1048576 bytes"),
    ],
)
def test_hostile_sizes_are_refused_at_once(tmp_path, changes, message):
    folder = DeepModel(SmallConfig(layers=(1,))).save_pretrained(tmp_path / "deep")
    edit_config(folder, **changes)
    start = time.process_time()
    with pytest.raises(WeightsError, match=message):
        DeepModel.from_pretrained(folder)
    with pytest.raises(WeightsError, match=message):
        DeepModel.verify(folder)
    if "layers" in changes:
        with pytest.raises(WeightsError, match="asks for more than 4000 tensors|no network can be built"):
            DeepModel.read_config(folder)
    assert time.process_time() - start < 5
