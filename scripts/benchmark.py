"""Measures what the library costs, whether it keeps its word, and how it compares.

python scripts/benchmark.py pressure    ratios of work with and without it, in turns, in one process
python scripts/benchmark.py deploy      how small and fast deployment makes pruned networks
python scripts/benchmark.py faults      runs that are killed, cut off and torn, and started again
python scripts/benchmark.py battery     the default beside gradual pruning, on many small tasks
python scripts/benchmark.py claims      what L1 and L2 do to networks, claim by claim
python scripts/benchmark.py features    which columns matter, by us and by rivals: accuracy, cost
python scripts/benchmark.py frontier    accuracy at equal sparsity and training, rivals beside it
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

# A thread a core waits for the slowest: on a machine with other work, for that. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own chatter

import torch
from benchmarks import battery, claims, deploy, faults, features, frontier, pressure
from benchmarks.measure import Row


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; the exit status is 0 when all of it could be done."""
    options = read(arguments)
    status: int = options.run(options)
    return status


def measure(options: argparse.Namespace) -> int:
    """Print the table and write the result; 2 when the device is missing or a file not writable."""
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        print(f"benchmark.py: there is no device {options.device} here: {reason}", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    rows = []
    for row in options.measure(options, device):
        print(f"{row.work}: {figure(row)}", file=sys.stderr, flush=True)
        rows.append(row)
    print(table(rows))
    if options.output:
        result = {**circumstances(options, device), "rows": [as_dict(row) for row in rows]}
        try:
            options.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            print(f"benchmark.py: {error}", file=sys.stderr)
            return 2
    return 0


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure what the library costs and keeps.")
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    command = commands.add_parser("pressure", help="what pressure and masks cost a training step")
    command.set_defaults(command="pressure", measure=measure_pressure)
    add_arguments(command)
    command = commands.add_parser("deploy", help="how small and fast pruned networks get")
    command.add_argument(
        "--runs", type=Path, metavar="FOLDER", help="where runs were trained, as lenet66 in it"
    )
    command.set_defaults(command="deploy", measure=measure_deploy)
    add_arguments(command)
    command = commands.add_parser("faults", help="harm runs, start them again, compare the bytes")
    faults.add_arguments(command)
    command.set_defaults(run=faults.run)
    command = commands.add_parser("battery", help="the default beside gradual pruning")
    battery.add_arguments(command)
    command.set_defaults(run=battery.run)
    command = commands.add_parser("claims", help="what L1 and L2 do to networks, claim by claim")
    claims.add_arguments(command)
    command.set_defaults(run=claims.run)
    command = commands.add_parser("features", help="select columns, rivals beside it")
    features.add_arguments(command)
    command.set_defaults(run=features.run)
    command = commands.add_parser("frontier", help="train rivals alike, and compare the accuracy")
    frontier.add_arguments(command)
    command.set_defaults(run=frontier.run)
    return parser.parse_args(arguments)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of commands that measure and print a table."""
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    command.add_argument(
        "--rounds",
        type=frontier.count,
        default=21,
        help="how often all take their turn (default: 21)",
    )
    command.add_argument(
        "--threads", type=frontier.count, default=1, help="of the CPU, each a core's (default: 1)"
    )
    command.add_argument("--quick", action="store_true", help="see that it runs; figures are noise")
    command.add_argument("--output", type=Path, metavar="FILE", help="write the result as JSON")
    command.set_defaults(run=measure)


def measure_deploy(options: argparse.Namespace, device: torch.device) -> Any:
    rounds = 2 if options.quick else options.rounds
    return deploy.measure(deploy.Scale(device, rounds, options.runs, options.quick))


def measure_pressure(options: argparse.Namespace, device: torch.device) -> Any:
    if options.quick:
        return pressure.measure(pressure.Scale(device, weights=10_000, rounds=2, quick=True))
    return pressure.measure(pressure.Scale(device, rounds=options.rounds))


def circumstances(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    gpu = device.type == "cuda"
    return {
        "benchmark": options.command,
        "device": torch.cuda.get_device_name(device) if gpu else cpu(),
        "threads": options.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "quick": options.quick,
    }


def cpu() -> str:
    """The processor's name, or failing that its architecture."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def as_dict(row: Row) -> dict[str, Any]:
    return {**asdict(row), "verdict": row.verdict}


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| work | goal | measured | quartiles | |", "|---|---:|---:|---:|---|"]
    for row in rows:
        goal = f"{row.sign} {row.goal:g} {row.unit}"
        spread = "" if row.spread is None else f"{row.spread[0]:.3f}-{row.spread[1]:.3f}"
        lines.append(f"| {row.work} | {goal} | {figure(row)} | {spread} | {remark(row)} |")
    return "\n".join(lines).replace("Σ|w|", r"Σ\|w\|")


def remark(row: Row) -> str:
    return f"{row.verdict}: {row.note}" if row.note else row.verdict


def figure(row: Row) -> str:
    if row.measured is None:
        return "–"
    tiny = 0 < row.measured < 1e-3
    return f"{row.measured:.1e} {row.unit}" if tiny else f"{row.measured:.3f} {row.unit}"


if __name__ == "__main__":
    sys.exit(main())
