"""Rules that choose weights: by name, by regular expression or by the type of their module."""

from __future__ import annotations

import fnmatch
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import nn

from l1prune.checks import is_number


@runtime_checkable
class Rule(Protocol):
    """Chooses weights: `factor` multiplies the strength of those that `matches` accepts.

    A factor of None leaves them out, whatever else accepts them.
    """

    @property
    def factor(self) -> float | None: ...

    def matches(self, name: str, module: nn.Module) -> bool: ...


def _check_factor(factor: float) -> None:
    if not is_number(factor, 0):
        raise ValueError(f"factor must be a finite number ≥ 0, got {factor!r}")


def _check_pattern(pattern: object) -> None:
    if not (isinstance(pattern, str) and pattern):
        raise ValueError(f"pattern must be a text that names fit, as 'encoder.*', got {pattern!r}")


@dataclass(frozen=True)
class ByName:
    """Weights whose name, or the name of a module around them, fits a shell pattern.

    `*` crosses dots, so `"encoder.*"` and `"encoder"` both choose all that lies in `encoder`. A
    pattern that is the full name of a parameter, brackets and all, chooses it even if it is a bias,
    a norm or an embedding, which patterns otherwise leave alone.

    >>> ByName("encoder.*.fc1", factor=2.0).matches("encoder.3.fc1.weight", nn.Linear(2, 2))
    True
    """

    pattern: str
    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)
        _check_factor(self.factor)

    def matches(self, name: str, module: nn.Module) -> bool:
        parts = name.split(".")
        around = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return any(
            path == self.pattern or fnmatch.fnmatchcase(path, self.pattern) for path in around
        )


@dataclass(frozen=True)
class Except:
    """Leaves out what a rule would choose; with nothing but these, all other weights are chosen.

    Args:
        rule: a shell pattern, a module class, or another rule.

    >>> Except("head.*").matches("head.weight", nn.Linear(2, 2)), Except("head.*").factor
    (True, None)
    """

    rule: str | Rule | type
    factor: None = field(default=None, init=False)

    def __post_init__(self) -> None:
        as_rule(self.rule)  # refuses what is none

    def __str__(self) -> str:  # its repr is what a checkpoint knows it by
        return f"Except({self.rule!r})"

    def matches(self, name: str, module: nn.Module) -> bool:
        return as_rule(self.rule).matches(name, module)


@dataclass(frozen=True)
class First:
    """The first weight, in the model's order, of those that a rule chooses; of all by default.

    Args:
        rule: a shell pattern, a module class, or another rule.
        factor: of its strength.

    >>> from l1prune import find_targets
    >>> model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3), nn.Linear(3, 2))
    >>> [target.name for target in find_targets(model, First())]
    ['1.weight']
    """

    rule: str | Rule | type = "*"
    factor: float = 1.0
    most: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        as_rule(self.rule)  # refuses what is none
        _check_factor(self.factor)

    def matches(self, name: str, module: nn.Module) -> bool:
        return as_rule(self.rule).matches(name, module)


@dataclass(frozen=True)
class ByRegex:
    r"""Weights in whose full name the regular expression is found.

    >>> ByRegex(r"conv[12]\.").matches("body.conv2.weight", nn.Conv2d(1, 1, 1))
    True
    """

    pattern: str
    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)
        _check_factor(self.factor)
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"pattern {self.pattern!r} is no regular expression: {error}"
            ) from None

    def matches(self, name: str, module: nn.Module) -> bool:
        return re.search(self.pattern, name) is not None


@dataclass(frozen=True)
class ByType:
    """Weights that belong to a module of this class, given as the class or its import path.

    >>> ByType("torch.nn.Conv2d", factor=0.5).matches("stem.weight", nn.Conv2d(1, 1, 1))
    True
    """

    module: type[nn.Module] | str
    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        if isinstance(self.module, str):
            object.__setattr__(self, "module", _import_class(self.module))
        if not (isinstance(self.module, type) and issubclass(self.module, nn.Module)):
            raise ValueError(f"module must be a class, as torch.nn.Linear, got {self.module!r}")

    def matches(self, name: str, module: nn.Module) -> bool:
        assert not isinstance(self.module, str)
        return isinstance(module, self.module)


def _import_class(path: str) -> type[nn.Module]:
    package, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError):
        found = None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(
            f"module {path!r} is not the import path of a torch module; try 'torch.nn.Linear'"
        )
    return found


Rules = Sequence[str | Rule | type] | Mapping[str, float | None] | Rule


def as_rules(rules: Rules) -> list[Rule]:
    """The rules that patterns, classes and mappings stand for, those that decide first in front.

    Of a list that is its order. A mapping has none that survives every file: its more specific
    patterns, those with more characters beside the wildcards, come first; of those with as many,
    the ones with fewer `*`, which fits any number of characters.

    >>> as_rules({"*": 1.0, "head.*": None, "encoder": 2.0})[0]
    ByName(pattern='encoder', factor=2.0)
    """
    given: object = rules
    if isinstance(given, Rule) and not isinstance(given, type):
        return [given]
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | Mapping) or not given:
        hint = "; put it in [ ]" if isinstance(given, str) and given else ""
        raise ValueError(
            "targets must be a list of patterns and module classes, or a mapping of patterns to "
            f"factors, as ['encoder', torch.nn.Conv2d], got {rules!r}{hint}"
        )
    if isinstance(given, Mapping):
        patterns = sorted(given, key=_order)
        return [
            Except(pattern) if given[pattern] is None else ByName(pattern, given[pattern])
            for pattern in patterns
        ]
    return [as_rule(rule) for rule in given]


def as_rule(rule: object) -> Rule:
    """The rule that a pattern or a class stands for.

    Raises:
        ValueError: it stands for none.
    """
    if isinstance(rule, str):
        return ByName(rule)
    if isinstance(rule, type):
        return ByType(rule)
    if isinstance(rule, Rule):
        return rule
    hint = "; give a list of rules, each of one pattern" if isinstance(rule, list | tuple) else ""
    raise ValueError(
        f"targets: {rule!r} is no pattern, module class, ByName, ByRegex, ByType, First or Except"
        + hint
    )


def _order(pattern: object) -> tuple[int, int, str]:
    """By how many characters stand for themselves, and how few for any number of others."""
    text = str(pattern)
    return -len(re.sub(r"\[[^\]]*\]|[*?]", "", text)), text.count("*"), text
