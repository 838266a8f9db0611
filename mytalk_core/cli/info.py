"""`mytalk info`: what the two stages of the paper are made of in a model, without its weights."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ..arguments import DefaultsHelpFormatter
from ..collector import collector_paused


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    info = commands.add_parser(
        "info",
        help="parameters and floating-point operations of a model's motion and of the paper's generator",
        formatter_class=DefaultsHelpFormatter,
    )
    info.set_defaults(run=run)
    info.add_argument(
        "--model", default="mini", help="a preset (paper, mini), a folder of weights, or hub:OWNER/NAME"
    )
    info.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    info.add_argument("--json", action="store_true", help="as JSON, with every config")


def run(args: argparse.Namespace) -> None:
    """Print the table or the JSON; nothing of the model's size is allocated."""
    with collector_paused():
        from ..models.preset import Preset, preset_names
        from ..models.sizes import Component, Sizes, measure

    known = args.revision is None and args.model in preset_names()
    preset = Preset.load(args.model) if known else Preset.of_model(args.model, args.revision)
    sizes: Sizes = measure(preset)

    def row(part: Component) -> dict:
        return {**asdict(part), "agrees": part.agrees}

    if args.json:
        configs = {key: value for key, value in asdict(preset).items() if isinstance(value, dict)}
        del configs["published"]
        description = {
            "model": preset.name,
            "description": preset.description,
            "components": [row(part) for part in sizes.components],
            "total": row(sizes.total),
            "flops": sizes.flops,
            "configs": configs,
        }
        print(json.dumps(description, indent=2))
        return
    print(f"{preset.name}: {preset.description}\n")
    print(f"{'component':<34}{'parameters':>15}  published")
    for part in (*sizes.components, sizes.total):
        verdict = {None: "", True: "agrees", False: "differs"}[part.agrees]
        print(f"{part.name:<34}{part.parameters:>15,}  {part.published:<9}{verdict}")
    print(f"\n{'floating-point operations':<34}{'G':>15}")
    for name, count in sizes.flops.items():
        print(f"{name:<34}{count / 1e9:>15,.1f}")
