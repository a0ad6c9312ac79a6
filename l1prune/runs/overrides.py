"""Overrides: the settings of a command line, in Hydra's notation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException

MULTIRUN = ("-m", "--multirun")
MONITOR = "monitor"


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
    waiting = {given: _waiting(given, one) for given, one in parsed.items() if _waits(one)}
    return [waiting.get(argument, argument) for argument in arguments]


def options_first(arguments: Sequence[str]) -> list[str]:
    """Put options before settings, which Hydra takes in one row only.

    Args:
        arguments: of the command line, in any order.

    >>> options_first(["model=own", "--config-dir", "mine", "-m", "+prune=l1"])
    ['--config-dir', 'mine', '-m', 'model=own', '+prune=l1']
    """
    known = {name: one for one in get_args_parser()._actions for name in one.option_strings}
    options: list[str] = []
    settings: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        option = known.get(word)
        (options if word.startswith("-") else settings).append(word)
        takes = option is not None and option.nargs is None  # a flag's is 0
        if rest and option and (takes or rest[0] in (option.choices or ())):
            options.append(rest.pop(0))
    return [*options, *settings]


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Write out what users say in short, before Hydra reads it.

    Text with other letters than those of English goes into quotes, without which Hydra does not
    read it. `monitor=val/mse` is the name of the monitor. An object that is given whole, by its
    `_target_`, or a list of such, takes the place of what was there; Hydra would mix the arguments
    of both.

    Args:
        arguments: of the command line.

    >>> spelled_out(["monitor=val/mse", "prune.threshold={_target_: l1prune.Magnitude, cut: 1}"])
    ['monitor.name=val/mse', 'prune.threshold=null', 'prune.threshold={_target_: \
l1prune.Magnitude, cut: 1}']
    """
    return [word for argument in arguments for word in _spelled_out(argument)]


def _spelled_out(argument: str) -> list[str]:
    argument = _in_quotes(argument)
    override = _parsed(argument)
    if override is None or override.type is not OverrideType.CHANGE:
        return [argument]
    (name, _, text), value = argument.partition("="), override.value()
    if name == MONITOR and not isinstance(value, dict):
        return [f"{MONITOR}.name={text}"]
    objects = value if isinstance(value, list) and value else [value]
    whole = all(isinstance(one, dict) and "_target_" in one for one in objects)
    return [f"{name}=null", argument] if whole else [argument]


_TEXT = re.compile(r"(?:\$\{[^}]*\}|[^,\[\]{}()'\":=\s])+(?: +[^,\[\]{}()'\":=\s]+)*")
"""What is one text in a list, a mapping or a choice."""


def _in_quotes(argument: str) -> str:
    """The same with its texts in quotes, if they have to be, and are then read.

    >>> _in_quotes("data.leave_out=[Größe,age]"), _in_quotes("seed=1")
    ("data.leave_out=['Größe',age]", 'seed=1')
    """
    name, _, value = argument.partition("=")
    if value.isascii() or _parsed(argument) is not None:
        return argument
    text = _TEXT.sub(lambda found: found[0] if found[0].isascii() else f"'{found[0]}'", value)
    return f"{name}={text}" if _parsed(f"{name}={text}") else argument


def _waits(override: Override) -> bool:
    below = "." in override.key_or_group and not override.is_hydra_override()
    return below and override.type is OverrideType.CHANGE and not override.is_sweep_override()


def _waiting(argument: str, override: Override) -> str:
    """A choice among one that gives the jobs the same value; Hydra quotes a null, and loses quotes.

    Where there is none, the setting is left as it is, and Hydra says what it thinks of it.
    """
    name, _, value = argument.partition("=")
    for choice in (f"{name}=choice({value})", f"{name}=choice('{value}')"):
        if (one := _parsed(choice)) and one.is_sweep_override():
            (chosen,) = one.sweep_string_iterator()
            if (given := _parsed(f"{name}={chosen}")) and given.value() == override.value():
                return choice
    return argument


def _parsed(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_overrides([argument])[0]
    except HydraException:
        return None
