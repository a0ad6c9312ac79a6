"""Rounds: when cuts are due."""

from __future__ import annotations

import math
from typing import Any

import pytest

from l1prune.training.rounds import (
    as_rounds,
    as_shares,
    check_fits,
    due,
    once,
    pressed,
    rounds,
    up_to,
)


@pytest.mark.parametrize("steps", [7, 21500, 999983])
def test_a_step_is_reached_exactly_when_it_is_taken(steps: int) -> None:
    at = (steps // 2,)
    assert due(at, share=0.9, steps=steps // 2 - 1) == 0
    assert due(at, share=0.1, steps=steps // 2) == 1
    assert pressed(at, share=0.1, steps=steps // 2) == 1.0


def test_rounds_that_were_missed_are_due_together() -> None:
    assert due(rounds(0.1, 0.5, 5), share=0.35, steps=0) == 3


@pytest.mark.parametrize("last", [0.05, 0.3, 0.6, 0.99, 1, 2, 7, 49, 50, 3000, 999983])
def test_a_number_is_the_last_of_many_rounds_that_leave_a_sixth_of_the_time_to_learn(
    last: float,
) -> None:
    at = as_rounds(last, gradual=True)
    assert at[-1] == last and type(at[-1]) is type(last)
    assert at == tuple(sorted({*at})) and at[0] == pytest.approx(last / 6, abs=0.84)
    assert len(at) == (50 if last < 1 or last >= 60 else min(last, len(at)))
    assert as_rounds(last, gradual=False) == once(last) == (last,)


def test_the_default_is_such_a_number_and_another_has_the_same_rounds_in_other_time() -> None:
    assert up_to(0.6) == rounds(0.1, 0.6, 50)
    assert [at / 0.3 for at in up_to(0.3)] == pytest.approx([at / 0.6 for at in up_to(0.6)])
    assert up_to(6000) == tuple(round(at * 10000) for at in up_to(0.6))


@pytest.mark.parametrize("at", [0.0, 1.0, 0, -3, True, float("nan"), "0.5", None, (0.5,), 1e-11])
def test_what_is_no_time_of_a_run_is_refused(at: Any) -> None:
    with pytest.raises(ValueError, match="prune_at must be a share of the run"):
        as_rounds([at] if at != 1e-11 else at, gradual=True)
    if at != 1e-11:
        with pytest.raises(ValueError, match=r"once\(at=.*\): needs a share of the run"):
            once(at)


def test_shares_stay_and_steps_become_shares() -> None:
    assert as_shares((0.3, 0.6), 10.0) == (0.3, 0.6)
    assert as_shares((3, 6), 10.0) == (0.3, 0.6)
    assert as_shares((3,), math.inf) == (0.0,)


@pytest.mark.parametrize(
    ("prune_at", "steps"), [(200, 200), (500, 200), (0.6, 1), (0.99, 5), (0.1, 5)]
)
def test_a_run_too_short_for_its_phases_is_refused(prune_at: float, steps: int) -> None:
    message = f"prune_at={prune_at} does not fit a run of {steps} steps"
    with pytest.raises(ValueError, match=message):
        check_fits((prune_at,), steps)


def test_a_run_of_unknown_length_is_not() -> None:
    check_fits((200,), math.inf)
