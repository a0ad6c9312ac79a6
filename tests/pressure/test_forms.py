"""Forms: how a penalty enters a step, in the right amount in any type of number."""

from __future__ import annotations

import pytest
import torch
from descent import model
from torch import nn

from l1prune.pressure.forms import Proximal
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import find_targets


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_by_default_a_run_minimises_loss_plus_strength_times_penalty(name: str) -> None:
    """Of ½(w − a)² + λ·|w| the minimum is a, soft-thresholded by λ: whatever the optimizer."""
    make = {"AdamW": lambda w, lr: torch.optim.AdamW(w, lr=lr, weight_decay=0.0)}
    a = torch.tensor([[3.0, -1.0, 0.4, -0.2, 0.0]], dtype=torch.float64)
    w = torch.nn.Linear(5, 1, bias=False).double()
    lr = 1.0 if name == "Adagrad" else 0.1  # which slows down by itself
    optimizer = make.get(name, getattr(torch.optim, name))(w.parameters(), lr=lr)
    Pressure(optimizer, find_targets(w), strength=0.5)
    for step in range(2000):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / 2000)
        w.weight.grad = w.weight.detach() - a
        optimizer.step()
    expected = torch.tensor([[2.5, -0.5, 0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(w.weight.detach(), expected, atol=2e-3, rtol=0.0)
    assert int(w.weight.count_nonzero()) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("amount", [1e-3, 1e-5])
def test_halves_shrink_by_the_right_amount_in_the_mean(dtype: torch.dtype, amount: float) -> None:
    layer = nn.Linear(200, 200, bias=False, dtype=dtype)
    layer.weight.data.fill_(0.75)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    Pressure(optimizer, find_targets(layer), strength=amount)
    layer.weight.grad = torch.zeros_like(layer.weight)
    for _ in range(20):
        optimizer.step()
    lost = 0.75 - layer.weight.double().mean().item()
    assert lost == pytest.approx(20 * amount, rel=0.25)


def test_halves_leave_the_users_random_stream_alone_and_repeat_themselves() -> None:
    made = []
    for _ in range(2):
        net = model().to(torch.bfloat16)
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
        Pressure(optimizer, find_targets(net), strength=1e-4)
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        torch.manual_seed(3)
        for _ in range(5):
            optimizer.step()
        made.append((net[0].weight.clone(), torch.rand(1)))
    torch.manual_seed(3)
    assert torch.equal(made[0][0], made[1][0])
    assert made[0][1] == made[1][1] == torch.rand(1)


def test_an_optimizer_without_a_known_metric_is_refused_with_the_remedy() -> None:
    net = model()
    with pytest.raises(ValueError, match=r"Rprop has no known metric; use Euclidean"):
        Pressure(
            torch.optim.Rprop(net.parameters()),
            find_targets(net),
            form=Proximal(OptimizerMetric()),
        )
