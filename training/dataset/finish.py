"""The last step of a preparation: who is who, the index, the report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mytalk_core.face.look import SFACE_COSINE
from mytalk_core.files import write_text

from .adapters import Source
from .identities import SHAPE_THRESHOLD, cluster
from .journal import Entry, all_entries
from .preparation_report import summarise, write_report
from .prepare_options import Settings
from .shards import INDEX_NAME, ShardDataset


def finish(output: Path, wanted: list[Source], settings: Settings) -> str:
    """Write index and report once every wanted source is finished; a line that says what there is.

    Several processes may do so at once: they write the same.
    """
    entries = all_entries(output)
    left = {source.key for source in wanted} - {entry.key for entry in entries}
    if left:
        return f"{len(wanted) - len(left)} of {len(wanted)} sources are done; other processes have the rest"
    rows = sorted((row for entry in entries for row in entry.samples), key=lambda row: row["key"])
    name_people(ShardDataset(output, rows), settings)
    write_text(output / INDEX_NAME, "".join(json.dumps(row) + "\n" for row in rows))
    report = summarise(entries, rows, asdict(settings), settings.layout)
    write_report(output, report)
    return _line(output, report, entries)


def name_people(dataset: ShardDataset, settings: Settings) -> None:
    """Give each sample without a label the name of its cluster: that of its first sample, by key."""
    unnamed = [row for row in dataset.samples if row["identity"] is None]
    if not unnamed:
        return
    embeddings = [dataset.tensors(row, "track.safetensors")["embedding"] for row in unnamed]
    threshold = settings.same_person
    if threshold is None:
        threshold = SFACE_COSINE if settings.face_recogniser else SHAPE_THRESHOLD
    first: dict[int, str] = {}
    for row, number in zip(unnamed, cluster(np.stack(embeddings), threshold), strict=True):
        row["identity"] = first.setdefault(int(number), f"person_{row['key']}")


def _line(output: Path, report: dict[str, Any], entries: list[Entry]) -> str:
    reasons = ", ".join(f"{count} {why}" for why, count in report["left_out"].items())
    return (
        f"{output}: {report['samples']} samples of {report['people']} people, {report['hours']:.2f} h, from "
        f"{len(entries)} sources" + (f"; left out: {reasons}" if reasons else "") + "; see report.md"
    )
