"""Closures: an optimizer may evaluate the model within its step, once or several times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Closure = Callable[[], Any]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def with_closure(
    args: tuple[Any, ...], kwargs: dict[str, Any], around: Callable[[Closure], Closure]
) -> Arguments | None:
    """The arguments of a step with something around its closure; None where it has none.

    Args:
        args: as a hook before the step gets them, the optimizer first.
        kwargs: likewise.
        around: makes of a closure another one.

    >>> args, kwargs = with_closure(("optimizer", lambda: 1), {}, lambda plain: lambda: -plain())
    >>> args[1]()
    -1
    """
    if len(args) > 1 and args[1] is not None:
        return (args[0], around(args[1]), *args[2:]), kwargs
    if kwargs.get("closure") is not None:
        return args, {**kwargs, "closure": around(kwargs["closure"])}
    return None
