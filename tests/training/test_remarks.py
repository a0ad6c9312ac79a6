"""Remarks: who made the zeros is named, and nothing is said where there is nothing to say."""

from __future__ import annotations

import warnings

import pytest
import torch
from tasks import Task, fit
from torch import nn

from l1prune import L1Pruning, Sparsity
from l1prune.training.remarks import remark_on_emptied, remark_on_starved
from l1prune.weights.targets import Target
from l1prune.weights.warning import PruningWarning

MASKS = {"few": torch.tensor([True, False, False]), "many": torch.ones(3).bool()}


def said(*of: str) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        remark_on_starved(of, MASKS)
    return [str(one.message) for one in caught]


def test_a_layer_is_starved_by_the_cut_or_by_pressure() -> None:
    by_cut, by_pressure = said("few", "many")
    assert "the cut left a single weight of few: cut less" in by_cut
    assert "pressure had left a single weight of many" in by_pressure
    assert len(said("few")) == len(said("many")) == 1 and not said()


@pytest.mark.parametrize(("zeros", "told"), [(0, False), (20, False), (21, True), (1000, True)])
def test_zeros_that_no_cut_made_are_counted(zeros: int, told: bool) -> None:
    weight = torch.ones(2000)
    weight[:1000] = 0
    mask = weight != 0
    weight[1000 : 1000 + zeros] = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        remark_on_emptied([Target("w", nn.Parameter(weight))], {"w": mask})
    assert bool(caught) == told
    assert not told or f"{zeros:,} weights that no cut removed" in str(caught[0].message)


@pytest.mark.parametrize(("strength", "told"), [(1e-3, True), (0.0, False)])
def test_what_pressure_empties_and_no_gradient_brings_back_is_told(
    strength: float, told: bool
) -> None:
    task = Task()
    task.net[0].bias.data[:20] = -100.0  # units that no input wakes
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PruningWarning)
        fit(task, callback := L1Pruning(strength, Sparsity(0.3)), epochs=5)
    assert any("no cut removed" in str(one.message) for one in caught) == told
    assert callback.report is not None and (callback.report.sparsity > 0.31) == told
