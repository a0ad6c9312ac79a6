"""FeatureUnits: a feature counts as one, is worth what all its weights are, goes as a whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l1prune import Count, Sparsity, find_targets
from l1prune.features.entries import Entries
from l1prune.features.places import places_of
from l1prune.features.units import FeatureUnits


def test_features_are_cut_by_number_and_those_gone_stay_gone() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    places, targets = places_of(layer), find_targets(layer)
    units = FeatureUnits(Entries(places, torch.tensor([0, 0, 0, 1, 2])), places, targets)
    worth = [torch.ones(3, 5) * torch.tensor([1.0, 1.0, 1.0, 2.0, 3.0])]
    scores = units.scores(worth, {})
    root = pytest.approx(3**0.5)
    assert scores[0].tolist() == [root, 2.0, 3.0]
    (mask,) = units.keep(Sparsity(1 / 3), scores, 1.0)
    assert mask.any(0).tolist() == [False, False, False, True, True]
    gone = {"weight": mask & torch.tensor([True, True, True, True, False])}
    assert units.scores(worth, gone)[0].tolist() == [-1.0, 2.0, -1.0]


def test_many_inputs_that_are_worth_little_each_outdo_one_that_is_worth_more() -> None:
    layer = nn.Linear(13, 3)
    places, targets = places_of(layer), find_targets(layer)
    units = FeatureUnits(Entries(places, torch.tensor([0] + [1] * 12)), places, targets)
    worth = [torch.tensor([2.0] + [1.0] * 12).expand(3, 13)]  # squares, 4 and 12, are what is lost
    (mask,) = units.keep(Count(1), units.scores(worth, {}), 1.0)
    assert mask.any(0).tolist() == [False] + [True] * 12
