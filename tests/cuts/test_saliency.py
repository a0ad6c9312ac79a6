"""Saliency: what the loss holds on to stays, however small, and whatever its layer's scale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Muon, Optimizer, RMSprop, Rprop

from l1prune import L1, Global, GroupL1, Saliency, Sparsity, find_targets
from l1prune.cuts.masks import cut
from l1prune.cuts.saliency import weights
from l1prune.pressure.metrics import OptimizerMetric
from l1prune.pressure.optimizers import UpdateRule, divisor, update_rule
from l1prune.weights.targets import Target

ADAPTIVE = [Adam, AdamW, RMSprop, Adagrad]


def trained(make: Any, scale: float = 1.0, lr: float = 0.0) -> tuple[nn.Module, Optimizer]:
    """Two linear layers after some steps; the first is scaled, the second scaled back."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)
    ).double()
    with torch.no_grad():
        model[0].weight.mul_(scale)  # type: ignore[operator]
        model[2].weight.div_(scale)  # type: ignore[operator]
    optimizer: Optimizer = make(model.parameters(), lr=lr)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(10, 6).double()).square().mean().backward()
        optimizer.step()
    return model, optimizer


def worth_of(*arguments: Any, **options: Any) -> dict[str, Tensor]:
    """What `weights` gives, to keep."""
    with weights(*arguments, **options) as worth:
        return {name: one.clone() for name, one in worth.items()}


def kept(model: nn.Module, optimizer: Optimizer, sparsity: float = 0.5) -> dict[str, Tensor]:
    targets = find_targets(model)
    saliency = Saliency()
    threshold = Sparsity(sparsity).with_scope(saliency.scope)
    return cut(targets, L1(), threshold, worth=saliency.weigh(targets, [optimizer]))


@pytest.mark.parametrize("make", ADAPTIVE)
def test_scaling_a_layer_and_the_next_one_back_changes_nothing(make: Any) -> None:
    one, other = kept(*trained(make)), kept(*trained(make, scale=64.0))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("make", ADAPTIVE)
def test_the_pressure_of_the_metric_zeroes_in_the_same_order(make: Any) -> None:
    """What the proximal map zeroes in a layer is worth less than what it leaves there."""
    model, optimizer = trained(make)
    targets = find_targets(model)
    made = worth_of(targets, [optimizer], shrinkage=0.0)
    group = optimizer.param_groups[0]
    for target in targets:
        w = target.parameter.detach().clone()
        half = float((w * divisor(optimizer, group, target.parameter)).abs().median())  # type: ignore[operator]
        t = OptimizerMetric().threshold(optimizer, group, target.parameter, half)
        gone = L1().prox_(w, t) == 0
        assert 0 < gone.sum() < gone.numel()
        worth = made[target.name].abs()
        assert worth[gone].max() <= worth[~gone].min() * (1 + 1e-6)


def test_a_small_weight_that_the_loss_holds_on_to_outlives_a_large_idle_one() -> None:
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 0.1]])
    optimizer = Adam(layer.parameters(), lr=0.0)
    layer(torch.tensor([[0.01, 5.0]])).sum().backward()
    optimizer.step()
    assert kept(layer, optimizer)["weight"].tolist() == [[False, True]]


def test_a_layer_whose_gradients_have_grown_is_worth_more_at_once() -> None:
    """Adam's second moments forget half in 700 steps; the measure follows within tens."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 20, bias=False), nn.Linear(20, 20, bias=False)).double()
    first, second = model[0].weight, model[1].weight
    optimizer = Adam(model.parameters(), lr=0.0)
    for step in range(300):
        first.grad = torch.randn_like(first)
        second.grad = torch.randn_like(second) * (1.0 if step < 250 else 10.0)
        optimizer.step()
    made = worth_of(find_targets(model), [optimizer])
    worth = [made[f"{i}.weight"].norm() / model[i].weight.norm() for i in (0, 1)]  # type: ignore[operator,union-attr]
    assert 8 < worth[1] / worth[0] < 12


def test_gradients_that_stay_as_they_are_change_nothing() -> None:
    torch.manual_seed(0)
    w = nn.Parameter(torch.randn(100, 100))
    optimizer = Adam([w], lr=0.0)
    for _ in range(100):
        w.grad = torch.randn_like(w)
        optimizer.step()
    worth = worth_of([Target("w", w)], [optimizer], shrinkage=0.0)["w"]
    plain = w * divisor(optimizer, optimizer.param_groups[0], w)  # type: ignore[operator]
    torch.testing.assert_close(worth, plain, rtol=0.05, atol=0.0)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 1.0])
def test_shrinkage_draws_roots_together_and_leaves_what_a_layer_is_worth(shrinkage: float) -> None:
    torch.manual_seed(0)
    w = nn.Parameter(torch.ones(50, 50))
    optimizer = Adam([w], lr=0.0, betas=(0.0, 0.999))
    w.grad = torch.randn_like(w).exp()
    optimizer.step()
    made = worth_of([Target("w", w)], [optimizer], shrinkage=shrinkage)["w"].log()
    root = w.grad.log()
    torch.testing.assert_close(made - made.mean(), (1 - shrinkage) * (root - root.mean()))
    torch.testing.assert_close(made.exp().square().sum(), w.grad.square().sum())


def test_a_share_that_is_none_is_refused() -> None:
    for argument in ("least", "shrinkage"):
        with pytest.raises(ValueError, match=f"{argument} must be a share from 0 to 1 .* got 1.5"):
            Saliency(**{argument: 1.5})


def test_a_layer_without_gradients_keeps_the_order_of_its_weights() -> None:
    model, optimizer = trained(Adam)
    before = worth_of(find_targets(model), [optimizer])["0.weight"]
    optimizer.state[model[0].weight]["exp_avg"].zero_()  # type: ignore[index,union-attr]
    after = worth_of(find_targets(model), [optimizer])["0.weight"]
    assert torch.equal(before.flatten().argsort(), after.flatten().argsort())
    assert 0 < after.abs().max() < before.abs().max()


def test_without_an_optimizer_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"criterion=Saliency.* and there is none"):
        Saliency().check([])
    for make in (SGD, Adam):
        Saliency().check([trained(make)[1]])


OTHERS = {
    "SGD": SGD,
    "momentum": partial(SGD, momentum=0.9),
    "Nesterov": partial(SGD, momentum=0.9, nesterov=True, foreach=True),
    "Muon": Muon,
    "Rprop": partial(Rprop, step_sizes=(0.0, 0.0)),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_under_every_optimizer_it_is_what_it_is_under_adam(make: Any) -> None:
    """As long as weights stay where they are, gradients are the same."""
    worth = []
    for one in (make, Adam):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
        saliency, optimizer = Saliency(), one(model.parameters(), lr=0.0)
        targets = find_targets(model)
        with saliency.follow(targets, [optimizer]):
            for step in range(12):
                optimizer.zero_grad()
                model(torch.randn(10, 6)).square().mean().backward()
                optimizer.step()
                if step in (5, 11):  # two cuts: the second by the steps since the first
                    worth.append(saliency.weigh(targets, [optimizer]))
    for ours, adams in zip(worth[:2], worth[2:], strict=True):
        for one, other in zip(ours, adams, strict=True):
            torch.testing.assert_close(one, other)


def test_layers_of_two_optimizers_compare_as_those_of_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    targets, saliency = find_targets(model), Saliency()
    both = Adam(model.parameters(), lr=0.0)
    first, second = SGD(model[0].parameters(), lr=0.0), Adam(model[2].parameters(), lr=0.0)
    with saliency.follow(targets, [first, second]):
        for _ in range(5):
            model.zero_grad()
            model(torch.randn(10, 6)).square().mean().backward()
            for optimizer in (both, first, second):
                optimizer.step()
    expected = worth_of(targets, [both])
    for target, worth in zip(targets, saliency.weigh(targets, [first, second]), strict=True):
        torch.testing.assert_close(worth, expected[target.name])


def test_of_steps_that_nobody_saw_it_is_said_once() -> None:
    model, optimizer = trained(partial(SGD, momentum=0.9))
    saliency = Saliency()
    assert worth_of(find_targets(model), [optimizer]) == {}
    with pytest.warns(UserWarning, match="the gradients of the steps of SGD were not seen") as said:
        for _ in range(2):
            saliency.weigh(find_targets(model), [optimizer])
    assert len(said) == 1


def test_before_the_first_step_sizes_are_all_there_is() -> None:
    model, _ = trained(Adam)
    worth = Saliency().weigh(find_targets(model), [Adam(model.parameters())])
    sizes = [target.parameter.abs().flatten() for target in find_targets(model)]
    for one, size in zip(worth, sizes, strict=True):
        assert torch.equal(one.flatten().argsort(), size.argsort())


def test_each_layer_keeps_the_least_that_was_asked_for() -> None:
    # Of 40 weights the shapes ask for 10 and 30, as 10 + 10 to 30 + 30.
    assert Saliency(least=0.3).scope.floors([(10, 10), (30, 30)], [1, 1], room=40) == [3, 9]


def test_what_it_has_learned_goes_along_in_a_checkpoint() -> None:
    model, optimizer = trained(Adam)
    targets, first, again = find_targets(model), Saliency(), Saliency()
    first.weigh(targets, [optimizer])
    again.load_state_dict(first.state_dict())
    model(torch.randn(10, 6).double()).square().mean().backward()
    optimizer.step()
    for one, other in zip(
        first.weigh(targets, [optimizer]), again.weigh(targets, [optimizer]), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("make", [*ADAPTIVE, SGD, partial(SGD, momentum=0.9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_lent_is_what_weighs_and_whatever_becomes_of_it_it_learns_the_same(
    make: Any, dtype: torch.dtype
) -> None:
    model, _ = trained(Adam)
    model.to(dtype)
    targets, optimizer = find_targets(model), make(model.parameters(), lr=0.01)
    lender, weigher = Saliency(), Saliency()
    with lender.follow(targets, [optimizer]), weigher.follow(targets, [optimizer]):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(10, 6).to(dtype)).square().mean().backward()
            optimizer.step()
            expected = weigher.weigh(targets, [optimizer])
            with lender.lend(targets, [optimizer]) as worth:
                assert all(map(torch.equal, worth, expected))
                for one in worth:
                    one.fill_(torch.nan)
            states = [one.state_dict()["fishers"] for one in (lender, weigher)]
            assert str(states[0]) == str(states[1])


class Doubled(Saliency):
    """Lends what it makes of what the class above weighs."""

    def weigh(self, targets: Any, optimizers: Any) -> list[Tensor]:
        return [2 * one for one in super().weigh(targets, optimizers)]

    @contextmanager
    def lend(self, targets: Any, optimizers: Any) -> Iterator[list[Tensor]]:
        yield self.weigh(targets, optimizers)


class Scaled(Doubled):
    """Lends what it makes of what the class above lends."""

    @contextmanager
    def lend(self, targets: Any, optimizers: Any) -> Iterator[list[Tensor]]:
        with Saliency.lend(self, targets, optimizers) as worth:
            yield [one.mul_(2) for one in worth]


@pytest.mark.parametrize("kind", [Doubled, Scaled])
def test_one_derived_from_it_may_lend_otherwise(kind: type[Saliency]) -> None:
    model, optimizer = trained(Adam)
    targets = find_targets(model)
    plain = Saliency().weigh(targets, [optimizer])
    with kind().lend(targets, [optimizer]) as worth:
        for one, lent, weighed in zip(plain, worth, kind().weigh(targets, [optimizer])):
            assert torch.equal(2 * one, lent) and torch.equal(lent, weighed)


@pytest.mark.parametrize("make", ADAPTIVE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_squares_that_are_infinite_are_worth_a_number(make: Any, dtype: torch.dtype) -> None:
    """They stay so in Adam, and what two sums differ by is none then."""
    w = nn.Parameter(torch.ones(3, 4, dtype=dtype))
    optimizer, saliency, targets = make([w], lr=0.0), Saliency(), [Target("w", w)]
    for size in (1.0, 1e25, 1.0, 1.0):
        w.grad = torch.ones_like(w)
        w.grad[0, 0] = size
        optimizer.step()
        (worth,) = saliency.weigh(targets, [optimizer])
        assert bool(worth.isfinite().all())


def test_what_has_no_gradients_is_worth_what_weights_of_its_rank_are() -> None:
    model, _ = trained(Adam)
    optimizer = Adam(model[0].parameters(), lr=0.0)  # type: ignore[index]
    model(torch.randn(10, 6).double()).square().mean().backward()
    optimizer.step()
    targets = find_targets(model)
    made = worth_of(targets, [optimizer])
    assert set(made) == {"0.weight", "2.weight"}
    rises = [made[t.name].abs().flatten()[t.parameter.abs().flatten().argsort()] for t in targets]
    assert bool((rises[1].diff() >= 0).all())
    assert rises[1].max() <= rises[0].max() * 1.01
    threshold = rises[0].median()
    assert (rises[1] > threshold).float().mean() <= (rises[0] > threshold).float().mean()


@pytest.mark.parametrize("make", ADAPTIVE)
def test_a_weight_that_has_had_no_gradient_yet_is_worth_a_number(make: Any) -> None:
    """Adagrad has a state, without a step, from the start."""
    model, _ = trained(Adam)
    optimizer = make(model.parameters(), lr=0.0)
    model[0].weight.grad = torch.ones_like(model[0].weight)  # type: ignore[index,arg-type,operator]
    model[2].weight.grad = None  # type: ignore[index]
    optimizer.step()
    made = worth_of(find_targets(model), [optimizer], {})
    assert all(bool(worth.isfinite().all()) for worth in made.values())


def test_an_optimizer_of_the_users_own_needs_no_betas() -> None:
    class Own(Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": 0.0})

        def step(self, closure: Any = None) -> None:
            for w in self.param_groups[0]["params"]:
                self.state[w] = {"scale": w.grad.abs() + 1.0, "exp_avg": w.grad}

    class OwnRule(UpdateRule):
        adaptive = True

        def divided(self, amount: Any, group: Any, state: Any) -> Any:
            return amount / state["scale"]

    update_rule.register(Own, lambda optimizer: OwnRule())
    layer = nn.Linear(3, 1, bias=False)
    optimizer = Own(layer.parameters())
    layer(torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    optimizer.step()
    worth = worth_of(find_targets(layer), [optimizer], shrinkage=0.0)["weight"]
    torch.testing.assert_close(worth, layer.weight * torch.tensor([2.0, 3.0, 4.0]))


def test_groups_are_measured_by_the_norm_of_what_they_are_worth() -> None:
    model, optimizer = trained(Adam)
    targets = find_targets(model)
    worth = Saliency().weigh(targets, [optimizer])
    mask = cut(targets, GroupL1(), Sparsity(0.5, scope=Global(0.1)), worth=worth)
    rows = torch.cat([one.norm(dim=1) for one in worth])
    stays = torch.cat([mask[t.name].all(1) for t in targets])
    assert bool(rows[stays].min() >= rows[~stays].max())
