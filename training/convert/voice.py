"""Silero's voice detector, as its package has it -> our safetensors.

    pip download silero-vad==6.2.3 --no-deps && unzip silero_vad-*.whl
    python -m mytalk_training.convert.voice silero_vad/data/silero_vad.jit -o FOLDER

The package and the weights are MIT (Silero Team).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.media.audio import MODEL_RATE_HZ
from mytalk_core.speech.voice import PIECE, VoiceDetector

# Theirs -> ours, of the network for 16 kHz.
NAMES = {
    "stft.forward_basis_buffer": "spectrum.weight",
    **{
        f"encoder.{i}.reparam_conv.{kind}": f"encoder.{i}.{kind}"
        for i in range(4)
        for kind in ("weight", "bias")
    },
    **{f"decoder.rnn.{kind}": f"lstm.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    "decoder.decoder.2.weight": "output.weight",
    "decoder.decoder.2.bias": "output.bias",
}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("source", type=Path, help="silero_vad.jit of the package")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of detector.safetensors")
    args = parser.parse_args()
    theirs = torch.jit.load(str(args.source))
    found = {name.removeprefix("_model."): value for name, value in theirs.state_dict().items()}
    tensors = {ours: found[name].clone() for name, ours in NAMES.items()}
    tensors["output.weight"] = tensors["output.weight"][..., 0].contiguous()
    detector = VoiceDetector().eval()
    detector.load_state_dict(tensors)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out / "detector.safetensors", metadata={"format": "pt"})
    noise = 0.1 * torch.randn(50 * PIECE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = torch.cat([theirs(piece[None], MODEL_RATE_HZ)[0] for piece in noise.split(PIECE)])
    apart = (expected - torch.from_numpy(detector.probabilities(noise.numpy()))).abs().max()
    print(f"{args.out}: on noise the converted weights are {apart.item():.1e} from the package's")


if __name__ == "__main__":
    main()
