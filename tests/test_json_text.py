"""JSON that somebody else wrote is one line where it is odd; names in it stay in their folder."""

from __future__ import annotations

import json

import pytest

from mytalk_core.evaluation.benchmark.protocol import list_clips, open_record, read_manifest
from mytalk_core.evaluation.study.opinions import read_key
from mytalk_core.evaluation.study.site import KEY_FORMAT
from mytalk_core.files import plain_name
from mytalk_core.json_text import number_field, read_object, text_field
from mytalk_core.models.parts import read_sources

DEEP = "[" * 100_000 + "]" * 100_000
ODD = ["null", "[]", "[1]", "3", '"a"', "true", "{", "", DEEP, '{"a": ' + DEEP + "}", "\x00", "9" * 10_000]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_what_is_no_object(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"a.json: a JSON object was required") as caught:
        read_object(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    path.rename(tmp_path / "protocol.json")
    with pytest.raises(ValueError, match=r"is not readable .*: name another folder"):
        open_record(tmp_path, {})
    if text.strip():
        manifest = tmp_path / "manifest.jsonl"
        manifest.write_text(f"\n{text}\n")
        with pytest.raises(ValueError, match="line 2: a JSON object was required"):
            read_manifest(manifest, None)
        with pytest.raises(ValueError, match="line 2: a JSON object was required"):
            read_sources(manifest, ("train",))


def test_fields_of_another_type():
    for value in ([1], {"a": 1}, True):
        with pytest.raises(ValueError, match="here: id must be a text"):
            text_field({"id": value}, "id", "here")
    for value in ([1], "3", True, float("nan"), 1e300):
        with pytest.raises(ValueError, match="here: lag must be a number"):
            number_field({"lag": value}, "lag", "here")
    assert text_field({"id": 7}, "id", "") == "7" and text_field({"id": ""}, "id", "") is None


@pytest.mark.parametrize(
    "row", [{"file": 5}, {"file": ["a"]}, {"file": "a.mp4", "split": [1]}, {}, {"id": "a"}]
)
def test_rows_of_a_manifest(tmp_path, row):
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises((ValueError, FileNotFoundError), match=r"line 1|named in manifest.jsonl"):
        list_clips(tmp_path)


NAMES = ["../../evil", "/tmp/evil", "a/b", "..", ".", "", " ", ".hidden", "a\\b", "a\nb", "a\x00b", "x" * 250]


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_in_their_folder(tmp_path, name):
    with pytest.raises(ValueError, match=r"^here: a "):
        plain_name(name, "here")
    (tmp_path / "a.mp4").write_bytes(b"")
    if name:
        (tmp_path / "manifest.jsonl").write_text(json.dumps({"file": "a.mp4", "id": name}) + "\n")
        with pytest.raises(ValueError, match=r"manifest.jsonl, line 1, id: a "):
            list_clips(tmp_path)
    record = {"systems": {name: {}}, "pairs": {}, "left_out": {}}
    (tmp_path / "protocol.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"is not readable"):
        open_record(tmp_path, {})


@pytest.mark.parametrize("name", ["clip", "12:30 talk", "Zoë (2)", "a.b", "名前", "a" * 200])
def test_names_that_are_names(name):
    assert plain_name(name, "here") == name


@pytest.mark.parametrize(
    "key",
    [
        None,
        [],
        {"format": KEY_FORMAT},
        {"format": KEY_FORMAT, "study": "a", "title": "t", "videos": []},
        {"format": KEY_FORMAT, "study": "a", "title": "t", "videos": {"x.mp4": {"system": "a"}}},
        {"format": KEY_FORMAT, "study": 1, "title": "t", "videos": {}},
    ],
)
def test_keys_of_a_study_without_fields(tmp_path, key):
    (tmp_path / "site.key.json").write_text(json.dumps(key))
    with pytest.raises(ValueError, match="is not a study's key"):
        read_key(tmp_path / "site.key.json")


@pytest.mark.parametrize("part", ["systems", "pairs", "left_out"])
def test_records_without_fields(tmp_path, part):
    record = {"systems": {}, "pairs": {}, "left_out": {}}
    for odd in ([], 3, None):
        (tmp_path / "protocol.json").write_text(json.dumps(record | {part: odd}))
        with pytest.raises(ValueError, match="is not readable"):
            open_record(tmp_path, {})
