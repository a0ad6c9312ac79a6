"""Rounds: when cuts are due."""

from __future__ import annotations

import math

import pytest

from l1prune.training.rounds import as_shares, check_fits, due, pressed, rounds


@pytest.mark.parametrize("steps", [7, 21500, 999983])
def test_a_step_is_reached_exactly_when_it_is_taken(steps: int) -> None:
    at = (steps // 2,)
    assert due(at, share=0.9, steps=steps // 2 - 1) == 0
    assert due(at, share=0.1, steps=steps // 2) == 1
    assert pressed(at, share=0.1, steps=steps // 2) == 1.0


def test_rounds_that_were_missed_are_due_together() -> None:
    assert due(rounds(0.1, 0.5, 5), share=0.35, steps=0) == 3


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
