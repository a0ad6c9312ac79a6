"""Feature selection where the truth, or what is left of the accuracy, is known; rivals beside it.

Each figure is a line of JSON in a file: stopped at any time, the command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.features import discoveries
from benchmarks.features.selectors import SELECTORS
from benchmarks.features.tasks import TASKS

RESULTS = Path("build/features.jsonl")
FIGURES = {
    "columns": "columns",
    "found": "found",
    "net": "net, %",
    "trees": "trees, %",
    "neighbours": "k-NN, %",
    "seconds": "CPU s",
}
"""What a table shows, and what it is called there."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tasks", nargs="+", default=[*TASKS], choices=[*TASKS], metavar="TASK")
    command.add_argument(
        "--selectors", nargs="+", default=[*SELECTORS], choices=[*SELECTORS], metavar="NAME"
    )
    command.add_argument("--seeds", nargs="+", type=int, help="instead of each task's own")
    command.add_argument("--data", type=Path, default=Path("data"), help="has isolet/ and mnist/")
    command.add_argument(
        "--discoveries",
        nargs="*",
        choices=[*discoveries.KINDS],
        metavar="KIND",
        help="instead: how many false ones are selected where a share of them is allowed, in "
        "tables of these kinds, or of all",
    )
    command.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")


def run(options: argparse.Namespace) -> int:
    """Measure what is not in the file yet, and print the table of all that is."""
    options.results.parent.mkdir(parents=True, exist_ok=True)
    if options.discoveries is not None:
        return run_discoveries(options)
    known = {(row["task"], row["selector"], row["seed"]) for row in rows(options.results)}
    for name in options.tasks:
        task = TASKS[name]
        for seed in options.seeds or task.seeds:
            wanted = [one for one in options.selectors if (name, one, seed) not in known]
            wanted = [one for one in wanted if one in task.selectors]
            if not wanted:
                continue
            try:
                data = task.data(seed, options.data)
            except (FileNotFoundError, ImportError) as error:
                print(f"{name}: left out, {error}", file=sys.stderr)
                break
            for one in wanted:
                found = SELECTORS[one](data, seed)
                if found is None:
                    print(f"{one}: left out, it is not installed", file=sys.stderr)
                    continue
                row = {"task": name, "selector": one, "seed": seed, **task.judge(data, found, seed)}
                write(row, options.results)
    print(table([*rows(options.results)]))
    return 0


def run_discoveries(options: argparse.Namespace) -> int:
    """Simulate what is not in the file yet, and print how many discoveries are false."""
    known = {(row["task"], row["selector"], row["seed"]) for row in rows(options.results)}
    for kind in options.discoveries or discoveries.KINDS:
        for seed in options.seeds or discoveries.SEEDS:
            for copies in discoveries.COPIES:
                if (f"discoveries_{kind}", copies, seed) not in known:
                    write(discoveries.run(kind, copies, seed), options.results)
    print(discoveries.table([*rows(options.results)]))
    return 0


def write(row: dict[str, Any], file: Path) -> None:
    print(json.dumps(row), file=sys.stderr, flush=True)
    with open(file, "a", encoding="utf-8") as opened:
        opened.write(json.dumps(row) + "\n")


def rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: means over seeds, with standard errors of accuracies; no figure, no column."""
    titles = {name: title for name, title in FIGURES.items() if any(name in row for row in found)}
    lines = [f"| task | selector | seeds | {' | '.join(titles.values())} |"]
    lines.append(f"|---|---|---:|{'---:|' * len(titles)}")
    for task in TASKS:
        for selector in SELECTORS:
            some = [r for r in found if (r["task"], r["selector"]) == (task, selector)]
            if not some:
                continue
            cells = [figure(some, name) for name in titles]
            lines.append(f"| {task} | {selector} | {len(some)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(some: list[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in some if row.get(name) is not None]
    if not values:
        return ""
    if name in ("net", "trees", "neighbours"):
        error = f" ± {stdev(values) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
        return f"{mean(values):.1f}{error}"
    spread = f" ({min(values):g}-{max(values):g})" if name in ("columns", "found") else ""
    return f"{mean(values):.1f}{spread if min(values) < max(values) else ''}"
