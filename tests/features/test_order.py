"""Order: a feature is worth what it was when it left the last time."""

from __future__ import annotations

import numpy as np
import torch

from l1prune.features.order import Order, standings_of


def seen(*steps: list[float], least: float = 0.0) -> Order:
    order = Order(len(steps[0]), least)
    for step, sizes in enumerate(steps):
        order.note(step, torch.tensor(sizes))
    return order


def test_what_comes_back_counts_from_its_last_leave() -> None:
    order = seen([1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    assert order.ranked().tolist() == [2, 0, 1] and order.left.tolist() == [3, 2, -1]


def test_what_one_step_makes_of_a_zero_is_no_return() -> None:
    order = seen([1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.01, 0.0], [0.0, 0.0], least=0.02)
    assert order.ranked().tolist() == [1, 0]


def test_those_that_are_there_rank_by_size() -> None:
    assert seen([0.5, 2.0, 1.0]).ranked().tolist() == [1, 2, 0]
    assert seen([0.5, 2.0, 1.0], [0.5, 0.0, 0.0]).ranked().tolist() == [0, 1, 2]


def test_what_is_chosen_is_first_and_the_others_follow_in_their_order() -> None:
    standings = standings_of(np.array([4, 1]), np.array([1, 3, 4, 0, 2]))
    assert standings.tolist() == [3, 1, 4, 2, 1]
    assert standings_of(np.array([], dtype=int), np.array([1, 0])).tolist() == [3, 2]
