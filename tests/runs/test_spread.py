"""Means are those of the figures, errors shrink with their number, pairs leave the seed out."""

from __future__ import annotations

import random
import statistics

import pytest

from l1prune.runs.spread import Difference, Spread, difference


def test_mean_and_standard_error_are_those_of_the_figures() -> None:
    values = [random.Random(0).gauss(0, 1) for _ in range(9)]
    spread = Spread.of(values)
    assert spread.mean == pytest.approx(statistics.fmean(values))
    assert spread.error == pytest.approx(statistics.stdev(values) / 3)
    assert Spread.of([5.0]) == Spread(5.0, None, 1)


def test_a_paired_difference_does_not_see_what_seeds_differ_in() -> None:
    hard = {seed: random.Random(seed).random() for seed in range(8)}
    ours = {seed: value + 0.1 for seed, value in hard.items()}
    found = difference(ours, hard)
    assert found.paired and found.spread.count == 8
    assert found.spread.mean == pytest.approx(0.1)
    assert found.spread.error == pytest.approx(0, abs=1e-12)


def test_without_shared_seeds_the_errors_of_both_count() -> None:
    ours, theirs = {0: 1.0, 1: 3.0}, {7: 0.0, 8: 2.0}
    found = difference(ours, theirs)
    assert not found.paired and found.spread.mean == 1
    assert found.spread.error == pytest.approx(2**0.5)
    assert difference({0: 1.0}, theirs).spread.error is None, "of one run nothing is known"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({0: 3.0}, {0: 1.0, 1: 9.0}),
        ({0: 3.0, 1: 9.0}, {0: 1.0}),
        ({0: 3.0, 2: 9.0}, {0: 1.0, 1: 0.0}),
    ],
)
def test_one_shared_seed_is_compared_with_itself_alone(
    ours: dict[int | str, float], theirs: dict[int | str, float]
) -> None:
    assert difference(ours, theirs) == Difference(Spread(2.0, None, 1), paired=True)
