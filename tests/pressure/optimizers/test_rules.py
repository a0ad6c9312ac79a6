"""What an update rule says of itself, and the formulas that rules share."""

from __future__ import annotations

import pytest
import torch

from l1prune.pressure.optimizers.rules import UpdateRule, forgetting, has_moments, over_root


def test_by_itself_a_rule_divides_by_nothing_and_keeps_nothing() -> None:
    rule, w = UpdateRule(), torch.ones(2)
    assert rule.fits(w, {}, {}) and rule.divided(0.3, {}, {}) == 0.3
    assert rule.squares({}, {}) is None and rule.mean({}, {}) is None
    assert rule.relative_step(w, w, {}, {}) == 1.0


def test_moments_are_there_if_they_have_the_weights_shape_and_steps_are_counted() -> None:
    w, moment = torch.ones(2, 3), torch.zeros(2, 3)
    assert has_moments(w, {"step": 1, "m": moment}, "m")
    assert not has_moments(w, {"m": moment}, "m")
    assert not has_moments(w, {"step": 1, "m": moment[:1]}, "m")
    assert not has_moments(w, {"step": 1, "m": moment}, "m", "v")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_sum_behind_an_average_is_that_of_the_squares(dtype: torch.dtype) -> None:
    average, total = torch.zeros(1, dtype=dtype), 0.0
    for square in (1.0, 4.0, 2.0):
        average = average * 0.5 + square * 0.5
        total = total * 0.5 + square
    squares = forgetting(average, 0.5, 3)
    assert squares.total.dtype == torch.float32
    assert (squares.total.item(), squares.memory, squares.steps) == (total, 0.5, 3.0)


def test_a_root_is_divided_by_in_pieces_as_at_once() -> None:
    torch.manual_seed(0)
    second = torch.rand(300_000)
    found = over_root(0.1, second, 0.5, 1e-3)
    torch.testing.assert_close(found, 0.1 / (second.sqrt() / 0.5 + 1e-3))
    assert found.data_ptr() != second.data_ptr()
