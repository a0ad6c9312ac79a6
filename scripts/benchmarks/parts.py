"""Parts: a benchmark that can be measured in pieces, and taken up where it was left."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.frontier import count
from benchmarks.measure import Row
from benchmarks.results import Results, figure, in_page, table

Part = Callable[[], Iterator[Row]]
"""Measures some rows, one by one."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of commands that measure and print a table."""
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    command.add_argument(
        "--rounds", type=count, default=21, help="how often all take their turn (default: 21)"
    )
    command.add_argument(
        "--threads", type=count, default=1, help="of the CPU, each a core's (default: 1)"
    )
    command.add_argument("--quick", action="store_true", help="see that it runs; figures are noise")
    command.add_argument(
        "--only", metavar="PART,...", help="these parts; STEPS is all that begin with STEPS/"
    )
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="keep all rows as JSON, beside those it has"
    )
    command.add_argument(
        "--continue", dest="goes_on", action="store_true", help="only what FILE does not have yet"
    )
    command.add_argument("--page", type=Path, metavar="FILE", help="write the table into this page")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print the table and keep it; 2 when that cannot be."""
    try:
        device = _device(options.device)
        torch.set_num_threads(options.threads)
        parts: Mapping[str, Part] = options.parts(options, device)
        names = chosen(parts, options.only)
        results = Results(circumstances(options, device))
        if options.output:
            results = Results.taken_up(options.output, results.circumstances)
        for name in names:
            if not (options.goes_on and name in results.rows):
                results.rows[name] = [*told(parts[name]())]
                if options.output:  # after each: what was measured is not lost
                    results.write(options.output, parts)
        print(table(results.of(names)))
        if options.page:
            page = in_page(options.page.read_text("utf-8"), results.of(parts))
            options.page.write_text(page, "utf-8")
    except (OSError, ValueError) as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    return 0


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"there is no device {name} here: {reason}") from error
    return device


def chosen(parts: Iterable[str], only: str | None) -> list[str]:
    """The parts that are asked for, in their order; None: all.

    Raises:
        ValueError: there is none of a name.
    """
    known = [*parts]
    if only is None:
        return known
    asked = {name.strip() for name in only.split(",")}
    found = [one for one in known if not asked.isdisjoint((one, one.partition("/")[0]))]
    if missing := asked.difference(found, (one.partition("/")[0] for one in found)):
        raise ValueError(f"--only: no part {min(missing)!r}; there are {', '.join(known)}")
    return found


def told(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows, each of them shown as it comes."""
    for row in rows:
        print(f"{row.work}: {figure(row)}", file=sys.stderr, flush=True)
        yield row


def circumstances(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "benchmark": options.command,
        "device": name_of(device),
        "threads": options.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "quick": options.quick,
    }


def name_of(device: torch.device) -> str:
    """What a device is called; a processor, failing that, by its architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
