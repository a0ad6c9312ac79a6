"""Starts of scripts/train.py, in processes that are quick to begin and can be done anything to."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

TRAIN = Path(__file__).parents[1] / "train.py"
LONGEST = 120.0  # seconds; whatever takes longer hangs


@dataclass(frozen=True)
class Ending:
    """How a start ended: its exit code, as a process or a signal gives it, and what it said."""

    code: int
    said: str

    @property
    def sentence(self) -> str:
        """The one line that it refused with; empty if it did not refuse, or not in one line."""
        lines = [line for line in self.said.splitlines() if line.startswith(REFUSALS)]
        refused = self.code not in (0, None) and "Traceback" not in self.said
        return lines[0] if refused and len(lines) == 1 else ""


REFUSALS = ("Cannot train like this: ", "The run in ")


class Start:
    """One start of a run in a folder, as the command line starts it.

    Args:
        run: the run's folder.
        options: of scripts/train.py.
        log: where what it says goes; by default a file beside its folder.
        largest: bytes that a file may have; None for as many as the disk has room for.
    """

    def __init__(
        self,
        run: Path,
        options: Sequence[str],
        log: Path | None = None,
        largest: int | None = None,
    ) -> None:
        self._log = log or run.with_name(f"{run.name}.log")
        self._log.unlink(missing_ok=True)
        arguments = (self._log, [*options, f"hydra.run.dir='{run}'"], largest)
        self._process: BaseProcess = _forks().Process(target=_train, args=arguments)
        self._process.start()

    def send(self, number: int, after: float) -> None:
        """Send a signal when so many seconds are gone, unless it has ended."""
        self._process.join(after)
        with suppress(ProcessLookupError):
            if self._process.is_alive():
                os.kill(self._process.pid or 0, number)

    def end(self) -> Ending:
        """Wait for the end.

        Raises:
            TimeoutError: it hangs.
        """
        self._process.join(LONGEST)
        if self._process.is_alive():
            self._process.kill()
            raise TimeoutError(f"it had not ended after {LONGEST:.0f} s")
        code = self._process.exitcode
        said = self._log.read_text(errors="replace") if self._log.exists() else ""
        return Ending(-1 if code is None else code, said)


def timed(run: Path, options: Sequence[str]) -> tuple[Ending, float]:
    """A start that is left alone, and how many seconds it took."""
    began = time.monotonic()
    return Start(run, options).end(), time.monotonic() - began


@cache
def _forks() -> ForkServerContext:
    """Torch and Lightning are imported once, in the server that every start is forked from."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["l1prune.commands.train"])
    return forks


def _train(log: Path, arguments: list[str], largest: int | None) -> None:
    with log.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if largest is not None:
        import resource  # there is none on Windows

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.argv = [str(TRAIN), *arguments]
    runpy.run_path(str(TRAIN), run_name="__main__")
