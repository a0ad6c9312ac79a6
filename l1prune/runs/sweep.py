"""A sweep: many jobs by one command, each of which fails alone, and all compared at the end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from l1prune.runs.frontier import draw, table
from l1prune.runs.page import render
from l1prune.runs.points import find_runs, read_points
from l1prune.runs.wandb import abandon

FAILURE = "error.txt"
PICTURE, PAGE = "frontier.png", "compare.html"


class Refusal(SystemExit):
    """Wrong input: ends the program with its message alone, but of a sweep only the one job."""


def job(task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Let a task fail alone when it is one of a sweep's jobs.

    What went wrong is shown, and written to `error.txt` in the job's directory, where `Comparison`
    finds it; whichever launcher runs the jobs, the others go on. A single run is left as it is,
    and whoever stops a sweep (Ctrl-C) stops all of it.

    Args:
        task: what `hydra.main` is to run.
    """

    @wraps(task)
    def attempt(config: DictConfig) -> None:
        note = Path(HydraConfig.get().runtime.output_dir) / FAILURE
        note.unlink(missing_ok=True)
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            return task(config)
        try:
            task(config)
        except (Exception, Refusal) as error:
            abandon()
            note.write_text(_in_words(error))
            print(f"\n{note.read_text()}", file=sys.stderr)

    return attempt


def _in_words(error: BaseException) -> str:
    """The error in a paragraph, and in another, unless it explains itself, where it came from."""
    if isinstance(error, Refusal):
        return f"{error}\n"
    what = "".join(traceback.format_exception_only(error)).strip()
    return f"{what}\n\n{''.join(traceback.format_exception(error))}"


class Comparison(Callback):
    """Ends a sweep with the comparison of its runs; then names the jobs that failed.

    Hydra calls it, as `hydra.callbacks` says.
    """

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        conclude(Path(config.hydra.sweep.dir))


def conclude(folder: Path) -> None:
    """Compare the runs in a folder: print the table, leave the picture and the page beside them.

    Args:
        folder: the sweep's own, with a directory for each job.

    Raises:
        SystemExit: jobs failed; the message says which, and why.
    """
    points, problems = read_points(find_runs([folder]))
    for problem in problems:
        print(f"skipped {problem}", file=sys.stderr)
    if points:
        draw(points, folder / PICTURE)
        (folder / PAGE).write_text(render(points), encoding="utf-8")
        print(f"\n{table(points)}\n\n{folder} has {PICTURE} and {PAGE}, to look around in.")
    failures = sorted(folder.rglob(FAILURE), key=lambda file: (len(file.parts), *_number(file)))
    if failures:
        lines = [f"  {file.parent}: {_described(file)}" for file in failures]
        jobs = len(points) + len(problems) + len(failures)
        raise SystemExit("\n".join([f"\n{len(failures)} of {jobs} jobs failed:", *lines]))


def _number(file: Path) -> tuple[int, str]:
    name = file.parent.name
    return (int(name) if name.isdigit() else 0, name)


def _described(failure: Path) -> str:
    """What a job was to do, and the first paragraph of why it did not."""
    why = failure.read_text().partition("\n\n")[0].strip()
    try:
        overrides = yaml.safe_load((failure.parent / ".hydra" / "overrides.yaml").read_bytes())
    except OSError:
        overrides = []
    return f"{' '.join(overrides)}\n    {why}"
