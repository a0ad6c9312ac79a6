"""Arguments: checked before they are used, and written down, so that a run is known again."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any


class DivergenceError(ValueError):
    """Training came to NaN or infinity, so that whatever follows is of no use."""


class NoWeightsError(ValueError):
    """A model has no weight that could be pruned.

    Args:
        message: what a person reads.
        skipped: by name, why each of its parameters is none.
    """

    def __init__(self, message: str, skipped: Mapping[str, str]) -> None:
        super().__init__(message)
        self.skipped = dict(skipped)


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Say which extra brings a package whose import fails within.

    Args:
        extra: of l1prune.
        what: needs it.

    >>> with needing("plots", "a picture"):
    ...     import no_such_package
    Traceback (most recent call last):
    ImportError: a picture needs no_such_package: pip install 'l1prune[plots]'
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "a package").partition(".")[0]
        raise ImportError(f"{what} needs {missing}: pip install 'l1prune[{extra}]'") from None


def six_digits(value: float) -> float:
    """A number as files and tables for people have it: with six digits that count.

    >>> six_digits(0.123456789), six_digits(98765.4321)
    (0.123457, 98765.4)
    """
    return float(f"{value:.6g}")


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is a finite number from `low` to `high`; a bool is none.

    >>> is_number(0.5, 0, 1), is_number(2, 0, 1), is_number("0.5"), is_number(True)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value) and bool(low <= value <= high)  # type: ignore[operator]
    except OverflowError:  # a whole number beyond every float
        return False


def is_numeral(text: str) -> bool:
    """Whether a text is a number that is written out.

    >>> is_numeral("-1"), is_numeral("5e-4"), is_numeral("-a")
    (True, True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_whole(value: Any, low: int) -> bool:
    """Whether a value is a whole number, at least `low`; a bool is none.

    >>> is_whole(3, 1), is_whole(3.0, 1), is_whole(0, 1)
    (True, False, False)
    """
    return isinstance(value, Integral) and is_number(value, low)


def listed(value: Any) -> list[Any] | None:
    """What is in a list, a tuple, an array; None of anything else.

    >>> listed((1, 2)), listed("ab"), listed(5)
    ([1, 2], None, None)
    """
    if isinstance(value, str | bytes | Mapping):
        return None
    try:
        return [*value]
    except TypeError:
        return None


def check_object(name: str, value: Any, methods: tuple[str, ...], example: str) -> None:
    """Refuse an argument that is not an object with these methods, such as its class.

    >>> check_object("scope", "global", ("comparable",), "LAMP()")
    Traceback (most recent call last):
    ValueError: scope must be an object as LAMP(), got 'global'
    """
    able = all(callable(getattr(value, method, None)) for method in methods)
    if isinstance(value, type) or not able:
        raise ValueError(f"{name} must be an object as {example}, got {value!r}")


def described(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Each argument in words that are the same in every process.

    >>> from l1prune import Sparsity
    >>> described({"threshold": 0.1, "targets": None, "strength": abs})
    {'threshold': '0.1', 'targets': 'None', 'strength': '<built-in function abs>'}
    """
    return {name: in_words(value) for name, value in arguments.items()}


def in_words(value: Any) -> str:
    """What an object says of itself, without where in memory it is.

    >>> in_words(abs), in_words(object())
    ('<built-in function abs>', '<object object>')
    """
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


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


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by their dotted names; lists are values.

    >>> flat({"seed": 3, "prune": {"threshold": {"sparsity": 0.9}, "targets": ["head"]}})
    {'seed': 3, 'prune.threshold.sparsity': 0.9, 'prune.targets': ['head']}
    """
    values: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values
