"""The strength of a run: as a schedule of progress says, or as passes make it grow."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from l1prune import (
    L1,
    ChannelL1,
    GroupL1,
    L1Pruning,
    LogSum,
    OptimizerMetric,
    Proximal,
    Sparsity,
)
from l1prune.cuts.plans import as_plan
from l1prune.pressure.forms import Form
from l1prune.pressure.schedules import ByPasses
from l1prune.training.strength import Moment, as_strength
from l1prune.weights.targets import Target


def test_strength_by_passes_grows_with_them_and_no_further_than_it_should() -> None:
    assert ByPasses(limit=math.inf).after(60) == 1e-4
    strength = as_strength(ByPasses(0.1, 10), as_plan(Sparsity(0.9)), L1(), None)
    seen = []
    for passes in (0.0, 1.0, 5.0, 10.0, 20.0):
        strength.advance(Moment(0.5, 100, passes), [], {})
        seen.append(strength.value)
    assert seen == pytest.approx([0.0, 0.001, 0.025, 0.1, 0.1])


def test_only_strength_by_passes_has_a_limit() -> None:
    plan = as_plan(Sparsity(0.9))
    assert as_strength(ByPasses(), plan, L1(), None).limit == 0.05
    assert as_strength(ByPasses(limit=0.3), plan, L1(), None).limit == 0.3
    assert as_strength(1e-4, plan, L1(), None).limit == math.inf
    with pytest.raises(ValueError, match="limit"):
        ByPasses(limit=0)


@pytest.mark.parametrize(
    ("kinds", "form", "most"),
    [
        ([Adam], None, 1e-3),
        ([SGD], None, 1e-4),
        ([Adam, SGD], None, 1e-4),
        ([Adam], Proximal(OptimizerMetric()), 1e-4),
        ([], None, 1e-3),
    ],
)
def test_strength_by_passes_is_as_large_as_a_limit_makes_safe(
    kinds: list[type[Optimizer]], form: Form | None, most: float
) -> None:
    weights = [nn.Parameter(torch.zeros(1)) for _ in kinds]
    optimizers = [kind([w], lr=0.1) for kind, w in zip(kinds, weights, strict=True)]  # type: ignore[call-arg]
    targets = [Target(f"{n}", w) for n, w in enumerate(weights)]
    for growth, expected in ((ByPasses(), most), (ByPasses(3e-4), 3e-4)):
        strength = as_strength(growth, as_plan(Sparsity(0.9)), L1(), None)
        strength.settle(optimizers, targets, form)
        strength.advance(Moment(0.5, 100, 5.0), [], {})
        assert strength.value == expected


def test_an_optimizer_of_other_weights_does_not_matter() -> None:
    pressed, other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    strength = as_strength(ByPasses(), as_plan(Sparsity(0.9)), L1(), None)
    strength.settle([Adam([pressed]), SGD([other], lr=0.1)], [Target("w", pressed)], None)
    strength.advance(Moment(0.5, 100, 5.0), [], {})
    assert strength.value == 1e-3


def test_whole_units_are_pressed_less_than_weights() -> None:
    """What is zero before it is due takes along what the next cut was not to."""
    pressed = [None, LogSum(), GroupL1(), ChannelL1()]
    strengths = [L1Pruning(penalty=penalty).recipe.strength for penalty in pressed]
    units, channels = ByPasses(1e-4, limit=0.1), ByPasses(2e-5, limit=0.1)
    assert strengths == [ByPasses(), ByPasses(), units, channels]


@pytest.mark.parametrize("arguments", [(-1.0, 30), (0.1, 0), (float("nan"), 30), (0.1, "30")])
def test_strength_by_passes_refuses_nonsense(arguments: Any) -> None:
    with pytest.raises(ValueError, match="ByPasses takes"):
        ByPasses(*arguments)
