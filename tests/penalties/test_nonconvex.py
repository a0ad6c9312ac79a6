"""Non-convex penalties: the global minimum, found independently, and large weights left alone."""

import math

import pytest
import torch
from penalty_samples import weights

from l1prune.penalties import L1, MCP, SCAD, LogSum, TransformedL1

NONCONVEX = [
    LogSum(),
    LogSum(eps=1e-3),
    LogSum(eps=3.0),
    TransformedL1(),
    TransformedL1(a=1e-3),
    TransformedL1(a=3.0),
    MCP(),
    MCP(gamma=1e-3),
    MCP(gamma=3.0),
    SCAD(),
    SCAD(knee=1e-3, a=1.5),
    SCAD(knee=3.0),
]
every_nonconvex = pytest.mark.parametrize("penalty", NONCONVEX, ids=repr)
STEPS = [1e-6, 1e-3, 0.02, 0.15, 0.5, 3.0, 1e6]


def cost(penalty, x, w, t):
    """What the step minimises, per weight: t·value(x) + (x − w)²/2."""
    each = torch.func.vmap(penalty.value)(x.reshape(-1)).view(x.shape)
    return t * each + (x - w).square() / 2


def least_cost(penalty, w, t):
    """By search between 0 and w: a grid, then finer grids around the best point. (n,) → (n,)"""
    low, high = torch.zeros_like(w), w
    share = torch.linspace(0, 1, 501, dtype=w.dtype)
    for _ in range(3):
        x = low[:, None] + share * (high - low)[:, None]
        costs = cost(penalty, x, w[:, None], t)
        best = costs.argmin(1)
        step = (high - low) / 500
        middle = x.gather(1, best[:, None])[:, 0]
        low, high = (middle - step).clamp(min=0), torch.minimum(middle + step, w)
    return costs.amin(1)


@every_nonconvex
@pytest.mark.parametrize("t", STEPS)
def test_a_step_finds_the_global_minimum(penalty, t):
    w = torch.logspace(-4, 2, 80, dtype=torch.float64)
    x = penalty.prox_(w.clone(), t)
    reached, least = cost(penalty, x, w, t), least_cost(penalty, w, t)
    assert (reached <= least * (1 + 1e-9)).all()
    assert torch.equal(penalty.prox_(-w, t), -x)


@every_nonconvex
@pytest.mark.parametrize("t", STEPS)
def test_what_survives_is_balanced_exactly(penalty, t):
    """Away from zero the minimum is stationary: |w| − |x| = t·slope(x)."""
    w = torch.logspace(-4, 3, 500, dtype=torch.float64)
    x = penalty.prox_(w.clone(), t).requires_grad_()
    (slope,) = torch.autograd.grad(penalty.value(x), x)
    alive = x.detach() > 0
    moved = (w - x.detach())[alive]
    torch.testing.assert_close(moved, (t * slope)[alive], rtol=1e-6, atol=1e-12)


@every_nonconvex
def test_tiny_steps_do_not_drown_in_rounding(penalty):
    w = weights(10_000, dtype=torch.float32)
    exact = penalty.prox_(w.double(), 1e-6)
    x = penalty.prox_(w.clone(), 1e-6)
    assert ((x.double() - exact).abs() <= 1e-7 * w.abs() + 1e-12).all()


@every_nonconvex
def test_large_weights_are_left_alone(penalty):
    scale = max(vars(penalty).values()) * vars(penalty).get("knee", 1)
    w = torch.tensor([50 * scale], dtype=torch.float64)
    t = scale / 10
    assert w - penalty.prox_(w.clone(), t) < 0.03 * t
    assert w - L1().prox_(w.clone(), t) > 0.99 * t


@pytest.mark.parametrize("family", [LogSum, TransformedL1, MCP, SCAD])
def test_a_wide_penalty_is_l1(family):
    w = weights(100)
    wide = family(1e9)
    torch.testing.assert_close(wide.value(w), L1().value(w), rtol=1e-6, atol=0)
    torch.testing.assert_close(wide.prox_(w.clone(), 0.1), L1().prox_(w, 0.1), rtol=1e-6, atol=1e-8)


def test_costs_at_their_own_scale():
    """Points at which the papers' formulas are known by name."""
    one = torch.tensor([0.5], dtype=torch.float64)
    assert math.isclose(LogSum(eps=0.5).value(one), 0.5 * math.log(2))
    assert math.isclose(TransformedL1(a=0.5).value(one), 0.25)  # half of its limit
    assert MCP(gamma=0.5).value(one) == MCP(gamma=0.5).value(9 * one) == 0.25  # γ/2, the limit


def test_mcp_is_firm_below_its_scale_and_hard_above():
    w = torch.tensor([0.5, 1.5, 3.0], dtype=torch.float64)
    assert MCP(gamma=2.0).prox_(w.clone(), 1.0).tolist() == [0.0, 1.0, 3.0]
    assert MCP(gamma=0.5).prox_(w.clone(), 4.0).tolist() == [0.0, 1.5, 3.0]  # √(γt) = 1.41


def test_scad_is_soft_up_to_the_knee_and_nothing_at_its_end():
    w = torch.tensor([0.5, 1.5, 3.5, 5.0], dtype=torch.float64)
    assert SCAD(knee=1.0, a=4.0).prox_(w.clone(), 1.0).tolist() == [0.0, 0.5, 3.25, 5.0]
    # Beyond a step of (a − 1)·knee there is nothing between: zero below √(2t·value), w above.
    assert SCAD(knee=1.0, a=4.0).prox_(w.clone(), 4.5).tolist() == [0.0, 0.0, 0.0, 5.0]


@pytest.mark.parametrize("a", [1.0, 0.5, math.inf])
def test_scad_falls_beyond_its_knee(a):
    with pytest.raises(ValueError, match=rf"SCAD\(a={a}\): .*above 1"):
        SCAD(a=a)


@pytest.mark.parametrize("value", [0.0, -0.1, math.inf, math.nan])
@pytest.mark.parametrize(
    ("family", "name"), [(LogSum, "eps"), (TransformedL1, "a"), (MCP, "gamma"), (SCAD, "knee")]
)
def test_a_scale_is_positive_and_finite(family, name, value):
    with pytest.raises(ValueError, match=rf"{family.__name__}\({name}={value}\): .*positive"):
        family(value)
