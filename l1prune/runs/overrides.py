"""Overrides: the settings of a command line, in Hydra's notation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException

MULTIRUN = ("-m", "--multirun")


def for_jobs(arguments: Sequence[str], conf: Path) -> list[str]:
    """Let settings wait for the jobs of a sweep that chooses what they belong to.

    Hydra applies the settings with one value to a configuration of the sweep itself as well, which
    is composed without what the sweep chooses: it knows no `prune.threshold` beside
    `+prune=l1,gradual`. As a choice among one they reach the jobs alone, where they are checked.

    Args:
        arguments: of the command line.
        conf: has a folder for each group that can be chosen from.

    >>> for_jobs(["-m", "+prune=l1,l2", "prune.strength=0.1", "seed=1"], Path("conf"))
    ['-m', '+prune=l1,l2', 'prune.strength=choice(0.1)', 'seed=1']
    """
    parsed = {argument: one for argument in arguments if (one := _parsed(argument))}
    swept = {one.key_or_group for one in parsed.values() if one.is_sweep_override()}
    if not set(MULTIRUN) & set(arguments) or not any((conf / group).is_dir() for group in swept):
        return list(arguments)
    return [_waiting(one) if one in parsed and _waits(parsed[one]) else one for one in arguments]


def _waits(override: Override) -> bool:
    below = "." in override.key_or_group and not override.is_hydra_override()
    return below and override.type is OverrideType.CHANGE and not override.is_sweep_override()


def _waiting(argument: str) -> str:
    name, _, value = argument.partition("=")
    choice = f"{name}=choice({value})"
    return choice if _parsed(choice) else argument


def _parsed(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_overrides([argument])[0]
    except HydraException:
        return None
