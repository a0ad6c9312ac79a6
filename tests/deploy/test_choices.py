"""The fastest form of a layer is taken where it leads; the times are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from l1prune.deploy.candidates import Candidate
from l1prune.deploy.choices import Choice, Contest, joined
from l1prune.deploy.kernels import Bag, Csr
from l1prune.deploy.sparse_layers import BagLinear, CsrLinear

Seconds = dict[type, list[float]]


def timer(seconds: Callable[[int], Seconds]) -> Any:
    """A timer that says what each kind of module takes at a number of rows."""

    def times(works: Sequence[Any]) -> list[list[float]]:
        return [seconds(len(work.args[0]))[type(work.func)] for work in works]

    return times


def contest(seconds: Callable[[int], Seconds], *kernels: Any) -> Contest:
    layer = nn.Linear(4, 4)
    return Contest(Candidate(layer, 0.9, kernels or (Csr(), Bag())), timer(seconds))


def steady(dense: float, csr: float, bag: float) -> Seconds:
    return {nn.Linear: [dense] * 5, CsrLinear: [csr] * 5, BagLinear: [bag] * 5}


@pytest.mark.parametrize(
    ("seconds", "name", "speedup"),
    [
        (steady(2.0, 1.0, 3.0), "Csr", 2.0),
        (steady(3.0, 2.0, 1.0), "Bag", 3.0),
        (steady(1.0, 2.0, 4.0), "dense", 0.5),
        (steady(1.04, 1.0, 1.0), "dense", 1.04),  # within the margin
        (steady(1.0, 1.0, 1.0) | {CsrLinear: [0.5, 0.5, 0.5, 2.0, 2.0]}, "dense", 2.0),  # unsure
    ],
)
def test_the_fastest_wins_if_it_surely_leads(seconds: Seconds, name: str, speedup: float) -> None:
    one = contest(lambda rows: seconds)
    one.enter({8: torch.ones(8, 4)})
    choice = one.choices[8]
    assert (choice.name, choice.speedup) == (name, speedup)
    assert (choice.saved > 0) == (name != "dense")


def test_each_number_of_rows_has_its_winner_and_is_timed_once() -> None:
    asked = []

    def seconds(rows: int) -> Seconds:
        asked.append(rows)
        return {1: steady(1, 2, 3), 8: steady(3, 1, 2), 64: steady(3, 2, 1)}[rows]

    one = contest(seconds)
    inputs = {rows: torch.ones(rows, 4) for rows in (64, 1, 8)}
    one.enter(inputs)
    one.enter(inputs)
    assert {rows: choice.name for rows, choice in one.choices.items()} == {
        1: "dense",
        8: "Csr",
        64: "Bag",
    }
    assert set(asked) == {1, 8, 64} and len(asked) == 9  # three forms at three sizes


def test_a_kernel_that_fails_is_none() -> None:
    class Broken:
        def refusal(self, layer: nn.Module) -> str | None:
            return None

        def build(self, layer: nn.Module) -> nn.Module:
            raise RuntimeError("not in this shape")

    one = contest(lambda rows: steady(2.0, 1.0, 1.0), Broken(), Csr())
    one.enter({8: torch.ones(8, 4)})
    assert one.choices[8].name == "Csr" and one.failures == ["Broken fails: not in this shape"]
    alone = contest(lambda rows: steady(2.0, 1.0, 1.0), Broken())
    alone.enter({8: torch.ones(8, 4)})
    assert not alone.choices and alone.failures


class Form(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, input: Tensor) -> int:
        return self.number


@given(
    picks=st.dictionaries(st.integers(1, 5000), st.integers(0, 2), min_size=1, max_size=5),
    rows=st.integers(1, 6000),
)
def test_the_nearer_of_what_was_timed_decides(picks: dict[int, int], rows: int) -> None:
    forms = [Form(number) for number in range(3)]
    choices = {at: Choice(str(pick), forms[pick], 2.0, 1.0) for at, pick in picks.items()}
    module = joined(choices, 3)
    for at, pick in picks.items():
        assert module(torch.ones(at, 3)) == pick
    below = max((at for at in picks if at <= rows), default=min(picks))
    above = min((at for at in picks if at >= rows), default=max(picks))
    assert module(torch.ones(rows, 3)) in {picks[below], picks[above]}
