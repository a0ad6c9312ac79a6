"""Widths: as many as can be shortened together are, and each other one says why not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l1prune.deploy.widths import Width, most

PARTS = [Width(((f"layer{number}", 0),), torch.tensor([number])) for number in range(9)]


@settings(deadline=None, derandomize=True)
@given(st.sets(st.sampled_from(PARTS)))
def test_all_but_those_at_fault_are_chosen(faulty: set[Width]) -> None:
    def refusal(some: Sequence[Width]) -> str | None:
        bad = [str(one) for one in some if one in faulty]
        return f"because of {bad}" if bad else None

    chosen, refused = most(PARTS, refusal)
    assert chosen == [part for part in PARTS if part not in faulty]
    assert set(refused) == faulty
    assert all(reason == f"because of {[str(part)]}" for part, reason in refused.items())


def test_of_two_that_exclude_each_other_the_first_is_chosen() -> None:
    pair = {PARTS[2], PARTS[6]}
    chosen, refused = most(PARTS, lambda some: "both" if pair <= set(some) else None)
    assert PARTS[2] in chosen and list(refused) == [PARTS[6]]
    assert len(chosen) == len(PARTS) - 1


def test_if_all_can_go_one_look_is_enough() -> None:
    looks: list[int] = []

    def refusal(some: Sequence[Width]) -> None:
        looks.append(len(some))

    assert most(PARTS, refusal) == (PARTS, {}) and looks == [9]
