"""The subgradient is the penalty in the loss, and makes no zeros."""

from __future__ import annotations

import pytest
import torch
from descent import loss, model, train, zeros

from l1prune.penalties import L1, L2, ElasticNet
from l1prune.pressure.pressure import Pressure
from l1prune.pressure.subgradient import Subgradient
from l1prune.weights.targets import find_targets


def test_the_subgradient_makes_none() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    Pressure(optimizer, find_targets(net), strength=1.0, form=Subgradient())
    train(net, optimizer, 40)
    assert zeros(net) == 0


@pytest.mark.parametrize("penalty", [L1(), L2(), ElasticNet(0.3)], ids=str)
def test_the_subgradient_form_is_the_penalty_in_the_loss(penalty: L1) -> None:
    ours, textbook = model(), model()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    Pressure(optimizer, find_targets(ours), penalty, 0.01, Subgradient())
    train(ours, optimizer, 3)
    other = torch.optim.SGD(textbook.parameters(), lr=0.1)
    for seed in range(3):
        other.zero_grad()
        weights = [t.parameter for t in find_targets(textbook)]
        (loss(textbook, seed) + 0.01 * sum(penalty.value(w) for w in weights)).backward()
        other.step()
    for a, b in zip(ours.parameters(), textbook.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_subgradient_is_scaled_like_a_fused_optimizers_gradient() -> None:
    scaled, plain = model(), model()
    for net, scaler in ((scaled, torch.amp.GradScaler("cpu")), (plain, None)):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=True)
        Pressure(optimizer, find_targets(net), strength=0.01, form=Subgradient())
        if scaler is None:
            loss(net, 0).backward()
            optimizer.step()
        else:
            scaler.scale(loss(net, 0)).backward()
            scaler.step(optimizer)
    for a, b in zip(scaled.parameters(), plain.parameters()):
        assert torch.allclose(a, b, atol=1e-6)
