"""FeaturePenalty: the same feature in several layers is one unit, of whatever size."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from l1prune import (
    GroupLogSum,
    L1Pruning,
    LogSum,
    Pressure,
    Proximal,
    Pruning,
    Sparsity,
    find_targets,
)
from l1prune.features.penalty import FeaturePenalty
from l1prune.penalties import L1, MCP, makes_zeros
from l1prune.penalties.joint import JointPenalty, ModelPenalty


class TwoReaders(nn.Module):
    """A network in which two layers see the input."""

    def __init__(self, inputs: int = 6) -> None:
        super().__init__()
        self.first, self.skip = nn.Linear(inputs, 5), nn.Linear(inputs, 3)
        self.last = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu()) + self.skip(x)


def pressed(
    model: nn.Module, penalty: FeaturePenalty, t: float | list[torch.Tensor]
) -> dict[str, torch.Tensor]:
    joined = penalty.join(model)
    weights = [place.weight for place in joined.places]
    copies = [w.detach().clone().double() for w in weights]
    joined.prox_all_(weights, copies, [t] * len(weights) if isinstance(t, float) else t)
    return {place.name: w for place, w in zip(joined.places, copies)}


def test_it_is_a_penalty_that_has_to_know_the_model() -> None:
    penalty = FeaturePenalty(MCP(0.3), layer=("first", "skip"))
    assert isinstance(penalty, ModelPenalty) and not isinstance(penalty, JointPenalty)
    assert isinstance(penalty.join(TwoReaders()), JointPenalty)
    assert pickle.loads(pickle.dumps(penalty)) == penalty and makes_zeros(penalty)


@pytest.mark.parametrize("t", [1e-3, 0.1, 0.3])
def test_columns_of_one_layer_are_those_of_the_group_penalty(t: float) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 5)
    (mine,) = pressed(layer, FeaturePenalty(LogSum(0.2)), t).values()
    theirs = GroupLogSum(dim=1, eps=0.2).prox_(layer.weight.detach().clone().double(), t)
    torch.testing.assert_close(mine, theirs)
    uneven = torch.rand(5, 6, dtype=torch.float64)
    (mine,) = pressed(layer, FeaturePenalty(LogSum(0.2)), [uneven]).values()
    theirs = GroupLogSum(dim=1, eps=0.2).prox_(layer.weight.detach().clone().double(), uneven)
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("uneven", [False, True])
def test_a_feature_minimises_its_own_objective_over_all_its_weights(uneven: bool) -> None:
    torch.manual_seed(1)
    model = TwoReaders().double()
    penalty, t = FeaturePenalty(LogSum(0.1), ("first", "skip"), [[1, 4, 2]]), 0.1
    steps = [torch.full_like(model.first.weight, t), torch.full_like(model.skip.weight, t)]
    if uneven:
        steps = [torch.rand_like(one) * t for one in steps]
    found = pressed(model, penalty, steps if uneven else t)
    for columns in ([0], [1, 2, 4], [3], [5]):
        w, x, s = (
            torch.cat([one[:, columns].flatten() for one in some])
            for some in ((model.first.weight, model.skip.weight), found.values(), steps)
        )

        def cost(x: torch.Tensor, w: torch.Tensor = w, s: torch.Tensor = s) -> torch.Tensor:
            size = x.square().mean(-1).sqrt()
            each = 0.1 * (size / 0.1).log1p() * len(w)
            return each + ((x - w).square() / (2 * s)).sum(-1)

        mu = torch.logspace(-4, 6, 4000, dtype=w.dtype)[:, None]
        others = torch.cat([w / (1 + mu * s), torch.zeros_like(w)[None]])
        assert cost(x) <= cost(others).min() * (1 + 1e-6)


def test_a_feature_leaves_all_layers_at_once() -> None:
    torch.manual_seed(0)
    model = TwoReaders(20)
    penalty = FeaturePenalty(L1(), ("first", "skip"), [[0, 1], [2, 3, 4]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    joined = penalty.join(model)
    targets = find_targets(model, joined.rules(None))
    pressure = Pressure(optimizer, targets, joined, strength=1.0, form=Proximal())
    x = torch.randn(64, 20)
    y = x[:, [0]] * torch.tensor([[1.0, -2.0, 1.0]])
    for _ in range(60):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    pressure.remove()
    in_first, in_skip = model.first.weight.any(0), model.skip.weight.any(0)
    alive = in_first | in_skip
    assert alive[:2].all() and not alive[2:5].any() and 2 <= alive.sum() < 20
    assert torch.equal(in_first, in_skip)


def test_cuts_count_features() -> None:
    torch.manual_seed(0)
    model = TwoReaders(10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    penalty = FeaturePenalty(layer=("first", "skip"), groups=[[0, 9]])
    pruning = Pruning(
        threshold=Sparsity(2 / 3), penalty=penalty
    )  # nine features, of which three stay
    x = torch.randn(32, 10)
    with pruning.attached(model, optimizer, steps=60, steps_per_pass=10):
        for _ in range(60):
            optimizer.zero_grad()
            (model(x) - x[:, [0]]).square().mean().backward()
            optimizer.step()
    alive = model.first.weight.any(0)
    assert torch.equal(alive, model.skip.weight.any(0)) and alive[0] == alive[9]
    assert len({*alive.nonzero().flatten().tolist()} - {9}) == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no such weight"):
        FeaturePenalty(layer="nowhere").join(TwoReaders())
    with pytest.raises(ValueError, match="see the same inputs"):
        FeaturePenalty(layer=("first", "last")).join(TwoReaders())
    with pytest.raises(ValueError, match="3 is there twice"):
        FeaturePenalty(groups=[[0, 3], [3, 4]]).join(TwoReaders())
    with pytest.raises(ValueError, match=r"leaves out first\.weight"):
        FeaturePenalty().join(TwoReaders()).rules(["last"])
    assert L1Pruning(penalty=FeaturePenalty()).recipe.penalty == FeaturePenalty()
