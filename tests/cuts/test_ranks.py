"""Weights of which nothing is known are worth what known ones of the same rank are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l1prune.cuts.ranks import by_rank
from l1prune.weights.targets import Target


def target(name: str, *shape: int, seed: int) -> Target:
    generator = torch.Generator().manual_seed(seed)
    return Target(name, nn.Parameter(torch.randn(*shape, generator=generator)))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_a_layer_keeps_no_more_than_its_share(share: float, scale: float) -> None:
    known = [target("a", 40, 50, seed=0), target("b", 30, 10, seed=1)]
    rest = target("c", 70, 20, seed=2)
    # Few weights are worth nearly all, as the squares of gradients have it.
    worth = [scale * one.parameter.detach().abs() ** 8 for one in known]
    given = by_rank([rest], known, worth)["c"]
    everything = torch.cat([*(one.flatten() for one in worth), given.flatten()])
    limit = everything.quantile(1 - share)
    assert (given > limit).sum() <= share * given.numel() + 1
    if share >= 0.05:
        assert (given > limit).sum() >= 0.8 * share * given.numel()


def test_the_order_of_its_weights_is_that_of_their_sizes() -> None:
    known, rest = target("a", 40, 50, seed=0), target("b", 30, 10, seed=1)
    given = by_rank([rest], [known], [known.parameter.detach().abs()])["b"].flatten()
    order = rest.parameter.detach().abs().flatten().argsort()
    assert bool((given[order].diff() >= 0).all())


def test_where_all_is_known_nothing_is_given() -> None:
    known = target("a", 3, 3, seed=0)
    assert by_rank([], [known], [known.parameter.detach()]) == {}
