"""What ComfyUI is told of the nodes, and that the shared workflows fit it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pack_loader import ROOT, STAND_IN

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
IDS = {
    "MyTalkLoadModel",
    "MyTalkLoadSpeech",
    "MyTalkExtractLandmarks",
    "MyTalkIdentityEmbed",
    "MyTalkMotionDiffusionSampler",
    "MyTalkAppearanceGenerate",
    "MyTalkVideoCombine",
    "MyTalkLipSyncFolder",
    "MyTalkEditMotion",
    "MyTalkSaveMotion",
    "MyTalkLoadMotion",
    "MyTalkMetrics",
}
# ComfyUI's own nodes in the workflows: inputs and outputs on 0.8.0 and 0.33.0 alike.
CORE = {
    "LoadVideo": ({"file"}, ["VIDEO"]),
    "GetVideoComponents": ({"video"}, ["IMAGE", "AUDIO", "FLOAT"]),
    "ImageFromBatch": ({"image", "batch_index", "length"}, ["IMAGE"]),
    "ImageBlend": ({"image1", "image2", "blend_factor", "blend_mode"}, ["IMAGE"]),
    "ImageStitch": (
        {"image1", "image2", "direction", "match_image_size", "spacing_width", "spacing_color"},
        ["IMAGE"],
    ),
    "EmptyAudio": ({"duration", "sample_rate", "channels"}, ["AUDIO"]),
    "AudioConcat": ({"audio1", "audio2", "direction"}, ["AUDIO"]),
    "AudioMerge": ({"audio1", "audio2", "merge_method"}, ["AUDIO"]),
}
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def api_twin(path: Path) -> dict:
    return read(path.parent / "api" / path.name)


def test_released_ids_stay(schemas):
    assert set(schemas) == IDS


def test_every_socket_and_widget_is_explained(schemas):
    for schema in schemas.values():
        assert schema.category == "MyTalk" and schema.description
        for entry in [*schema.inputs, *schema.outputs]:
            assert entry.tooltip and len(entry.tooltip) >= 12, (schema.node_id, entry)


def test_help_and_both_languages_name_every_node_and_input(schemas):
    for node_id, schema in schemas.items():
        inputs = {entry.id for entry in schema.inputs}
        for page in (f"{node_id}.md", f"{node_id}/zh.md"):
            text = (ROOT / "web" / "docs" / page).read_text(encoding="utf-8")
            assert all(f"`{name}`" in text for name in inputs), page
        for language in ("en", "zh"):
            names = read(ROOT / "locales" / language / "nodeDefs.json")[node_id]
            assert set(names["inputs"]) == inputs, (language, node_id)
            assert len(names["outputs"]) == len(schema.outputs), (language, node_id)


def test_english_names_are_the_schemas_own(schemas):
    names = read(ROOT / "locales" / "en" / "nodeDefs.json")
    for node_id, schema in schemas.items():
        for entry in schema.inputs:
            assert names[node_id]["inputs"][entry.id]["tooltip"] == entry.tooltip, (node_id, entry.id)


def test_menus_offer_what_the_core_has(part, schemas):
    core = "mytalk_core"

    def menu(node_id: str, name: str) -> set[str]:
        return set(next(entry.options for entry in schemas[node_id].inputs if entry.id == name))

    assert menu("MyTalkAppearanceGenerate", "renderer") == set(part(f"{core}.appearance.renderers").RENDERERS)
    modes = set(part(f"{core}.media.timeline").SYNC_MODES)
    assert (
        menu("MyTalkMotionDiffusionSampler", "sync_mode") == menu("MyTalkVideoCombine", "sync_mode") == modes
    )
    samplers = set(part(f"{core}.motion.diffusion").SAMPLERS)
    assert menu("MyTalkMotionDiffusionSampler", "sampler") == samplers


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_api_workflow_fits_the_nodes(path, schemas):
    workflow = api_twin(path)
    for node_id, node in workflow.items():
        kind = node["class_type"]
        if kind in CORE:
            assert set(node["inputs"]) <= CORE[kind][0], kind
            continue
        known = {entry.id: entry for entry in schemas[kind].inputs}
        assert set(node["inputs"]) <= set(known), kind
        assert {name for name, entry in known.items() if not entry.optional} <= set(node["inputs"]), kind
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                assert linked_type(workflow, value, schemas) in known[name].io_type.split(","), (
                    node_id,
                    name,
                )
            elif known[name].io_type == "COMBO" and kind != "MyTalkLoadSpeech":
                assert value in known[name].options, (kind, name)


def linked_type(workflow: dict, link: list, schemas: dict) -> str:
    kind = workflow[link[0]]["class_type"]
    return CORE[kind][1][link[1]] if kind in CORE else schemas[kind].outputs[link[1]].io_type


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_page_workflow_is_its_api_twin(path, schemas):
    page, twin = read(path), api_twin(path)
    nodes = {str(node["id"]): node for node in page["nodes"] if node["type"] != "MarkdownNote"}
    assert {key: node["type"] for key, node in nodes.items()} == {
        key: node["class_type"] for key, node in twin.items()
    }
    links = {link[0]: [str(link[1]), link[2]] for link in page["links"]}
    for key, node in nodes.items():
        linked = {
            entry["name"]: links[entry["link"]] for entry in node["inputs"] if entry["link"] is not None
        }
        twin_links = {name: value for name, value in twin[key]["inputs"].items() if isinstance(value, list)}
        assert linked == twin_links, node["type"]
        if node["type"] in schemas:
            # Values go by position: a widget that is inserted and not appended breaks shared workflows here.
            assert {**widget_values(node, schemas[node["type"]]), **linked} == twin[key]["inputs"]


def widget_values(node: dict, schema: object) -> dict:
    values = iter(node["widgets_values"])
    named = {}
    for entry in sorted(schema.inputs, key=lambda entry: entry.optional):
        if entry.io_type in WIDGETS:
            named[entry.id] = next(values)
            if getattr(entry, "control_after_generate", None):
                next(values)
    return named


BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_is_one_node_over_ours(path, schemas):
    blueprint = read(path)
    [outer], [inner] = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    assert outer["type"] == inner["id"] and outer["title"] == inner["name"] == path.stem
    assert {"lip sync", "dub", "talking head"} <= set(blueprint["extra"]["BlueprintSearchAliases"])
    assert [entry["name"] for entry in outer["inputs"]] == [entry["name"] for entry in inner["inputs"]]
    nodes = {node["id"]: node for node in inner["nodes"]}
    for node in nodes.values():
        schema = schemas[node["type"]]
        assert [made["type"] for made in node["outputs"]] == [made.io_type for made in schema.outputs]
        # The oldest page finds a linked widget by its place among all of them.
        entries = sorted(schema.inputs, key=lambda entry: (entry.io_type in WIDGETS, entry.optional))
        assert [entry["name"] for entry in node["inputs"]] == [entry.id for entry in entries]
        needed = {entry.id for entry in entries if not entry.optional and entry.io_type not in WIDGETS}
        assert needed <= {entry["name"] for entry in node["inputs"] if entry["link"] is not None}
        assert len(widget_values(node, schema)) == sum(entry.io_type in WIDGETS for entry in entries)
    for link in inner["links"]:
        ends = (inner["inputs"], inner["outputs"])
        source = nodes[link["origin_id"]]["outputs"] if link["origin_id"] > 0 else ends[0]
        target = nodes[link["target_id"]]["inputs"] if link["target_id"] > 0 else ends[1]
        source_type = source[link["origin_slot"]]["type"]
        assert set(source_type.split(",")) <= set(target[link["target_slot"]]["type"].split(","))


def test_blueprint_folder_and_stages_ask_for_the_same(schemas, part):
    """What changes how somebody speaks is on the blueprint and on the folder's node as on the sampler."""
    sampler, folder = (
        {entry.id: entry for entry in schemas[node].inputs}
        for node in ("MyTalkMotionDiffusionSampler", "MyTalkLipSyncFolder")
    )
    speaking = {"steps", "guidance", "sampler", "temperature", "expression", "manner", "emotion_strength"}
    options = part("mytalk_core.motion.generate").MotionOptions()
    for name in speaking:
        assert sampler[name].default == folder[name].default == getattr(options, name)
    [inner] = read(BLUEPRINTS[0])["definitions"]["subgraphs"]
    outside = {entry["name"] for entry in inner["inputs"]}
    assert outside >= {"face", "sync_mode", "expression", "manner", "seed", "renderer", "model", "identity"}
    assert "emotion_strength" in outside and {"emotion", "emotion_strength"} <= set(folder)
    # Of the inputs that need a link only this one may stay open.
    assert {entry["name"] for entry in inner["inputs"] if entry.get("shape") == 7} == {"identity"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_has_a_thumbnail_a_note_and_sample_inputs(path):
    thumbnail = path.with_suffix(".jpg").read_bytes()
    assert thumbnail[:3] == b"\xff\xd8\xff" and len(thumbnail) < 60_000
    assert any(node["type"] == "MarkdownNote" for node in read(path)["nodes"])
    for node in api_twin(path).values():
        for name in ("file", "audio"):
            if isinstance(node["inputs"].get(name), str):
                assert (ROOT / "examples" / node["inputs"][name]).is_file()


def test_a_node_is_schema_convert_one_call_convert():
    for path in sorted((ROOT / "nodes").glob("*.py")):
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(item, ast.FunctionDef) and item.name == "execute":
                assert sum(isinstance(part, ast.stmt) for part in ast.walk(item)) <= 16, path


def run_fresh(code: str) -> dict:
    """Run code in a fresh process where `load()` loads the pack; what it prints, from JSON, and the log."""
    begin = "import asyncio, json, sys, functools, pack_loader\n"
    begin += "load = functools.partial(pack_loader.load, pack_loader.ROOT)\n"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (STAND_IN.parent, STAND_IN)))}
    output = subprocess.run(
        [sys.executable, "-c", begin + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=environment,
    )
    return json.loads(output.stdout) | {"log": output.stderr}


def test_importing_the_pack_loads_nothing():
    found = run_fresh(
        "before = set(sys.modules)\nload()\nprint(json.dumps({'new': sorted(set(sys.modules) - before)}))"
    )
    assert not {"torch", "cv2", "av", "transformers", "numpy"} & set(found["new"])
    assert not [name for name in found["new"] if "mytalk_core" in name]


def test_listing_the_nodes_touches_no_device_network_or_folder():
    found = run_fresh(
        "import comfy.model_management\n"
        "seen = []\n"
        "comfy.model_management.get_torch_device = lambda: seen.append('device')\n"
        "def note(event, details):\n"
        "    written = event == 'open' and isinstance(details[1], str) and set(details[1]) & set('wax+')\n"
        "    others = 'os.mkdir os.remove os.rename os.system socket.connect socket.getaddrinfo'\n"
        "    if written or event in [*others.split(), 'subprocess.Popen']:\n"
        "        seen.append(event + ' ' + str(details))\n"
        "import torch, av, cv2, transformers, huggingface_hub\n"
        "sys.dont_write_bytecode = True\n"
        "sys.addaudithook(note)\n"
        "nodes = asyncio.run(asyncio.run(load().comfy_entrypoint()).get_node_list())\n"
        "cuda = torch.cuda.is_initialized()\n"
        "print(json.dumps({'nodes': len(nodes), 'seen': seen, 'cuda': cuda}))"
    )
    assert found["nodes"] == len(IDS) and not found["cuda"]
    assert found["seen"] == []


def test_a_missing_package_is_said_by_nodes_in_place_of_ours():
    found = run_fresh(
        "sys.modules['cv2'] = None\n"
        "nodes = asyncio.run(asyncio.run(load().comfy_entrypoint()).get_node_list())\n"
        "schemas = [node.define_schema() for node in nodes]\n"
        "try:\n"
        "    nodes[0].execute(model='mini')\n"
        "except ModuleNotFoundError as error:\n"
        "    said = str(error)\n"
        "told = all(schema.is_output_node and 'cv2' in schema.description for schema in schemas)\n"
        "print(json.dumps({'ids': [schema.node_id for schema in schemas], 'said': said, 'told': told}))"
    )
    assert set(found["ids"]) == IDS and found["told"]
    assert "cv2" in found["said"] and "requirements.txt" in found["said"] and "cv2" in found["log"]


def test_a_module_of_our_own_that_is_missing_is_no_package():
    found = run_fresh(
        "pack = load()\n"
        "sys.modules[pack.__name__ + '.nodes.load'] = None\n"
        "try:\n"
        "    asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())\n"
        "    print(json.dumps({'raised': False}))\n"
        "except ModuleNotFoundError:\n"
        "    print(json.dumps({'raised': True}))"
    )
    assert found["raised"]


# Sockets and widgets as released: workflows hold links and values by position, so that only the end may grow.
RELEASED_OUTPUTS = ["track", "preview", "frames_without_face"]


def test_new_outputs_stand_at_the_end(schemas):
    names = [entry.display_name for entry in schemas["MyTalkExtractLandmarks"].outputs]
    assert names == [*RELEASED_OUTPUTS, "frame_rate"]


def test_newer_hosts_learn_what_people_search_for(part, monkeypatch):
    host = part("nodes.host")

    class Newer(host.io.Schema):
        def __init__(
            self,
            *,
            search_aliases: list,
            essentials_category: str,
            has_intermediate_output: bool,
            **settings: object,
        ) -> None:
            super().__init__(**settings)
            self.found = (search_aliases, essentials_category)
            self.told_again = has_intermediate_output

    class Float(host.io.Float.Input):
        def __init__(self, id: str, advanced: bool = False, **settings: object) -> None:
            super().__init__(id, **settings)
            self.advanced = advanced

    older = host.schema(node_id="a")
    assert not hasattr(older, "search_aliases") and host.rare(host.io.Float.Input, "x").id == "x"
    monkeypatch.setattr(host.io, "Schema", Newer)
    aliases, group = host.schema(node_id="a").found
    assert {"lip sync", "dub", "wav2lip", "talking head"} <= set(aliases) and group
    # What is no output node but says something says it to a page that was opened since, too.
    for module, node in (("analyse", "ExtractLandmarks"), ("animate", "MotionDiffusionSampler")):
        assert getattr(part(f"nodes.{module}"), node).define_schema().told_again
    assert part("nodes.render").AppearanceGenerate.define_schema().told_again
    assert not part("nodes.edit").EditMotion.define_schema().told_again
    assert host.rare(Float, "x", default=1.0).advanced


def test_speech_keeps_its_widgets_in_their_order(schemas):
    names = [entry.id for entry in schemas["MyTalkLoadSpeech"].inputs]
    assert names == ["audio", "start_s", "duration_s", "gain_db", "sound"]
    # All or none: the page lists what is optional behind what is required.
    assert all(entry.optional for entry in schemas["MyTalkLoadSpeech"].inputs)


def test_templates_have_names_that_a_creator_reads():
    for path in WORKFLOWS:
        assert " " in path.stem and "_" not in path.stem, path
        notes = [node["widgets_values"][0] for node in read(path)["nodes"] if node["type"] == "MarkdownNote"]
        for text in [*notes, *(group["title"] for group in read(path)["groups"])]:
            assert any("\u4e00" <= letter <= "\u9fff" for letter in text), text


def test_help_pages_fit_the_sidebar():
    for path in (ROOT / "web" / "docs").rglob("*.md"):
        assert "|---" not in path.read_text(encoding="utf-8"), path
