"""Arguments: written down with a run's state, so that a resumed run is known to be the same one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def described(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Each argument in words that are the same in every process.

    >>> from l1prune import Sparsity
    >>> described({"threshold": 0.1, "targets": None, "strength": abs})
    {'threshold': '0.1', 'targets': 'None', 'strength': '<built-in function abs>'}
    """
    address = re.compile(r" at 0x[0-9a-fA-F]+")
    return {name: address.sub("", repr(value)) for name, value in arguments.items()}


def check_same(now: Mapping[str, str], then: Mapping[str, str]) -> None:
    """Refuse to go on with a run by other rules than it began with.

    Args:
        now: the arguments that were given, `described`.
        then: those in the checkpoint.

    Raises:
        ValueError: two differ; both are named.

    >>> check_same({"prune_at": "(0.5,)"}, {"prune_at": "(0.6,)"})
    Traceback (most recent call last):
    ValueError: the run began with prune_at=(0.6,) and would go on with prune_at=(0.5,): give the \
arguments that it began with, or begin a new run
    """
    differing = [name for name in now if now[name] != then.get(name, now[name])]
    if differing:
        before = ", ".join(f"{name}={then[name]}" for name in differing)
        after = ", ".join(f"{name}={now[name]}" for name in differing)
        raise ValueError(
            f"the run began with {before} and would go on with {after}: give the arguments that it "
            "began with, or begin a new run"
        )
