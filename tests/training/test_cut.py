"""One cut: decided by what the run's criterion says, noted in its masks, no weight changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from l1prune import L1, Global, GroupL1, L1Pruning, Size, Sparsity, Wanda, find_targets
from l1prune.penalties import Penalty
from l1prune.training.cut import cut_
from l1prune.training.run import Run


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 4))


HALF = Sparsity(0.5)


def run(net: nn.Module, threshold: Any = HALF, criterion: Any = None) -> tuple[Run, Any]:
    """A run whose criterion is settled, and its optimizers."""
    optimizers = [torch.optim.SGD(net.parameters(), 0.1)]
    made = L1Pruning(threshold=threshold, criterion=criterion, prune_at=[0.2, 0.4]).run
    made.criterion.settle(made.stages.plan, L1(), 2, False, optimizers)
    return made, optimizers


def gone(made: Run) -> int:
    return sum(int((~mask).sum()) for mask in made.masks.values())


def test_the_masks_are_all_that_changes() -> None:
    net = model()
    before = [w.detach().clone() for w in net.parameters()]
    made, optimizers = run(net)
    cut_(made, L1(), find_targets(net), optimizers, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters()))
    assert gone(made) == 50 and made.rounds_done == 0


def test_a_round_adds_to_those_before() -> None:
    net = model()
    made, optimizers = run(net, Sparsity(0.8))
    cut_(made, L1(), find_targets(net), optimizers, 0.3)
    first = dict(made.masks)
    for weight in (net[0].weight, net[1].weight):
        weight.data = torch.randn_like(weight)
    cut_(made, L1(), find_targets(net), optimizers, 1.0)
    assert gone(made) == 80
    assert all(not (made.masks[name] & ~first[name]).any() for name in first)


def test_layers_compare_as_the_criterion_says_unless_the_threshold_does() -> None:
    for threshold, alike in ((Sparsity(0.5), True), (Sparsity(0.5, scope=Global()), False)):
        net = model()
        net[1].weight.data *= 100
        made, optimizers = run(net, threshold, Wanda())
        cut_(made, L1(), find_targets(net), optimizers, 1.0)
        shares = [mask.float().mean(1) for mask in made.masks.values()]
        assert bool((torch.cat(shares) == 0.5).all()) == alike


@pytest.mark.parametrize("penalty", [L1(), GroupL1(dim=0)], ids=str)
def test_what_the_penalty_presses_as_one_goes_as_one(penalty: Penalty) -> None:
    net = model()
    made, optimizers = run(net, criterion=Size())
    cut_(made, penalty, find_targets(net), optimizers, 1.0)
    rows = torch.cat([mask.all(1) | ~mask.any(1) for mask in made.masks.values()])
    assert bool(rows.all()) == (penalty == GroupL1(dim=0))


def test_negative_zeros_that_stay_become_positive() -> None:
    net = model()
    net[0].weight.data[0] = -0.0
    made, optimizers = run(net, Sparsity(0.01))
    cut_(made, L1(), find_targets(net), optimizers, 1.0)
    assert made.masks["0.weight"][0].any()
    assert not (net[0].weight.signbit() & (net[0].weight == 0)).any()


def test_a_weight_that_diverged_is_named_and_no_mask_is_noted() -> None:
    net = model()
    net[1].weight.data[0, 0] = float("inf")
    made, optimizers = run(net)
    with pytest.raises(ValueError, match=r"1\.weight holds NaN or infinity: training diverged"):
        cut_(made, L1(), find_targets(net), optimizers, 1.0)
    assert not made.masks
