"""Concave penalties of units: the global minimum, for one step and for steps that differ."""

import pytest
import torch
from penalty_samples import weights

from l1prune.penalties import MCP, GroupLogSum, GroupMCP, GroupSCAD, LogSum

CONCAVE = [
    GroupLogSum(),
    GroupLogSum(eps=1.0),
    GroupMCP(),
    GroupMCP(gamma=2.0),
    GroupSCAD(),
    GroupSCAD(knee=0.5),
]
every_concave = pytest.mark.parametrize("penalty", CONCAVE, ids=repr)


def objective(penalty, x: torch.Tensor, w: torch.Tensor, t: float | torch.Tensor) -> torch.Tensor:
    """What a step minimises, of each row: value(x) + Σ (x − w)²/2t; of many x at once."""
    rows = x.reshape(-1, 1, x.shape[-1])
    cost = torch.func.vmap(penalty.value)(rows).view(x.shape[:-1])
    return cost + ((x - w).square() / (2 * t)).sum(-1)


@every_concave
@pytest.mark.parametrize("t", [1e-3, 0.05, 0.5, 5.0])
def test_a_unit_is_as_small_as_a_weight_of_its_size(penalty, t):
    w = weights(60, 7, seed=2)
    x = penalty.prox_(w.clone(), t)
    sizes = w.square().mean(1).sqrt()
    expected = penalty.single.prox_(sizes.clone(), t)
    torch.testing.assert_close(x.square().mean(1).sqrt(), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(x * sizes[:, None], w * expected[:, None], rtol=1e-9, atol=1e-12)
    # The minimiser points along w: what is left to find is how much of w stays.
    reached = objective(penalty, x, w, t)
    shares = torch.linspace(0, 1, 301, dtype=w.dtype)[:, None, None]
    assert (reached <= objective(penalty, shares * w, w, t) * (1 + 1e-12)).all()


def uneven(spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(60, 5, dtype=torch.float64, generator=generator)
    w *= 10 ** torch.randn(60, 1, dtype=w.dtype, generator=generator)
    return w, 0.2 * 10 ** (spread * torch.randn(w.shape, dtype=w.dtype, generator=generator))


@every_concave
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_uneven_steps_find_the_lowest_of_all_minima(penalty, spread):
    """Every minimum is w/(1 + μt) for some μ, or zero: there is none below on a fine grid of μ."""
    w, t = uneven(spread)
    x = penalty.prox_(w.clone(), t)
    reached = objective(penalty, x, w, t)
    assert (reached <= objective(penalty, torch.zeros_like(w), w, t) * (1 + 1e-9)).all()
    assert (reached <= objective(penalty, w, w, t)).all()
    mu = torch.logspace(-7, 7, 1500, dtype=w.dtype)[:, None, None]
    assert (reached <= objective(penalty, w / (1 + mu * t), w, t) * (1 + 1e-7)).all()
    assert 0 < (x == 0).all(1).sum() < len(w)


@every_concave
def test_what_survives_uneven_steps_is_balanced(penalty):
    """Away from zero the minimum is stationary: (w − x)/t is the slope of the cost."""
    w, t = uneven(0.5)
    x = penalty.prox_(w.clone(), t)
    alive = (x != 0).any(1)
    point = x[alive].requires_grad_()
    (slope,) = torch.autograd.grad(penalty.value(point), point)
    torch.testing.assert_close((w - x)[alive], (t[alive] * slope), rtol=1e-6, atol=1e-9)


def test_units_of_one_weight_are_the_penalty_of_a_weight():
    w, t = weights(40, 1), weights(40, 1, seed=1).abs()
    for group, single in ((GroupLogSum(eps=0.2), LogSum(0.2)), (GroupMCP(gamma=0.2), MCP(0.2))):
        x, each = group.prox_(w.clone(), t), single.prox_(w.clone(), t)
        torch.testing.assert_close(x, each, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(group.value(w), single.value(w))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: GroupLogSum(eps=0.0), "eps=0.0"),
        (lambda: GroupMCP(gamma=-1.0), "gamma=-1.0"),
        (lambda: GroupSCAD(a=1.0), "a=1.0"),
        (lambda: GroupSCAD(block=0), r"GroupSCAD\(block=0\)"),
    ],
)
def test_a_scale_that_makes_no_sense_is_refused_at_once(made, message):
    with pytest.raises(ValueError, match=message):
        made()
