"""A sweep: many jobs by one command, each of which fails alone, and all compared at the end."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from l1prune.checks import needing
from l1prune.runs.escapes import LINE, printable, show
from l1prune.runs.files import find, read_bytes, read_yaml
from l1prune.runs.folder import is_first
from l1prune.runs.overrides import for_jobs, options_first, spelled_out
from l1prune.runs.page import render
from l1prune.runs.picture import draw
from l1prune.runs.points import Point, find_runs, read_points
from l1prune.runs.tables import table
from l1prune.runs.wandb import abandon

FAILURE = "error.txt"
PICTURE, PAGE = "frontier.png", "compare.html"
UNENDED = "The job has not ended: it was killed, or it is still running."


class Refusal(SystemExit):
    """Wrong input: ends the program with its message alone, but of a sweep only the one job."""


def job(task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Let a task fail alone when it is one of a sweep's jobs.

    What went wrong is shown, and written to `error.txt` in the job's directory, where `Comparison`
    finds it; whichever launcher runs the jobs, the others go on. The file is there from the start,
    so that a job that is killed has left it as well. A single run is left as it is, and whoever
    stops a sweep (Ctrl-C) stops all of it.

    Args:
        task: what `hydra.main` is to run.
    """

    @wraps(task)
    def attempt(config: DictConfig) -> None:
        if not is_first():
            return task(config)  # of the processes that train together, one takes notes
        note = Path(HydraConfig.get().runtime.output_dir) / FAILURE
        note.unlink(missing_ok=True)
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            return task(config)
        _write(note, UNENDED)
        if multiprocessing.parent_process() is None or not hasattr(os, "fork"):
            _attempt(task, config, note)
        else:
            _attempt_apart(task, config, note)

    return attempt


def _attempt(task: Callable[[DictConfig], None], config: DictConfig, note: Path) -> None:
    try:
        task(config)
    except (Exception, Refusal) as error:
        abandon()
        _write(note, _in_words(error))
        show(f"\n{_in_words(error)}", sys.stderr)
    else:
        note.unlink(missing_ok=True)


def _attempt_apart(task: Callable[[DictConfig], None], config: DictConfig, note: Path) -> None:
    """Attempt it in a process below that of a worker, which does not die of what kills the job.

    A launcher that loses a worker, as joblib does when memory runs out, gives up all its jobs.
    """
    child = multiprocessing.get_context("fork").Process(
        target=_attempt_while_wanted, args=(task, config, note)
    )
    child.start()
    child.join()
    if child.exitcode and child.exitcode < 0:
        _write(note, f"The job was killed by {signal_name(-child.exitcode)}.")


def _attempt_while_wanted(
    task: Callable[[DictConfig], None], config: DictConfig, note: Path
) -> None:
    def follow() -> None:
        if (worker := multiprocessing.parent_process()) is not None:
            worker.join()
            os._exit(1)  # nobody waits for the job any more

    threading.Thread(target=follow, daemon=True).start()
    _attempt(task, config, note)


def signal_name(number: int) -> str:
    """What a signal is called; some have a number alone.

    >>> signal_name(9), signal_name(40)
    ('SIGKILL', 'signal 40')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _in_words(error: BaseException) -> str:
    """The error in a paragraph, and in another, unless it explains itself, where it came from."""
    if isinstance(error, Refusal):
        return f"{error}\n"
    what = "".join(traceback.format_exception_only(error)).strip()
    return f"{what}\n\n{''.join(traceback.format_exception(error))}"


def _write(note: Path, text: str) -> None:
    note.write_text(text, encoding="utf-8", errors="backslashreplace")


class Comparison(Callback):
    """Ends a sweep with the comparison of its runs; then names the jobs that failed.

    Hydra calls it, as `hydra.callbacks` says.

    Attributes:
        unended: the folder of the sweep that this process has begun and not yet ended.
    """

    unended: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        Comparison.unended = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        Comparison.unended = None
        conclude(Path(config.hydra.sweep.dir))


def command(conf: Path) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Let a command line say things in short, and a sweep set values of what it chooses.

    A sweep ends with the comparison of its runs.

    It does so too if its launcher gave up, as joblib does when a worker of its own is killed; Hydra
    does not call `Comparison` then.

    Args:
        conf: the folder of the configuration; what is decorated is made by `hydra.main`.
    """

    def decorate(main: Callable[[], None]) -> Callable[[], None]:
        @wraps(main)
        def run() -> None:
            sys.argv[1:] = options_first(for_jobs(spelled_out(sys.argv[1:]), conf))
            check_launcher(sys.argv[1:])
            try:
                main()
            except (Exception, SystemExit):
                folder, Comparison.unended = Comparison.unended, None
                if folder is not None and find(folder, FAILURE):
                    show("\nThe sweep was given up; jobs not begun are missing.", sys.stderr)
                    conclude(folder)
                raise

        return run

    return decorate


LAUNCHERS = {"joblib": "joblib", "slurm": "submitit", "submitit": "submitit"}
"""By how the name of a launcher begins, the extra that brings it."""


def check_launcher(arguments: Sequence[str]) -> None:
    """End the program with the name of the extra, where a launcher is asked for that is missing.

    >>> check_launcher(["-m", "seed=0,1", "hydra/launcher=basic"])
    """
    for argument in arguments:
        name, _, launcher = argument.partition("=")
        extra = LAUNCHERS.get(launcher.partition("_")[0])
        if name != "hydra/launcher" or extra is None:
            continue
        try:
            with needing(extra, argument):
                importlib.import_module(f"hydra_plugins.hydra_{extra}_launcher")
        except ImportError as error:
            raise SystemExit(str(error)) from None


def conclude(folder: Path) -> None:
    """Compare the runs in a folder: print the table, leave the picture and the page beside them.

    Args:
        folder: the sweep's own, with a directory for each job.

    Raises:
        SystemExit: jobs failed; the message says which, and why.
    """
    runs = find_runs([folder])
    points, problems = read_points(runs)
    for problem in [*problems, *(file for point in points for file in point.unread)]:
        show(f"skipped {printable(problem, LINE)}", sys.stderr)
    if points:
        left = [name for name in (PICTURE, PAGE) if _left(points, folder / name)]
        has = f"\n\n{folder} has {' and '.join(left)}, to look around in." if left else ""
        show(f"\n{table(points)}{has}")
    failures = sorted(find(folder, FAILURE), key=lambda file: (len(file.parts), *_number(file)))
    if failures:
        lines = [f"  {printable(file.parent)}: {_described(file)}" for file in failures]
        jobs = len({*runs, *(file.parent for file in failures)})
        raise SystemExit("\n".join([f"\n{len(failures)} of {jobs} jobs failed:", *lines]))


def _left(points: Sequence[Point], file: Path) -> bool:
    """Whether a picture, or else a page, could be left: what it needs may not be installed."""
    try:
        if file.name == PICTURE:
            draw(points, file)
        else:
            file.write_text(render(points), encoding="utf-8")
    except ImportError as error:
        show(f"no {file.name}: {error}", sys.stderr)
        return False
    return True


def _number(file: Path) -> tuple[int, str]:
    name = file.parent.name
    return (int(name) if name.isdecimal() else 0, name)


def _described(failure: Path) -> str:
    """What a job was to do, and the first paragraph of why it did not."""
    try:
        why = read_bytes(failure).decode(errors="replace").partition("\n\n")[0].strip()
    except (OSError, ValueError) as error:
        why = str(error)
    try:
        overrides = read_yaml(failure.parent / ".hydra" / "overrides.yaml")
    except (OSError, ValueError):
        overrides = []
    words = map(str, overrides if isinstance(overrides, list) else [])
    lines = [" ".join(words), *why.splitlines()]
    return "\n    ".join(printable(line, LINE) for line in lines)
