"""Which networks ComfyUI's memory manager lists on a card of little memory, stage by stage, and their sizes.

For each size and state of a card a fresh server runs "Lip sync a video" on a second of speech. The card is
simulated (`tests/comfyui/small_card.py`): the manager's own rules decide what is brought and what is pushed
out, while the arithmetic is the processor's. Run it with the server tests' folder on Python's path:

    PYTHONPATH=tests/comfyui python benchmarks/comfyui_card.py COMFYUI_DIR --python COMFYUI_PYTHON \
        -o benchmarks/results/comfyui_card.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
from pathlib import Path

from comfy_server import RESERVED_MB, ComfyServer
from pack_loader import ROOT

# MB of the card, and what the server's own flag for it sets.
CARDS = ((8192, "NORMAL_VRAM"), (1596, "LOW_VRAM"), (1596, "NO_VRAM"))


def run(comfyui: Path, card: tuple[int, str]) -> list[dict]:
    """What a server with that card notes while it makes a video: see `small_card`."""
    workflow = json.loads((ROOT / "workflows" / "api" / "Lip sync a video.json").read_text())
    for node in workflow.values():
        if node["class_type"] == "MyTalkLoadSpeech":
            node["inputs"]["duration_s"] = 1.0
        if node["class_type"] == "MyTalkAppearanceGenerate":
            node["inputs"]["renderer"] = "network"
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer.start(comfyui, Path(folder) / "base", card=card)
        try:
            server.run(workflow)
            return server.call("/card")
        finally:
            server.stop()


def rows(card: tuple[int, str], calls: list[dict]) -> list[str]:
    """Table rows: of each call that brought other networks than the one before."""
    lines, before = [], None
    for call in calls:
        if call == before:
            continue
        before = call
        asked, there = (
            ", ".join(f"{k} {v / 2**20:.1f}" for k, v in sizes.items())
            for sizes in (call["asked"], call["on_card"])
        )
        lines.append(f"| {card[0]} MB, {card[1]} | {asked} | {there} | {call['free'] / 2**20:.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comfyui", type=Path, help="folder of ComfyUI")
    parser.add_argument("--python", help="ComfyUI's Python; by default this one")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if args.python:
        os.environ["COMFYUI_PYTHON"] = args.python
    version = (args.comfyui / "comfyui_version.py").read_text().split('"')[-2]
    lines = [
        "# Networks on a card of little memory",
        "",
        f"{datetime.date.today()}, ComfyUI {version}, a simulated card, "
        f"`--reserve-vram {RESERVED_MB / 1024:g}`, renderer `network`, MB by "
        "the manager's own list whenever networks are brought. `python benchmarks/comfyui_card.py`",
        "",
        "| card | brought for the stage | on the card then | free |",
        "|---|---|---|---|",
        *(row for card in CARDS for row in rows(card, run(args.comfyui, card))),
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print(args.out.read_text())


if __name__ == "__main__":
    main()
