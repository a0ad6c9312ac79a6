"""Compiled selection takes what torch's own operations take, to the bit."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from l1prune.weights.flat import largest_here, largest_of_each_here
from l1prune.weights.library import SWITCH, library
from l1prune.weights.selection import SOURCE, selected

pytestmark = pytest.mark.skipif(library(SOURCE) is None, reason="no C compiler")

COUNTS = (0, 1, 3, 60, 500, 8192, 8193, 20_000)
"""On both sides of where a layer is large."""


@pytest.fixture(autouse=True)
def _compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)


def layer(dtype: torch.dtype) -> Tensor:
    """Values of many kinds: all different, with ties, mostly removed, all equal, infinite."""
    x = torch.randn(random.choice(COUNTS))
    removed = torch.rand(len(x)) < 0.9
    infinite = torch.rand(len(x)) < 0.01
    kinds = (
        *(x, x.abs(), (3 * x).round().abs(), x.abs().masked_fill(removed, -1.0)),
        *(torch.zeros_like(x), x.abs().masked_fill(infinite, torch.inf)),
    )
    return random.choice(kinds).to(dtype)


def masks(layers: list[Tensor]) -> list[Tensor | None]:
    return [random.choice([None, torch.rand(one.shape) < 0.3]) for one in layers]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("seed", range(30))
def test_it_is_what_torch_takes(
    seed: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    layers = [layer(dtype) for _ in range(random.randint(1, 6))]
    floors = [int(random.choice([0, 0.1, 1]) * one.numel()) for one in layers]
    room = random.randint(0, sum(one.numel() for one in layers))
    last, first = masks(layers), masks(layers)

    def found() -> list[Tensor]:
        return [
            *largest_here(layers, room, last, first),
            *largest_here(layers, room, floors=floors),
            *largest_here(layers, sum(floors) + 1, floors=floors),
            *largest_of_each_here(layers, floors),
        ]

    ours = found()
    monkeypatch.setenv(SWITCH, "eager")
    assert all(map(torch.equal, ours, found()))


def test_a_floor_stays_whatever_others_are_worth() -> None:
    layers = [torch.tensor([1.0, 3.0, 2.0]), torch.tensor([7.0, 9.0, 8.0])]
    kept = selected(layers, 3, (), (), [1, 0])
    assert kept is not None
    assert kept.tolist() == [False, True, False, False, True, True]


def test_what_does_not_lie_in_memory_is_left_to_torch() -> None:
    class Odd(Tensor): ...

    assert selected([torch.ones(2).as_subclass(Odd)], 1, (), (), ()) is None
    assert selected([torch.ones(2).to_sparse()], 1, (), (), ()) is None
    assert selected([nn.Parameter(torch.ones(2))], 1, (), (), ()) is not None


def test_less_room_than_the_floors_need_is_left_to_torch() -> None:
    assert selected([torch.ones(4)], 1, (), (), [2]) is None
