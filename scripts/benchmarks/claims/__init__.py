"""The study of claims about L1 and L2: what pressure does to networks, and on what it depends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.battery.data import Sources
from benchmarks.claims import cost
from benchmarks.claims.answers import Found, gains, looks
from benchmarks.claims.data import CONDITIONS
from benchmarks.claims.runs import KINDS, TASKS, Trial, trials
from benchmarks.claims.runs import run as train
from benchmarks.frontier import count, existing, numbers

USUAL = tuple(name for name in TASKS if name != "mnist5000")
"""The tasks that half an hour is enough for."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py claims`."""
    command.add_argument(
        "--only", type=names, default=USUAL, help=f"of {','.join(TASKS)} (all but mnist5000)"
    )
    command.add_argument(
        "--conditions",
        type=conditions,
        default=(*CONDITIONS,),
        help=f"of {','.join(CONDITIONS)} (all)",
    )
    command.add_argument(
        "--finished", action="store_true", help="run nothing, show what has been run"
    )
    command.add_argument(
        "--cost", action="store_true", help="train nothing, measure a step under each pressure"
    )
    command.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="default: 0,1,2")
    command.add_argument("--folder", type=Path, default=Path("multirun/claims"), help="of figures")
    command.add_argument("--jobs", type=count, default=1, help="runs at once (default: 1)")
    command.add_argument("--mnist", type=existing, help="a folder with MNIST; else the Hub's")


def names(text: str) -> tuple[str, ...]:
    """Tasks by name."""
    return _among(text, TASKS, "task")


def conditions(text: str) -> tuple[str, ...]:
    """Conditions by name."""
    return _among(text, CONDITIONS, "condition")


def _among(text: str, known: Iterable[str], what: str) -> tuple[str, ...]:
    given = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in given if name not in known]:
        raise argparse.ArgumentTypeError(f"no {what} {unknown[0]!r}; there are {', '.join(known)}")
    return given


def run(options: argparse.Namespace) -> int:
    """Run what is missing, seed by seed, and print the tables."""
    if options.cost:
        print(cost.table())
        return 0
    todo = [
        trial
        for seed in options.seeds
        for trial in trials(options.only, options.conditions, tuple(KINDS), seed)
    ]
    known = {trial: trial.figures(options.folder) for trial in todo}
    found: Found = {trial: figures for trial, figures in known.items() if figures is not None}
    print(f"{len(todo)} runs, {len(found)} finished already", file=sys.stderr)
    if not options.finished:
        found = dict(zip(todo, _run(todo, options), strict=True))
    for task in options.only:
        print(f"### `{task}`\n\n{gains(found, task)}\n\n{looks(found, task)}\n")
        if task in ("digits", "xor5"):
            print(f"{looks(found, task, 'noise')}\n")
    return 0


def _run(todo: Sequence[Trial], options: argparse.Namespace) -> Iterable[dict[str, Any]]:
    work = partial(train, folder=options.folder, sources=Sources(options.mnist))
    if options.jobs == 1:
        return [work(trial) for trial in todo]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        return [*pool.map(work, todo, chunksize=8)]
