"""What is true of every penalty; four files beside this one add what is true of some."""

import dataclasses
import math
import pickle

import pytest
import torch
from penalty_samples import (
    GROUPED,
    PENALTIES,
    SEPARABLE,
    STEPS,
    every_penalty,
    every_separable,
    weights,
)

from l1prune.penalties import (
    L1,
    L2,
    MCP,
    ElasticNet,
    GroupL1,
    LogSum,
    Penalty,
    TransformedL1,
    makes_zeros,
)


def bits(w: torch.Tensor) -> torch.Tensor:
    return w.view(torch.int64)


def has_negative_zero(w: torch.Tensor) -> bool:
    return bool(((w == 0) & w.signbit()).any())


@every_penalty
@pytest.mark.parametrize("zero", [0, 0.0, torch.tensor(0.0)], ids=["int", "float", "0-d"])
def test_a_step_of_zero_changes_no_bit(penalty, zero):
    w = weights(6, 8)
    w[0, :4] = torch.tensor([-0.0, math.inf, -math.inf, math.nan])
    before = w.clone()
    penalty.prox_(w, zero)
    assert torch.equal(bits(w), bits(before))


@every_penalty
def test_steps_that_are_all_zero_change_no_value(penalty):
    w = weights(6, 8)
    w[2] = 0.0
    w[:, 5] = 0.0
    for shape in ((6, 8), (6, 1), (8,), (1, 1)):
        assert torch.equal(penalty.prox_(w.clone(), torch.zeros(shape)), w)


@every_penalty
def test_an_infinite_step_leaves_only_zeros(penalty):
    for t in (math.inf, torch.tensor(math.inf), torch.full((6, 8), math.inf)):
        assert not penalty.prox_(weights(6, 8, dtype=torch.float32), t).any()


@every_penalty
@pytest.mark.parametrize("t", STEPS)
def test_weights_that_are_zero_stay_zero(penalty, t):
    w = torch.zeros(6, 8)
    assert not penalty.prox_(w, t).any()
    assert not penalty.prox_(w, torch.rand(6, 8, generator=torch.Generator().manual_seed(0))).any()


@every_penalty
@pytest.mark.parametrize("t", STEPS)
def test_a_step_shrinks_and_never_crosses_zero(penalty, t):
    w = weights(6, 8)
    x = penalty.prox_(w.clone(), t)
    assert (x.abs() <= w.abs()).all() and (x * w >= 0).all()
    assert not torch.equal(x, w)


@every_penalty
@pytest.mark.parametrize("t", STEPS)
def test_one_step_for_all_equals_the_same_step_for_each(penalty, t):
    one = penalty.prox_(weights(6, 8), t)
    for shape in ((), (8,), (6, 1), (6, 8)):
        each = penalty.prox_(weights(6, 8), torch.full(shape, t, dtype=torch.float64))
        torch.testing.assert_close(each, one, rtol=1e-9, atol=1e-15)
        assert torch.equal(each == 0, one == 0)


@every_penalty
@pytest.mark.parametrize("t", STEPS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_every_dtype_gives_the_exact_result_rounded(penalty, dtype, t):
    # The step, too, is rounded to the weight's dtype by the one-pass soft threshold.
    w, t = weights(6, 8, dtype=dtype), float(torch.tensor(t, dtype=dtype))
    exact = penalty.prox_(w.double(), t)
    x = penalty.prox_(w, t)
    assert x is w and x.dtype == dtype
    each = penalty.prox_(weights(6, 8, dtype=dtype), torch.full((6, 8), t))
    eps = torch.finfo(dtype).eps
    for result in (x, each):
        torch.testing.assert_close(
            result.double(), exact, rtol=2 * eps, atol=2 * eps * (t % 1) + 1e-7
        )
    torch.testing.assert_close(
        penalty.value(w).double(), penalty.value(w.double()), rtol=1e-5, atol=1e-7
    )


@every_penalty
@pytest.mark.parametrize("t", [1e9, 1e39])
def test_a_step_beyond_the_range_of_the_dtype_is_an_infinite_one(penalty, t):
    w = torch.tensor([[-1.0, 2.0, 3e-2, 4.0]], dtype=torch.float16)
    assert penalty.prox_(w, t).abs().max() < 1e-6


@every_penalty
@pytest.mark.parametrize("shape", [(0, 8), (6, 0), (0, 0)])
def test_nothing_has_no_cost_and_stays_nothing(penalty, shape):
    w = torch.empty(shape)
    assert penalty.value(w) == 0 and penalty.value(w).shape == ()
    assert penalty.prox_(w, 0.1) is w and penalty.prox_(w, torch.empty(shape)) is w
    assert penalty.score(w).expand_as(w).shape == shape


@every_penalty
def test_a_parameter_is_changed_in_place_and_stays_a_leaf(penalty):
    w = torch.nn.Parameter(weights(6, 8))
    w.grad = torch.ones(6, 8, dtype=w.dtype)
    address = w.data_ptr()
    assert penalty.prox_(w, 0.05) is w and penalty.prox_(w, torch.full((6, 8), 0.05)) is w
    assert w.is_leaf and w.requires_grad and w.data_ptr() == address and bool((w.grad == 1).all())


@every_penalty
@pytest.mark.parametrize("t", [0.05, torch.full((6, 8), 0.05)], ids=["one", "each"])
def test_nan_is_not_hidden(penalty, t):
    w = weights(6, 8)
    w[1, 2] = math.nan
    x = penalty.prox_(w, t)
    assert x[1, 2].isnan()
    if penalty in SEPARABLE:
        assert x.isnan().sum() == 1


@every_separable
@pytest.mark.parametrize("t", [0.05, 30.0, torch.full((2,), 0.05)], ids=["small", "large", "each"])
def test_an_infinite_weight_stays_infinite(penalty, t):
    w = torch.tensor([math.inf, -math.inf])
    assert penalty.prox_(w, t).tolist() == [math.inf, -math.inf]


@every_penalty
def test_zeros_carry_no_sign(penalty):
    w = weights(6, 8)
    assert not has_negative_zero(penalty.prox_(w.clone(), torch.full((6, 8), 0.1)))
    if not isinstance(penalty, L1 | ElasticNet):  # their single pass over memory leaves it there
        assert not has_negative_zero(penalty.prox_(w.clone(), 0.1))


@every_penalty
@pytest.mark.parametrize("t", [-1e-3, math.nan, torch.tensor(-1.0)], ids=str)
def test_a_step_that_cannot_be_is_refused(penalty, t):
    with pytest.raises(ValueError, match=r"t=.* learning rate"):
        penalty.prox_(weights(6, 8), t)


@every_separable
@pytest.mark.parametrize("t", STEPS)
def test_larger_weights_stay_larger(penalty, t):
    w = weights(1000).sort().values
    assert (penalty.prox_(w, t).diff() >= 0).all()


@every_separable
def test_a_single_weight_may_have_no_dimension(penalty):
    w = torch.tensor(-0.5)
    assert penalty.prox_(w, 0.1).shape == () and -0.5 <= w < 0
    assert penalty.score(w).shape == penalty.value(w).shape == ()


@every_penalty
def test_cost_is_even_and_differentiable_even_at_zero(penalty):
    w = weights(6, 8)
    w[0] = 0.0
    assert penalty.value(w) == penalty.value(-w) > 0
    w.requires_grad_()
    (slope,) = torch.autograd.grad(penalty.value(w), w)
    assert slope.isfinite().all() and (slope * w >= 0).all() and not slope[0].any()


@every_penalty
def test_slope_at_zero_is_one_so_that_strengths_compare(penalty):
    w = torch.full((6, 8), 1e-9, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(penalty.value(w), w)
    expected = {L2: 0.0, ElasticNet: getattr(penalty, "l1_ratio", None)}.get(type(penalty), 1.0)
    torch.testing.assert_close(slope, torch.full_like(w, expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("penalty", [L1(), LogSum(), TransformedL1(), MCP(), *GROUPED], ids=repr)
def test_small_steps_zero_what_scores_at_most_the_step(penalty):
    w = weights(60, 8)
    score = penalty.score(w).expand_as(w)
    t = float(score.quantile(0.37))  # below the scale of the non-convex ones
    assert torch.equal(penalty.prox_(w.clone(), t) == 0, score <= t)
    assert (score <= t).any() and (score > t).any()


@every_penalty
def test_a_penalty_is_a_value(penalty):
    assert isinstance(penalty, Penalty)
    assert pickle.loads(pickle.dumps(penalty)) == penalty == dataclasses.replace(penalty)
    assert len({penalty, dataclasses.replace(penalty)}) == 1
    assert [other for other in PENALTIES if other == penalty] == [penalty]
    assert penalty not in [ElasticNet(0.2), GroupL1(block=3), LogSum(0.2), TransformedL1(1), MCP(1)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        penalty.strength = 1.0


@every_penalty
def test_only_l2_makes_no_zeros(penalty):
    assert makes_zeros(penalty) == (penalty != L2())
    assert not makes_zeros(ElasticNet(0.0))
