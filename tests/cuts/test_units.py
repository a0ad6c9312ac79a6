"""Units: how weights divide, and what stays of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l1prune import L1, GroupL1, Sparsity, find_targets
from l1prune.cuts.units import units_of


def test_single_weights_and_groups_keep_their_shapes() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    targets = find_targets(net)
    weights = [target.parameter.detach() for target in targets]
    for penalty, shapes in ((L1(), [(4, 3), (2, 4)]), (GroupL1(), [(4, 1), (2, 1)])):
        units = units_of(targets, penalty)
        scores = units.scores(weights, {})
        assert [tuple(score.shape) for score in scores] == shapes
        keeps = units.keep(Sparsity(0.5), scores, 1.0)
        assert [tuple(keep.shape) for keep in keeps] == shapes


def test_removed_units_are_worth_less_than_nothing() -> None:
    net = nn.Linear(3, 4)
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[1] = False
    targets = find_targets(net)
    (scores,) = units_of(targets, GroupL1()).scores([net.weight.detach()], {"weight": mask})
    assert (scores < 0).flatten().tolist() == [False, True, False, False]


def test_a_threshold_is_asked_whether_it_can() -> None:
    targets = find_targets(nn.Linear(3, 4))
    with pytest.raises(ValueError, match="lower the sparsity or the floor"):
        units_of(targets, L1()).check(Sparsity(0.99, floor=3))
