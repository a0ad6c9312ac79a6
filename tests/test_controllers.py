"""Controllers find the strength."""

from __future__ import annotations

import math
import pickle

import pytest

from l1prune.training.follow import Follow


@pytest.mark.parametrize("start", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("right", [0.02, 3.0])
def test_from_any_start_it_finds_the_strength_that_leaves_no_more_than_the_slack(
    start: float, right: float
) -> None:
    # A plant of the simplest kind: the weaker the strength against the right one, the more of the
    # weights that are due have not become zero.
    follow = Follow(start=start)
    memory = follow.begin()
    for look in range(follow.looks):
        missing = math.exp(-3 * memory[0] / right)
        memory = follow(memory, missing, look / follow.looks)
    assert math.exp(-3 * memory[0] / right) < 2 * follow.slack
    assert memory[0] < 3 * right


def test_it_asks_for_more_pressure_the_more_is_missing() -> None:
    follow = Follow()
    made = [follow((1.0,), missing, 0.5)[0] for missing in (0.0, 1e-3, 0.01, 0.05, 0.5)]
    assert made == sorted(made)


def test_it_grows_stricter_towards_the_end() -> None:
    follow = Follow()
    assert follow((1.0,), 0.02, 0.9) > follow((1.0,), 0.02, 0.1)


def test_it_is_a_plain_value() -> None:
    assert pickle.loads(pickle.dumps(Follow(start=2.0))) == Follow(start=2.0) != Follow()


@pytest.mark.parametrize(
    "arguments", [{"start": 0.0}, {"start": float("nan")}, {"slack": 0.0}, {"arrive": 1.5},
                  {"ease": -0.1}, {"looks": 0}, {"settle": 0}], ids=str,
)  # fmt: skip
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name} must be"):
        Follow(**arguments)  # type: ignore[arg-type]
