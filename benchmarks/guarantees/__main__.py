"""What is promised of every real file and every run, tried: one table of what is expected and what was seen.

    python benchmarks/guarantees -o benchmarks/results/guarantees.md
    python benchmarks/guarantees --quick

Cases: generated sources of every kind. Damage: mutated files of every kind that is read. Kills: runs ended by
signals at random moments, and runs beside each other. Ends with code 1 where anything is not as expected.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cases import CASES, QUICK, run_case
from damage import run_damage
from kills import SIGNALS, run_kills, run_together, supported
from trials import Result, Worker

PARTS = ("cases", "damage", "kills")
# Peak memory of a process that has tried everything, one after the other.
MEMORY_MB = 3000


def tried(args: argparse.Namespace, folder: Path, worker: Worker) -> Iterator[Result]:
    """All that was asked for."""
    if "cases" in args.parts:
        for number, case in enumerate(CASES):
            if (not args.quick or case.name in QUICK) and args.only in case.name:
                yield run_case(case, folder / f"case{number}", worker)
    if "damage" in args.parts:
        yield from run_damage(args.files, args.seed, folder / "damage", worker)
    if args.parts != ["kills"]:
        observed = f"{worker.peak_mb:.0f} MB, {worker.restarts} restarts"
        good = worker.peak_mb < MEMORY_MB and worker.restarts == 0
        yield Result("process", "all of these in one", f"under {MEMORY_MB} MB, 0 restarts", observed, good)
    if "kills" in args.parts and supported():
        names = ["KILL", "TERM"] if args.quick else list(SIGNALS)
        yield from run_kills(names, args.times, args.seed, folder / "kills")
        if not args.quick:
            yield from run_together(folder / "kills", args.at_once)


def table(results: list[Result], args: argparse.Namespace, seconds: float) -> str:
    """Markdown: a summary, the cases and runs line by line, of the damage what was not as expected."""
    wrong = [result for result in results if not result.ok]
    lines = [
        "# Guarantees",
        "",
        f"{datetime.date.today()}, {os.cpu_count()}-core CPU, {seconds / 60:.0f} minutes. "
        f"`python benchmarks/guarantees`, seed {args.seed}. {len(results)} trials, {len(wrong)} not as "
        "expected.",
        "",
        "| kind | trials | as expected | what was seen |",
        "|---|---|---|---|",
    ]
    for group in dict.fromkeys(result.group for result in results):
        of_group = [result for result in results if result.group == group]
        seen = count_words(of_group) if group not in ("case", "kill", "together", "process") else ""
        lines.append(f"| {group} | {len(of_group)} | {sum(r.ok for r in of_group)} | {seen} |")
    damaged = {"media", "model", "motion", "track", "manifest", "kept run"}
    listed = [result for result in results if result.group not in damaged or not result.ok]
    lines += ["", "| kind | what | expected | observed | |", "|---|---|---|---|---|"]
    for r in listed:
        cells = (r.group, r.name, r.expected, r.observed, "" if r.ok else "**NO**")
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def count_words(results: list[Result]) -> str:
    """How often each outcome was seen."""
    outcomes = [result.observed.split(",")[0].split(":")[0] for result in results]
    return ", ".join(f"{word} {outcomes.count(word)}" for word in sorted(set(outcomes)))


def main() -> int:
    """Try everything; 1 where something is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--files", type=int, default=500, help="how many mutated files")
    parser.add_argument("--times", type=int, default=10, help="how many moments a signal comes at")
    parser.add_argument("--at-once", type=int, default=8, help="how many runs beside each other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few of each, in under two minutes")
    parser.add_argument("-o", "--out", type=Path, help="the table")
    args = parser.parse_args()
    if args.quick:
        args.files, args.times = min(args.files, 24), 1
    began, results = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name, "home")
        home.mkdir()
        worker = Worker(home)
        try:
            for result in tried(args, Path(name), worker):
                # Where it was tried is nobody's matter.
                result = replace(result, observed=result.observed.replace(f"{name}/", ""))
                results.append(result)
                mark = "  " if result.ok else "NO"
                print(f"{mark} {result.group}: {result.name}: {result.observed}", flush=True)
                if args.out is not None:
                    args.out.write_text(table(results, args, time.perf_counter() - began), encoding="utf-8")
        finally:
            worker.close()
    text = table(results, args, time.perf_counter() - began)
    print(text.split("\n| kind | what")[0])
    return int(any(not result.ok for result in results))


if __name__ == "__main__":
    raise SystemExit(main())
