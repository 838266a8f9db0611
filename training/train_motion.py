"""Train the speech-to-landmark diffusion model (paper section 3.3) on a folder that prepare.py wrote.

    accelerate launch -m training.train_motion DATASET -o RUN --identity IDENTITY_FOLDER

parse -> build -> step -> save. RUN gets checkpoint.pt (everything a resumed run needs), log.jsonl and, at
every save, model/motion and model/space: the moving average as `MotionDenoiser` and `LandmarkSpace`.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from mytalk_core.evaluation.syncnet import SyncExpert
from mytalk_core.motion.denoiser import CONDITIONING, MotionConfig, MotionDenoiser, drop_conditions
from mytalk_core.motion.diffusion import PROCESSES, GaussianDiffusion
from mytalk_core.motion.identity import IdentityExtractor, describe_person, identity_similarity
from mytalk_core.motion.person import identity_channels
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig
from mytalk_core.preset import Preset
from mytalk_core.speech.features import SpeechEncoder

from .ema import MovingAverage
from .motion_data import MotionBatch, MotionData, fit_space, hold_out, read_clip
from .motion_validation import validate


@dataclass
class State:
    """Everything that training changes, and what it needs beside.

    model: the denoiser as `SpokenDenoiser`, wrapped by Accelerate once that has prepared it.
    """

    model: nn.Module
    denoiser: MotionDenoiser
    average: MovingAverage
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    space: LandmarkSpace
    identity: IdentityExtractor
    weights: LossWeights
    diffusion: GaussianDiffusion
    sync: SyncExpert | None = None
    step: int = 0


class SpokenDenoiser(nn.Module):
    """Encoding of speech and denoising in one forward pass.

    DistributedDataParallel synchronises gradients of its own forward pass only.
    """

    def __init__(self, denoiser: MotionDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self,
        batch: MotionBatch,
        x_t: Tensor,
        t: Tensor,
        identity: Tensor,
        weights: LossWeights,
        generator: torch.Generator,
    ) -> Tensor:
        """Noisy x_t (B,F,D) at t (B,), identity (B,K,Di) -> x0 (B,F,D), conditions dropped at random."""
        speech = self.denoiser.encode_speech(batch.features, batch.valid)
        return self.denoiser(
            x_t,
            t,
            drop_conditions(speech, weights.drop_speech, generator),
            drop_conditions(batch.upper, weights.drop_identity, generator),
            drop_conditions(identity, weights.drop_identity, generator),
            batch.valid,
        )


@dataclass(frozen=True)
class LossWeights:
    """x0: eq. 4's first term is 1. velocity: on differences of frames; identity: eq. 4's second term; sync:
    the lip-sync expert's, where there is one."""

    velocity: float = 1.0
    identity: float = 1.0
    sync: float = 0.1
    drop_speech: float = 0.1
    drop_identity: float = 0.3


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument(
        "--identity", type=Path, required=True, help="folder of the trained IdentityExtractor"
    )
    parser.add_argument(
        "--preset", help="paper: all sizes are the preset's, --width and --layers are not read"
    )
    parser.add_argument(
        "--speech-encoder", help="bundled name, folder or hub:OWNER/NAME; by default the preset's, or mini"
    )
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--batch", type=int, default=32, help="windows a step, over all processes")
    parser.add_argument(
        "--frames", type=int, default=100, help="length of a window at 25 Hz (the paper: 250)"
    )
    parser.add_argument("--lr", type=float, default=4e-4, help="peak rate; inverse square root after warm-up")
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.15)
    parser.add_argument("--velocity-weight", type=float, default=1.0)
    parser.add_argument(
        "--identity-weight", type=float, default=1.0, help="0, 1 and 2 are the paper's Tab. 6"
    )
    parser.add_argument("--sync", type=Path, help="folder that train_sync wrote: adds its loss")
    parser.add_argument(
        "--process",
        default="diffusion",
        choices=[*PROCESSES],
        help="flow: rectified flow; regression: no noise, one pass, L1: the baseline",
    )
    parser.add_argument(
        "--conditioning",
        default="id-cross-attention",
        choices=CONDITIONING,
        help="how the denoiser is told of the person: the paper's Tab. 5",
    )
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def build(args: argparse.Namespace, accelerator: Accelerator) -> tuple[State, MotionData, list]:
    """Data, models, optimizer; resumed from RUN/checkpoint.pt if there is one."""
    set_seed(args.seed)
    preset = Preset.load(args.preset) if args.preset else None
    layout = preset.space.layout if preset else None
    clips = [read_clip(path, layout) for path in sorted(args.dataset.glob("*.safetensors"))]
    if not clips:
        raise FileNotFoundError(f"{args.dataset} has no prepared clips: run python -m training.prepare first")
    train, held = hold_out(clips)
    space = fit_space(train, preset.space if preset else SpaceConfig())
    own = preset is None or preset.motion.speech_encoder == "speech"
    source = args.speech_encoder or ("mini" if own else preset.motion.speech_encoder)
    encoder = SpeechEncoder.from_pretrained(source, layers=preset.motion.speech_layers if preset else None)
    data = MotionData(train, space, encoder, args.seed)
    identity = IdentityExtractor.from_pretrained(args.identity).requires_grad_(False)
    config = motion_config(args, space, encoder, identity)
    if preset is not None:
        config = preset_config(preset, config, "speech" if own else source)
    denoiser = MotionDenoiser(config).to(accelerator.device)
    denoiser.set_feature_statistics(*feature_statistics(data))
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    generator = torch.Generator().manual_seed(args.seed + 1000 * accelerator.process_index)
    weights = LossWeights(velocity=args.velocity_weight, identity=args.identity_weight)
    average = MovingAverage(denoiser, 0.999)
    state = State(
        SpokenDenoiser(denoiser),
        denoiser,
        average,
        optimizer,
        generator,
        space.to(accelerator.device),
        identity.to(accelerator.device),
        weights,
        PROCESSES[args.process](),
        open_expert(args.sync, space, encoder, accelerator),
    )
    load_checkpoint(state, args.out / "checkpoint.pt")
    return state, data, [(clip, encoder.encode(clip.speech, 2 * len(clip.displacement))) for clip in held]


def open_expert(
    folder: Path | None, space: LandmarkSpace, encoder: SpeechEncoder, accelerator: Accelerator
) -> SyncExpert | None:
    """The frozen lip-sync expert, if one is asked for.

    Raises ValueError if it reads other channels or speech features than the run has.
    """
    if folder is None:
        return None
    expert = SyncExpert.from_pretrained(folder, device=accelerator.device).requires_grad_(False)
    wanted = (space.config.lower, encoder.dim, encoder.layers)
    found = (expert.config.motion, expert.config.speech_width, expert.config.speech_layers)
    if wanted != found:
        raise ValueError(
            f"{folder}: the expert must read the run's motion channels, speech width and layers {wanted}; "
            f"it reads {found}: train it on the run's space and speech encoder"
        )
    theirs = LandmarkSpace.from_pretrained(folder / "space").lower_basis.to(space.lower_basis)
    if not torch.allclose(theirs, space.lower_basis, rtol=1e-2, atol=1e-5):
        raise ValueError(
            f"{folder}: the expert knows another landmark space than this data's; train it again on it"
        )
    return expert


def motion_config(
    args: argparse.Namespace, space: LandmarkSpace, encoder: SpeechEncoder, identity: IdentityExtractor
) -> MotionConfig:
    """The bundled model's sizes: the paper's classes with smaller numbers."""
    embedded = args.conditioning == "id-cross-attention"
    return MotionConfig(
        lower=space.config.lower,
        upper=space.config.upper,
        landmark_layout=space.config.layout,
        speech_encoder="speech",
        speech_width=encoder.dim,
        speech_layers=encoder.layers,
        audio_width=args.width,
        audio_layers=2,
        audio_heads=4,
        audio_ffn_width=4 * args.width,
        audio_kernel=13,
        width=args.width,
        layers=args.layers,
        heads=4,
        ffn_width=4 * args.width,
        kernel=9,
        time_width=2 * args.width,
        identity_width=identity.config.embedding if embedded else identity.config.channels,
        condition_mlp=0,
        conditioning=args.conditioning,
        predict_upper=False,
        dropout=args.dropout,
        process=args.process,
    )


def preset_config(preset: Preset, found: MotionConfig, speech_encoder: str) -> MotionConfig:
    """The preset's sizes with what the data decides; ValueError where the two cannot meet."""
    decided = ["lower", "upper", "landmark_layout", "speech_width", "speech_layers"]
    if found.conditioning == preset.motion.conditioning:
        decided.append("identity_width")
    wanted = {name: getattr(preset.motion, name) for name in decided}
    given = {name: getattr(found, name) for name in decided}
    if wanted != given:
        raise ValueError(f"preset {preset.name} needs {wanted}; data, encoder and identity give {given}")
    chosen = {name: getattr(found, name) for name in ("process", "conditioning", "identity_width")}
    return replace(preset.motion, speech_encoder=speech_encoder, **chosen)


def feature_statistics(data: MotionData) -> tuple[Tensor, Tensor]:
    """Mean and deviation (L,Ds) of the speech features."""
    rows = torch.cat([clip.features[::20].float() for clip in data.clips[::4]])
    return rows.mean(0), rows.std(0).clamp_min(1e-3)


def losses(state: State, batch: MotionBatch) -> dict[str, Tensor]:
    """The terms of eq. 4 and our velocity term, means over valid frames, and their weighted sum, `total`."""
    draw = state.generator
    t = state.diffusion.sample_t(len(batch.x0), draw).to(batch.x0.device)
    noise = torch.randn(batch.x0.shape, generator=draw).to(batch.x0)
    x_t = state.diffusion.q_sample(batch.x0, t, noise)
    target_id = state.identity(identity_channels(batch.rest))
    person = describe_person(state.denoiser.config.conditioning, state.identity, batch.rest)
    x0 = state.model(batch, x_t, t, person[:, None], state.weights, draw).float()
    importance = channel_importance(state.space)
    valid = batch.valid[..., None].float()
    count = valid.sum() * x0.shape[-1]
    penalty = state.diffusion.penalty
    terms = {"x0": (penalty(x0 - batch.x0) * importance * valid).sum() / count}
    pair = valid[:, 1:] * valid[:, :-1]
    speed = (x0 - batch.x0).diff(dim=1)
    terms["velocity"] = (penalty(speed) * importance * pair).sum() / count
    terms["identity"] = identity_loss(state, x0, batch, target_id, t)
    total = (
        terms["x0"] + state.weights.velocity * terms["velocity"] + state.weights.identity * terms["identity"]
    )
    if state.sync is not None:
        terms["sync"] = state.sync.loss(x0, batch.features, batch.valid)
        total = total + state.weights.sync * terms["sync"]
    return terms | {"total": total}


def channel_importance(space: LandmarkSpace) -> Tensor:
    """Weights (D,) of mean 1: nearly each channel's share in the landmarks' squared movement (eq. 4 is in
    landmarks), with a floor that keeps the small movements of the lips in."""
    share = space.lower_basis.square().mean(1)
    weights = (share / share.mean()).sqrt() + 0.2
    return weights / weights.mean()


def identity_loss(state: State, x0: Tensor, batch: MotionBatch, target_id: Tensor, t: Tensor) -> Tensor:
    """1 - cos(M(generated), M(reference)) on a frame a window, weighted by the signal at t (eq. 4)."""
    if state.weights.identity == 0:
        return x0.new_zeros(())
    frame = batch.valid.float().argmax(1)
    displacement = state.space.lower_displacement(x0[torch.arange(len(x0)), frame])[..., :2]
    points = torch.from_numpy(state.space.lower_points).to(x0.device)
    width = (batch.rest[:, 61] - batch.rest[:, 291]).norm(dim=-1)[:, None, None]
    shape = batch.rest.index_add(1, points, displacement * width)
    cosine = identity_similarity(state.identity(identity_channels(shape)), target_id)
    share = state.diffusion.alpha_sigma(t)[0].square().to(x0.dtype)
    return ((1 - cosine) * share).mean()


def step(state: State, batch: MotionBatch, accelerator: Accelerator, lr: float) -> dict[str, float]:
    """One optimizer step; the losses as numbers. Raises FloatingPointError on a loss that is not finite."""
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.model.train()
    with accelerator.autocast():
        terms = losses(state, batch)
    if not torch.isfinite(terms["total"]):
        raise FloatingPointError(f"step {state.step}: loss is {terms['total'].item()}; lower --lr")
    state.optimizer.zero_grad(set_to_none=True)
    accelerator.backward(terms["total"])
    accelerator.clip_grad_norm_(state.denoiser.parameters(), 1.0)
    state.optimizer.step()
    state.step += 1
    state.average.update(state.denoiser)
    return {key: value.item() for key, value in terms.items()}


def learning_rate(step_number: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then the inverse square root (the paper's schedule)."""
    return peak * min((step_number + 1) / warmup, math.sqrt(warmup / (step_number + 1)))


def save(state: State, args: argparse.Namespace) -> None:
    """Checkpoint, written aside and renamed, and the averaged model as it is loaded later."""
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = {
        "step": state.step,
        "denoiser": state.denoiser.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "dropout": torch.get_rng_state(),
    }
    temporary = args.out / "checkpoint.tmp"
    torch.save(checkpoint, temporary)
    temporary.replace(args.out / "checkpoint.pt")
    with state.average.applied(state.denoiser):
        state.denoiser.save_pretrained(args.out / "model" / "motion", torch.float16)
    state.space.save_pretrained(args.out / "model" / "space")


def load_checkpoint(state: State, path: Path) -> None:
    """Go on where a run stopped; nothing happens without a checkpoint."""
    if not path.exists():
        return
    checkpoint = torch.load(path, weights_only=True)
    state.step = checkpoint["step"]
    state.denoiser.load_state_dict(checkpoint["denoiser"])
    state.average.load_state_dict(checkpoint["average"])
    state.optimizer.load_state_dict(checkpoint["optimizer"])
    state.generator.set_state(checkpoint["generator"])
    torch.set_rng_state(checkpoint["dropout"])


def main() -> None:
    args = parse()
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="bf16")
    state, data, held = build(args, accelerator)
    state.model, state.optimizer = accelerator.prepare(state.model, state.optimizer)
    log = args.out / "log.jsonl"
    args.out.mkdir(parents=True, exist_ok=True)
    means: dict[str, float] = {}
    while state.step < args.steps:
        batch = data.draw(args.batch // accelerator.num_processes, args.frames, state.generator)
        batch = batch.to(accelerator.device)
        terms = step(state, batch, accelerator, learning_rate(state.step, args.lr, args.warmup))
        means = {k: 0.98 * means.get(k, v) + 0.02 * v for k, v in terms.items()}
        if state.step % 50 == 0 and accelerator.is_main_process:
            print(state.step, {k: round(v, 4) for k, v in means.items()}, flush=True)
        if (state.step % args.save_every == 0 or state.step == args.steps) and accelerator.is_main_process:
            save(state, args)
            with state.average.applied(state.denoiser):
                figures = validate(state.denoiser, state.space, state.identity, held)
            record = {"step": state.step, **means, **figures}
            with log.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(record, flush=True)


if __name__ == "__main__":
    main()
