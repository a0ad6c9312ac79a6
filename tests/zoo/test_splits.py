"""Splits: each row is on one side, and both sides are alike."""

from __future__ import annotations

import torch

from l1prune.zoo.splits import held_out


def test_classes_are_held_out_in_the_same_share() -> None:
    labels = (torch.arange(1000) % 10 == 0).long()
    kept, held = held_out(torch.arange(1000), labels, 0.2, seed=0)
    assert int(labels[held].sum()) == 20
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(1000))
