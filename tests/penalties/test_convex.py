"""Convex penalties: the inequalities that define their proximal map."""

import pytest
import torch
from penalty_samples import STEPS, weights

from l1prune.penalties import L1, L2, ElasticNet, GroupL1

CONVEX = [
    L1(),
    L2(),
    ElasticNet(0.3),
    GroupL1(),
    GroupL1(dim=-1, block=2),
    GroupL1(dim=1, block=2, parts=2),
]
every_convex = pytest.mark.parametrize("penalty", CONVEX, ids=repr)


@every_convex
@pytest.mark.parametrize("t", [*STEPS, "each"])
def test_three_point_inequality(penalty, t):
    """z = prox(w, t) if and only if value(y) ≥ value(z) + ⟨(w − z)/t, y − z⟩ for every y."""
    if t == "each":
        t = weights(6, 8, seed=1).abs()
    w = weights(6, 8)
    z = penalty.prox_(w.clone(), t)
    far = [w, -w, torch.zeros_like(w), 2 * z, weights(6, 8, seed=2)]
    near = [
        z + sign * 1e-5 * torch.eye(48)[i].view(6, 8) for i in range(0, 48, 5) for sign in (1, -1)
    ]
    for y in far + near:
        bound = penalty.value(z) + ((w - z) / t * (y - z)).sum()
        assert penalty.value(y) >= bound - 1e-9 * (penalty.value(w) + penalty.value(y))


@every_convex
@pytest.mark.parametrize("t", STEPS)
def test_a_step_never_drives_weights_apart(penalty, t):
    for seed in range(20):
        v, w = weights(6, 8, seed=seed), weights(6, 8, seed=seed + 100)
        apart = (penalty.prox_(v.clone(), t) - penalty.prox_(w.clone(), t)).norm()
        assert apart <= (v - w).norm() * (1 + 1e-12)


def test_elastic_net_ends_in_l1_and_l2():
    w = weights(6, 8)
    for ratio, end in ((1.0, L1()), (0.0, L2())):
        net = ElasticNet(ratio)
        assert net.value(w) == end.value(w)
        for t in (0.1, float("inf")):
            assert torch.equal(net.prox_(w.clone(), t), end.prox_(w.clone(), t))


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(ratio):
    with pytest.raises(ValueError, match=r"l1_ratio=.*\[0, 1\]"):
        ElasticNet(ratio)


def test_soft_thresholding_can_be_compiled_whole():
    """A metric's arithmetic and the step then fuse into one kernel."""
    penalty, t = L1(), weights(6, 8, seed=1).abs()

    def steps(w):
        return penalty.prox_(penalty.prox_(w, 0.05), t)

    compiled = torch.compile(steps, backend="eager", fullgraph=True)
    assert torch.equal(compiled(weights(6, 8)), steps(weights(6, 8)))
