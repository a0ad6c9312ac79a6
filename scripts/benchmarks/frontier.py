"""This library beside its rivals: what each keeps of a network's accuracy, at equal training."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.standings import draw, standings, table, tried
from benchmarks.trials import TASKS, Plan, Task, contenders, contest, grid, train

PAGE, PICTURE = "frontier.md", "frontier.png"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py frontier`."""
    command.add_argument(
        "--tasks", type=tasks, default=tuple(TASKS.values()), help=f"of {','.join(TASKS)} (all)"
    )
    command.add_argument("--seeds", type=numbers, help="default: 0,1,2; to choose strengths 10,11")
    command.add_argument("--folder", type=Path, default=Path("multirun/frontier"), help="of runs")
    command.add_argument("--jobs", type=count, default=1, help="runs at once (default: 1)")
    command.add_argument("--docs", type=Path, help=f"write {PAGE} and {PICTURE} into this folder")
    command.add_argument("--mnist", type=existing, help="a folder with MNIST; else the Hub's")
    command.add_argument(
        "--tune", action="store_true", help="choose the rivals' strengths, on validation"
    )
    command.add_argument("options", nargs="*", help="of scripts/train.py, for all runs")


def tasks(text: str) -> tuple[Task, ...]:
    names = text.split(",")
    if unknown := [name for name in names if name not in TASKS]:
        raise argparse.ArgumentTypeError(f"no task {unknown[0]!r}; there are {', '.join(TASKS)}")
    return tuple(TASKS[name] for name in names)


def existing(text: str) -> Path:
    """What is there: a wrong name is told before the first run, and not after hours."""
    path = Path(text).expanduser()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"there is no {text}")
    return path


def count(text: str) -> int:
    """How many, ≥ 1: of what is done none of, nothing can be said."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"give a whole number from 1, not {text}")
    return int(text)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def run(options: argparse.Namespace) -> int:
    """Run what is missing, print the tables and write them; 1 when a run failed."""
    seeds = options.seeds or ((10, 11) if options.tune else (0, 1, 2))
    folder, mnist = options.folder.absolute(), options.mnist and options.mnist.absolute()
    plan = Plan(options.tasks, seeds, folder, options.jobs, tuple(options.options), mnist)
    if "pat" not in contenders():
        print("torchao's PAT is left out: torchao is not installed", file=sys.stderr)
    trials = list(grid(plan) if options.tune else contest(plan))
    failed = train(plan, trials)
    found = standings(plan, trials)
    for task in plan.tasks:
        text = tried(task, found) if options.tune else table(task, found)
        print(f"{text}\n")
        if options.docs:
            kind = "strengths" if options.tune else "results"
            put(options.docs / PAGE, f"{kind} of {task.name}", text)
    if options.docs and not options.tune:
        # Of all that is finished, not of these tasks alone: the page has the others' tables too.
        known = tuple(dict.fromkeys((*TASKS.values(), *plan.tasks)))
        every = replace(plan, tasks=known, seeds=tuple(sorted({*seeds, 0, 1, 2})))
        found = standings(every, list(contest(every)))
        shown = tuple(task for task in every.tasks if any(s.trial.task is task for s in found))
        draw(shown, found, options.docs / PICTURE)
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between two marks of a page; the rest of it is written by hand."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    if begin not in before:
        before += f"\n{begin}\n{end}\n"
    head, _, rest = before.partition(begin)
    tail = rest.partition(end)[2]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")
