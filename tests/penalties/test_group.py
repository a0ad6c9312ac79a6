"""GroupL1: which weights make a unit, and that units live and die whole."""

import pytest
import torch
from penalty_samples import weights
from torch import nn

from l1prune.penalties import L1, GroupL1


def scored_alike(penalty: GroupL1, w: torch.Tensor) -> list[set[int]]:
    """The units, found from outside: the weights whose score moves with one of them."""
    units = []
    for i in range(w.numel()):
        bumped = w.clone()
        bumped.view(-1)[i] += 1.0
        moved = (penalty.score(bumped) != penalty.score(w)).expand_as(w)
        units.append(set(moved.flatten().nonzero().flatten().tolist()))
    return units


@pytest.mark.parametrize(
    ("penalty", "shape", "members"),
    [
        (GroupL1(), (3, 4), lambda i, j: i),
        (GroupL1(dim=1), (3, 4), lambda i, j: j),
        (GroupL1(dim=-1), (3, 4), lambda i, j: j),
        (GroupL1(dim=1, block=2), (3, 4), lambda i, j: j // 2),
        (GroupL1(block=2), (6, 2), lambda i, j: i // 2),
        # q, k and v of two heads, two rows each
        (GroupL1(block=2, parts=3), (12, 2), lambda i, j: i % 4 // 2),
        (GroupL1(), (3, 2, 2, 2), lambda i, j, y, x: i),
        (GroupL1(dim=1), (3, 2, 2, 2), lambda i, j, y, x: j),
    ],
    ids=lambda given: None if callable(given) else str(given),
)
def test_units_are_what_the_table_says(penalty, shape, members):
    w = weights(*shape)
    indices = torch.cartesian_prod(*[torch.arange(n) for n in shape]).tolist()
    unit = [members(*index) for index in indices]
    for i, together in enumerate(scored_alike(penalty, w)):
        assert together == {j for j in range(w.numel()) if unit[j] == unit[i]}

    x = penalty.prox_(w.clone(), float(penalty.score(w).median()))
    dead = (x == 0).flatten().tolist()
    assert any(dead) and not all(dead)
    assert {unit[i] for i in range(len(unit)) if dead[i]}.isdisjoint(
        unit[i] for i in range(len(unit)) if not dead[i]
    )


def test_rows_of_a_linear_minimise_their_own_objective():
    layer, t = nn.Linear(5, 7).double(), 0.2
    with torch.no_grad():
        layer.weight.copy_(weights(7, 5, seed=4))
    before = layer.weight.detach().clone()
    GroupL1().prox_(layer.weight, t)
    for row, w in zip(layer.weight.detach(), before, strict=True):
        # The minimiser points along w: what is left to find is how much of w stays.
        share = torch.linspace(0, 1, 100_001, dtype=torch.float64)
        norm = w.norm()
        cost = 5**0.5 * norm * share + (norm * (1 - share)).square() / (2 * t)
        torch.testing.assert_close(row, share[cost.argmin()] * w, rtol=0, atol=1e-5 * float(norm))


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_uneven_steps_minimise_to_the_last_digit(spread):
    """At the minimum of √n·‖x‖ + Σ (xᵢ − wᵢ)²/2tᵢ the gradient of a living unit is zero."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(200, 30, dtype=torch.float64, generator=generator)
    t = 0.05 * 10 ** (spread * torch.randn(w.shape, dtype=w.dtype, generator=generator))
    x = GroupL1().prox_(w.clone(), t)
    alive = (x != 0).any(1)
    assert alive.sum() > 20
    pull = 30**0.5 * x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close((w - x)[alive], (t * pull)[alive], rtol=1e-8, atol=1e-12)
    # A unit may only die where ‖w/t‖ ≤ √n: there the origin is the minimum.
    assert torch.equal(~alive, (w / t).norm(dim=1) <= 30**0.5)


def test_units_of_one_weight_are_l1():
    w = weights(40, 1)
    t = weights(40, 1, seed=1).abs()
    group, single = GroupL1().prox_(w.clone(), t), L1().prox_(w.clone(), t)
    torch.testing.assert_close(group, single, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(GroupL1().value(w), L1().value(w))


def test_score_and_cost_do_not_grow_with_the_size_of_a_unit():
    for n in (1, 10, 1000):
        w = torch.full((3, n), 0.2)
        torch.testing.assert_close(GroupL1().score(w), torch.full((3, 1), 0.2))
        torch.testing.assert_close(GroupL1().value(w) / n, torch.tensor(0.6))


def test_score_broadcasts_to_the_weights():
    assert GroupL1().score(torch.ones(3, 2, 5, 5)).shape == (3, 1, 1, 1)
    assert GroupL1(dim=1, block=2).score(torch.ones(3, 8)).shape == (1, 8)


@pytest.mark.parametrize(
    ("penalty", "shape", "message"),
    [
        (GroupL1(dim=2), (3, 4), "no dimension 2"),
        (GroupL1(dim=-3), (3, 4), "no dimension -3"),
        (GroupL1(), (), "no dimension 0"),
        (GroupL1(block=2), (3, 4), "3 indices along dim 0 .* units of 2"),
        (GroupL1(dim=1, block=2, parts=3), (3, 4), "4 indices along dim 1 .* units of 6"),
    ],
    ids=str,
)
def test_weights_that_do_not_fit_are_refused_by_name(penalty, shape, message):
    for method in (penalty.score, penalty.value, lambda w: penalty.prox_(w, 0.1)):
        with pytest.raises(ValueError, match=message):
            method(torch.ones(shape))


@pytest.mark.parametrize("name", ["block", "parts"])
def test_units_hold_at_least_one_index(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        GroupL1(**{name: 0})
