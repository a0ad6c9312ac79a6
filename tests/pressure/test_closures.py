"""Closures: found however a step is called, and put back where they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from l1prune.pressure.closures import Arguments, Closure, with_closure


def doubled(closure: Closure) -> Closure:
    return lambda: 2 * closure()


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [(("o",), {}), (("o", None), {}), (("o",), {"closure": None}), (("o", None, 1), {"a": 2})],
    ids=str,
)
def test_where_there_is_none_nothing_changes(args: Any, kwargs: Any) -> None:
    assert with_closure(args, kwargs, doubled) is None


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("more", [{}, {"scale": 3}], ids=str)
def test_all_else_of_a_step_stays_as_it_was(named: bool, more: dict[str, Any]) -> None:
    closure = {"closure": lambda: 21}
    given = (("o",), closure | more) if named else (("o", closure["closure"], "x"), more)
    found = with_closure(*given, doubled)
    assert found is not None
    args, kwargs = found
    assert (kwargs.pop("closure") if named else args[1])() == 42
    assert (args, kwargs) == (("o",), more) if named else (args[2], kwargs) == ("x", more)


@pytest.mark.parametrize("named", [True, False])
def test_an_optimizer_takes_what_a_hook_before_its_step_has_made(named: bool) -> None:
    w = torch.nn.Parameter(torch.ones(1))
    optimizer, calls = torch.optim.SGD([w], lr=0.1), []

    def closure() -> Any:
        calls.append("model")
        return w.sum()

    def around(plain: Closure) -> Closure:
        return lambda: (plain(), calls.append("after"))[0]

    def before(optimizer: Any, args: Any, kwargs: Any) -> Arguments | None:
        return with_closure(args, kwargs, around)

    optimizer.register_step_pre_hook(before)
    optimizer.step(closure=closure) if named else optimizer.step(closure)
    optimizer.step()
    assert calls == ["model", "after"]
