"""Measures what the library costs, whether it keeps its word, and how it compares.

python scripts/benchmark.py pressure    ratios of work with and without it, in turns, in one process
python scripts/benchmark.py deploy      how small and fast deployment makes pruned networks
python scripts/benchmark.py gpu         all that needs a GPU, in less than nine minutes
python scripts/benchmark.py faults      runs that are killed, cut off and torn, and started again
python scripts/benchmark.py battery     the default beside gradual pruning, on many small tasks
python scripts/benchmark.py claims      what L1 and L2 do to networks, claim by claim
python scripts/benchmark.py features    which columns matter, by us and by rivals: accuracy, cost
python scripts/benchmark.py frontier    accuracy at equal sparsity and training, rivals beside it
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

# A thread a core waits for the slowest: on a machine with other work, for that. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own chatter

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout need not be installed

import torch
from benchmarks import battery, claims, deploy, faults, features, frontier, gpu, parts, pressure
from benchmarks.parts import Part
from benchmarks.scale import Scale


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; the exit status is 0 when all of it could be done."""
    options = read(arguments)
    status: int = options.run(options)
    return status


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure what the library costs and keeps.")
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    command = commands.add_parser("pressure", help="what pressure, masks and cuts cost")
    command.set_defaults(command="pressure", parts=of_pressure)
    parts.add_arguments(command)
    command = commands.add_parser("deploy", help="how small and fast pruned networks get")
    command.add_argument(
        "--runs", type=Path, metavar="FOLDER", help="where runs were trained, as lenet66 in it"
    )
    command.set_defaults(command="deploy", parts=of_deploy)
    parts.add_arguments(command)
    command = commands.add_parser("gpu", help="all that needs a GPU, in less than nine minutes")
    gpu.add_arguments(command)
    command.set_defaults(run=gpu.run)
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


def of_deploy(options: argparse.Namespace, device: torch.device) -> Mapping[str, Part]:
    """The parts of `deploy`."""
    rounds = 2 if options.quick else options.rounds
    scale = deploy.RunScale(device, rounds, options.quick, options.runs)
    return {name: partial(part, scale) for name, part in deploy.PARTS.items()}


def of_pressure(options: argparse.Namespace, device: torch.device) -> Mapping[str, Part]:
    """The parts of `pressure`."""
    scale = Scale(device, 2 if options.quick else options.rounds, options.quick)
    known = pressure.ON_GPUS if device.type == "cuda" or options.quick else pressure.PARTS
    return {name: partial(part, scale) for name, part in known.items()}


if __name__ == "__main__":
    sys.exit(main())
