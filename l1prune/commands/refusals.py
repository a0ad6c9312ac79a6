"""Refusals: how a run ends that cannot be, or cannot go on: in one message."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode

from l1prune.checks import DivergenceError
from l1prune.commands.place import own_folder, program
from l1prune.runs import sweep, wandb
from l1prune.runs.folder import RunFolder, is_first
from l1prune.weights.warning import is_own


@contextmanager
def refusing(
    *kinds: type[Exception], trained: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """End the program with the message alone when the input is wrong.

    Once a step is trained an error is no longer about the input, and keeps its traceback;
    HYDRA_FULL_ERROR=1 keeps it always.
    """
    try:
        yield
    except kinds as error:
        if trained() or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__:
            cause = cause.__cause__
        raise sweep.Refusal(f"Cannot train like this: {explained(cause)}") from None


def explained(error: BaseException) -> str:
    """What an error says; of one in code of the user's own, also of what kind it is, and where.

    >>> explained(ValueError("give a seed")), explained(KeyError("b"))
    ('give a seed', "KeyError: 'b'")
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = next((one for one in reversed(frames) if is_own(one.filename)), None)
    if own is None and not isinstance(error, LookupError):
        return str(error)
    said = f"{type(error).__name__}: {error}"
    if own is None:
        return said
    where = f"line {own.lineno} of {own.filename}, in {own.name}"
    return f"{said}\n  {where}; HYDRA_FULL_ERROR=1 shows all that led there"


@contextmanager
def failing(folder: RunFolder) -> Iterator[None]:
    """End the program with the message alone when training diverged, or the disk failed it.

    HYDRA_FULL_ERROR=1 keeps the traceback.
    """
    try:
        yield
    except (DivergenceError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        advice = (
            "try a lower learning rate, in another folder"
            if isinstance(error, DivergenceError)
            else "when that is put right, the same command goes on from what was saved last"
        )
        raise sweep.Refusal(f"The run in {folder.path} has stopped: {error}; {advice}") from None


@contextmanager
def unless_refused(folder: RunFolder) -> Iterator[None]:
    """Leave nothing behind of a run that was refused: a sweep notes there why, so it stays."""
    try:
        yield
    except sweep.Refusal:
        if is_first() and HydraConfig.get().mode != RunMode.MULTIRUN:
            wandb.abandon()
            folder.discard()
        raise


@contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """Say how to go on when the run is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        where = f"hydra.run.dir={folder.path}"
        options = [o for o in HydraConfig.get().overrides.task if o != where]
        command = shlex.join([*program("train"), *own_folder(), *options, where])
        if is_first():
            print(f"\nStopped. To go on: {command}", file=sys.stderr)
        raise
