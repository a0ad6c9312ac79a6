"""Stop: signals that ask a run to end, heard when the step that they interrupt is done.

Ctrl-C (SIGINT) ends the program as it always does. SIGTERM ends it with exit code 143, by which a
scheduler knows that the job has not ended by itself. The signal by which Slurm announces that time
is up, SIGUSR1 or what Lightning's `SLURMEnvironment` was told, has the job started again besides.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from l1prune.training.lightning import requeue_signal
from l1prune.weights.warning import warn


class Stop:
    """What signals have asked of a run, to be asked for when a step is done.

    The first of a kind is noted, a second one is obeyed at once.
    """

    def __init__(self) -> None:
        self._heard: list[int] = []
        self._before: dict[int, Any] = {}
        self._requeue: int | None = None

    @property
    def asked(self) -> bool:
        """Whether the run should save what it has, and `obey`."""
        return bool(self._heard)

    def listen(self, trainer: pl.Trainer) -> None:
        """Hear signals from now on, in a run of one process, instead of Lightning.

        Several would hear of it at different steps, and wait for each other: with those, Lightning
        does what it does.
        """
        self._heard = []
        if trainer.world_size > 1 or threading.current_thread() is not threading.main_thread():
            return
        self._requeue = requeue_signal(trainer)
        for number in self._signals():
            self._before[number] = signal.signal(number, self._hear)
        if trainer.received_sigterm:  # while it was set up
            self._heard.append(signal.SIGTERM)

    def _signals(self) -> Iterator[int]:
        yield from (signal.SIGINT, signal.SIGTERM)
        if self._requeue is not None:
            yield self._requeue

    def _hear(self, number: int, _: Any) -> None:
        if number in self._heard:
            raise _ending(number)
        self._heard.append(number)

    def obey(self) -> None:
        """End the program by the signal that came first; on Slurm have it started again."""
        number = self._heard[0]
        if number == self._requeue and not _requeued():
            self._heard.clear()
            warn("scontrol did not requeue this job: it goes on until it is stopped")
            return
        raise _ending(number)

    def leave(self) -> None:
        """Let signals do what they did before."""
        for number, handler in self._before.items():
            if handler is not None:  # as one that was not set from Python is
                signal.signal(number, handler)
        self._before = {}


def tell_exit_code(exception: BaseException) -> None:
    """Give SIGTERM its exit code where Lightning heard it, which would end the program with 0.

    >>> ending = SIGTERMException()
    >>> tell_exit_code(ending)
    >>> ending.code
    143
    """
    if isinstance(exception, SIGTERMException) and exception.code is None:
        exception.code = 128 + signal.SIGTERM


def _ending(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _requeued() -> bool:
    """Ask Slurm to start this job again, and whether it will."""
    job, array = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}"
    try:
        return subprocess.call(["scontrol", "requeue", str(job)]) == 0
    except OSError:
        return False
