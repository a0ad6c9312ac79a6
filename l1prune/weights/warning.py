"""Warning: what a run has to say to its user, at the line that the user wrote."""

from __future__ import annotations

import os
import sys
import sysconfig
import warnings
from pathlib import Path
from types import FrameType

import torch

from l1prune.weights.shards import place


class PruningWarning(UserWarning):
    """A warning of l1prune, by which all of them can be filtered.

    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", PruningWarning)
    ...     warn("nobody reads this")
    """


def warn(message: str) -> None:
    """Warn, in a run of several processes on the first of them alone.

    The warning is of the line that led here in a program of the user's own, as `trainer.fit(…)`:
    a line of this library, or of the Trainer, says nothing to who reads it.
    """
    rank, _ = place()
    if rank == 0:
        frame = _users(sys._getframe(1))
        registry = frame.f_globals.setdefault("__warningregistry__", {})
        file, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "<unknown>")
        warnings.warn_explicit(message, PruningWarning, file, frame.f_lineno, module, registry)


def format_in_words(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    r"""How a command says it, in the place of `warnings.formatwarning`: there is no such program.

    >>> format_in_words("cut less", PruningWarning, "a.py", 3)
    'warning: cut less\n'
    """
    if issubclass(category, PruningWarning):
        return f"warning: {message}\n"
    return _FORMAT(message, category, filename, lineno, line)


def is_own(file: str) -> bool:
    """Whether a file of code is a user's own: neither installed, nor of this library.

    >>> is_own(torch.__file__), is_own("/home/me/model.py")
    (False, True)
    """
    return not file.startswith((*_INSTALLED, "<frozen"))


_FORMAT = warnings.formatwarning
_INSTALLED = tuple(
    f"{folder}{os.sep}"
    for folder in {
        *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")),
        str(Path(torch.__file__).parents[1]),
        str(Path(__file__).parents[1]),
    }
)


def _users(frame: FrameType) -> FrameType:
    """The innermost call of code that was not installed; where there is none, the outermost."""
    while frame.f_back and not is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return frame
