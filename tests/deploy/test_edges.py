"""Edges: a forward that goes another way for other sizes is tried there too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from dead_units import Apply, gap, with_dead_units
from torch import Tensor, nn

from l1prune.deploy import compact
from l1prune.deploy.edges import edges


def by_shape(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x).relu()
    return m.large(hidden) if x.shape[0] > 32 else m.small(hidden)  # type: ignore[no-any-return]


def by_length(m: Any, x: Tensor) -> Tensor:
    hidden = m.first(x).relu()
    return m.large(hidden) if len(x) > 32 else m.small(hidden)  # type: ignore[no-any-return]


def branching(call: Callable[..., Tensor]) -> nn.Module:
    torch.manual_seed(0)
    parts = {"first": nn.Linear(4, 16), "small": nn.Linear(16, 3), "large": nn.Linear(16, 3)}
    return with_dead_units(Apply(call, **parts))


def test_the_size_at_which_a_forward_branches_is_found() -> None:
    found = edges(branching(by_shape), ((torch.randn(2, 4),), {}))
    assert {(0, 0): 33} in found
    assert {(0, 0): 33} not in edges(nn.Linear(4, 2), ((), {"input": torch.randn(2, 4)}))


@pytest.mark.parametrize("call", [by_shape, by_length])
def test_units_that_only_the_other_branch_needs_stay(call: Callable[..., Tensor]) -> None:
    model = branching(call)
    compaction = compact(model, torch.randn(2, 4))
    for batch in (2, 32, 33, 50):
        assert gap(model, compaction.model, (torch.randn(batch, 4),)) == 0


def test_a_constant_that_the_forward_makes_may_be_another_for_other_lengths() -> None:
    def late(m: Any, x: Tensor) -> Tensor:
        weights = torch.tensor([float(step >= 300) for step in range(x.shape[1])])
        return m.second(m.first(x).relu() * weights[:, None])  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = with_dead_units(Apply(late, first=nn.Linear(6, 16), second=nn.Linear(16, 3)))
    compaction = compact(model, torch.randn(1, 3, 6))
    assert 1 < compaction.model.first.out_features < 16
    assert gap(model, compaction.model, (torch.randn(1, 310, 6),)) < 1e-6


def test_a_table_of_positions_is_not_judged_by_the_part_that_is_read() -> None:
    """Zeros at the first four places only: for longer inputs the units are alive."""
    torch.manual_seed(0)
    mask = torch.cat([torch.zeros(4, 16), torch.ones(8, 16)])
    model = with_dead_units(
        Apply(
            lambda m, x: m.second(m.first(x).sigmoid() * m.mask[: x.shape[1]]),
            first=nn.Linear(6, 16),
            second=nn.Linear(16, 3),
        )
    ).double()
    model.register_buffer("mask", mask.double())
    compaction = compact(model, torch.randn(2, 3, 6).double())
    for length in (1, 3, 4, 5, 12):
        inputs = (torch.randn(2, length, 6).double(),)
        assert gap(model, compaction.model, inputs) < 1e-12


def _attended(m: Any, x: Tensor, mask: Tensor) -> Tensor:
    hidden = m.first(x).sigmoid() * x.shape[1]
    return mask @ m.second(hidden)  # type: ignore[no-any-return]


def _shifted(m: Any, x: Tensor, mask: Tensor) -> Tensor:
    hidden = (m.first(x) + math.log(x.shape[1])).sigmoid()
    return mask @ m.second(hidden)  # type: ignore[no-any-return]


def _unshuffled(m: Any, x: Tensor) -> Tensor:
    halves = x.unflatten(-1, (-1, 2))
    hidden = m.first(halves.movedim(1, -1)).sigmoid() * x.shape[-1]
    return m.second(hidden)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        *((call, lambda n: [(2, n, 6), (2, n, n)]) for call in (_attended, _shifted)),
        (_unshuffled, lambda n: [(2, 6, 2 * n)]),
    ],
)
def test_a_size_that_is_computed_with_is_no_constant(
    call: Callable[..., Tensor], shapes: Callable[[int], list[tuple[int, ...]]]
) -> None:
    """Though the tensors have to agree on it, or it has to be even."""
    torch.manual_seed(0)
    model = with_dead_units(Apply(call, first=nn.Linear(6, 16), second=nn.Linear(16, 3))).double()
    compaction = compact(model, tuple(torch.randn(shape).double() for shape in shapes(5)))
    for size in (2, 5, 9, 20):
        inputs = tuple(torch.randn(shape).double() for shape in shapes(size))
        assert gap(model, compaction.model, inputs) < 1e-12


def _by_width(m: Any, x: Tensor) -> Tensor:
    y = m.second(m.first(x).relu())
    return y.cumsum(1) if x.shape[1] > m.first.out_features else y  # type: ignore[no-any-return]


def test_a_way_that_is_chosen_by_a_width_stays_where_it_was() -> None:
    """The smaller model would choose by its own."""
    torch.manual_seed(0)
    model = with_dead_units(Apply(_by_width, first=nn.Linear(6, 16), second=nn.Linear(16, 3)))
    compaction = compact(model, torch.randn(2, 3, 6))
    for length in range(3, 20):
        assert gap(model, compaction.model, (torch.randn(2, length, 6),)) < 1e-6
