"""A battery of small tasks: whether the default loses to plain gradual pruning on any of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.battery.comparison import Figures, summary, table
from benchmarks.battery.data import Sources
from benchmarks.battery.runs import CONTENDERS, Trial
from benchmarks.battery.runs import run as train
from benchmarks.battery.tasks import FRESH, TASKS, TRAINED, UNSCALED
from benchmarks.frontier import count, existing, numbers

PARTS = {
    "Under Adam": (FRESH, ("dense", "gradual", "pressure", "order", "l1")),
    "Under SGD with momentum": (UNSCALED, ("dense", "gradual", "pressure", "order", "l1")),
    "From a trained network": (TRAINED, ("dense", "gradual", "l1", "finetune")),
}
"""By its heading: the tasks of a part, and who contends; the last is what is recommended."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py battery`."""
    command.add_argument("--only", type=names, default=(*TASKS,), help=f"of {','.join(TASKS)}")
    command.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="default: 0,1,2")
    command.add_argument("--contenders", type=contenders, default=(*CONTENDERS,), help="fewer")
    command.add_argument("--folder", type=Path, default=Path("multirun/battery"), help="of figures")
    command.add_argument("--jobs", type=count, default=1, help="runs at once (default: 1)")
    command.add_argument("--mnist", type=existing, help="a folder with MNIST; else the Hub's")
    command.add_argument("--text", type=existing, help="tiny Shakespeare; without it, a download")
    command.add_argument("--isolet", type=isolet, help="the folder of Isolet.mat; else left out")
    command.add_argument(
        "--part", default="test", choices=("train", "val", "test"), help="judged by (default: test)"
    )


def names(text: str) -> tuple[str, ...]:
    """Tasks by name."""
    given = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in given if name not in TASKS]:
        raise argparse.ArgumentTypeError(f"no task {unknown[0]!r}; there are {', '.join(TASKS)}")
    return given


def contenders(text: str) -> tuple[str, ...]:
    """Contenders by name, among them `gradual`, beside which the others are judged."""
    given = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in given if name not in CONTENDERS]:
        raise argparse.ArgumentTypeError(f"no contender {unknown[0]!r}: {', '.join(CONTENDERS)}")
    if "gradual" not in given:
        raise argparse.ArgumentTypeError("gradual is what the others are judged beside: name it")
    return given


def at_hand(names: Sequence[str], folder: Path | None) -> tuple[str, ...]:
    """Tasks whose data can be had; what is left out is said.

    >>> at_hand(["deep", "isolet"], None)
    ('deep',)
    """
    if "isolet" in names and folder is None:
        print("isolet is left out: give the folder of Isolet.mat as --isolet", file=sys.stderr)
        return tuple(name for name in names if name != "isolet")
    return tuple(names)


def isolet(text: str) -> Path:
    """A folder with Isolet.mat."""
    folder = existing(text)
    if not (folder / "Isolet.mat").is_file():
        raise argparse.ArgumentTypeError(f"there is no Isolet.mat in {text}")
    return folder


def run(options: argparse.Namespace) -> int:
    """Run what is missing, seed by seed, and print the tables."""
    only = at_hand(options.only, options.isolet)
    trials = [
        Trial(task.name, contender, seed)
        for seed in options.seeds
        for tasks, every in PARTS.values()
        for task, contender in product(tasks, every)
        if task.name in only and contender in options.contenders
    ]
    sources = Sources(options.mnist, options.text, options.isolet)
    figures = _figures(trials, _run(trials, options, sources), options.part)
    for heading, (tasks, every) in PARTS.items():
        shown = [task.name for task in tasks if task.name in only]
        there = tuple(one for one in every if one in options.contenders)
        if shown:
            pruned = tuple(one for one in there if one != "dense")
            print(f"### {heading}\n\n{table(figures, there, shown)}\n")
            print(f"{summary(figures, pruned, shown)}\n")
    return 0


def _run(
    trials: Sequence[Trial], options: argparse.Namespace, sources: Sources
) -> Iterable[dict[str, Any]]:
    work = partial(train, folder=options.folder, sources=sources)
    if options.jobs == 1:
        return _told(trials, map(work, trials))
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        return [*_told(trials, pool.map(work, trials))]


def _told(trials: Sequence[Trial], found: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for trial, one in zip(trials, found, strict=True):
        figure = f"{one['test']['figure']:.4g}, {one['weights']:,} weights left"
        print(f"{trial.task}, {trial.contender}, {trial.seed}: {figure}", file=sys.stderr)
        yield one


def _figures(trials: Sequence[Trial], found: Iterable[dict[str, Any]], part: str) -> Figures:
    return {
        (trial.task, trial.contender, trial.seed): one[part]["figure"]
        for trial, one in zip(trials, found, strict=True)
    }
