"""Gradients: the moments that Adam would keep, kept for optimizers that keep none."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from descent import loss, model
from torch import Tensor, nn
from torch.optim import SGD, Adafactor, Adagrad, Adam, Adamax, AdamW, Muon, Optimizer, RMSprop

from l1prune.pressure.gradients import BETAS, Gradients, no_moments, note_
from l1prune.weights.pieces import piece_length
from l1prune.weights.shards import gathered, is_sharded
from l1prune.weights.targets import Target, Targets, find_targets


def layer(dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, Targets]:
    torch.manual_seed(0)
    made = nn.Linear(5, 4, bias=False).to(dtype)
    return made, find_targets(made)


def some(count: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 5, generator=generator).to(dtype) for _ in range(count)]


def stepped(made: nn.Linear, optimizer: Optimizer, gradients: list[Tensor]) -> None:
    for gradient in gradients:
        made.weight.grad = gradient.clone()
        optimizer.step()


def total(gradients: Gradients, w: Tensor) -> Tensor:
    squares = gradients.squares(w)
    assert squares is not None
    return squares.total


def summed(found: list[Tensor]) -> Tensor:
    """Σ β₂^(n−j)·g_j², by its definition."""
    squares = [g.double().square() * BETAS[1] ** age for age, g in enumerate(reversed(found))]
    return torch.stack(squares).sum(0).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_they_are_adams_to_the_bit(dtype: torch.dtype) -> None:
    made, targets = layer(dtype)
    adam, sgd, gradients = (
        Adam(made.parameters(), lr=0.0, foreach=False),
        SGD(made.parameters(), lr=0.0),
        Gradients(),
    )
    with gradients.follow(targets, [sgd]):
        for gradient in some(20, dtype):
            stepped(made, adam, [gradient])
            stepped(made, sgd, [gradient])
    state, mean = adam.state[made.weight], gradients.mean(made.weight)
    squares = gradients.squares(made.weight)
    assert mean is not None and squares is not None
    assert torch.equal(mean.value, state["exp_avg"])
    assert torch.equal(squares.total, state["exp_avg_sq"] / (1 - BETAS[1]))
    assert squares.steps == state["step"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"nesterov": True}, {"nesterov": True, "foreach": True}, {"fused": True}],
    ids=str,
)
def test_they_are_of_what_a_step_finds_not_of_what_it_leaves(settings: Any) -> None:
    """SGD of many tensors at once writes g + μ·b over the gradients."""
    made, targets = layer()
    sgd, gradients = SGD(made.parameters(), lr=0.1, momentum=0.9, **settings), Gradients()
    with gradients.follow(targets, [sgd]):
        stepped(made, sgd, some(5))
    torch.testing.assert_close(total(gradients, made.weight), summed(some(5)))


def test_gradients_that_a_closure_makes_are_seen() -> None:
    made, targets = layer()
    sgd, gradients = SGD(made.parameters(), lr=0.1), Gradients()
    following = iter(some(5))

    def closure() -> None:
        made.weight.grad = next(following)

    with gradients.follow(targets, [sgd]):
        for _ in range(5):
            sgd.step(closure)  # type: ignore[arg-type]
    torch.testing.assert_close(total(gradients, made.weight), summed(some(5)))


def test_a_step_counts_once_however_many_batches_it_has_and_not_without_a_gradient() -> None:
    made, targets = layer()
    sgd, gradients = SGD(made.parameters(), lr=0.1), Gradients()
    with gradients.follow(targets, [sgd]):
        sgd.step()
        assert gradients.squares(made.weight) is None and gradients.mean(made.weight) is None
        for _ in range(2):
            made(torch.ones(1, 5)).sum().backward()
        sgd.step()
    torch.testing.assert_close(total(gradients, made.weight), torch.full((4, 5), 4.0))


@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_scaler_changes_nothing_and_steps_that_it_skips_do_not_count(
    fused: bool,
) -> None:
    net = model()
    targets, gradients = find_targets(net), Gradients()
    sgd, scaler = SGD(net.parameters(), lr=0.0, fused=fused), torch.amp.GradScaler("cpu")
    with gradients.follow(targets, [sgd]):
        for factor in (1.0, float("inf"), 1.0):
            sgd.zero_grad()
            scaler.scale(loss(net, 0) * factor).backward()
            scaler.step(sgd)
            scaler.update()
    sgd.zero_grad()
    loss(net, 0).backward()
    for target in targets:
        squares = gradients.squares(target.parameter)
        assert squares is not None and squares.steps == 2
        expected = target.parameter.grad.square() * (1 + BETAS[1])  # type: ignore[union-attr]
        torch.testing.assert_close(squares.total, expected)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_a_gradient_that_is_not_finite_poisons_nothing(bad: float) -> None:
    made, targets = layer()
    sgd, gradients = SGD(made.parameters(), lr=0.0), Gradients()
    found = some(4)
    found[1][0, 0] = bad
    with gradients.follow(targets, [sgd]):
        stepped(made, sgd, found)
    mean = gradients.mean(made.weight)
    assert mean is not None and bool(mean.value.isfinite().all())
    found[1][0, 0] = 0.0
    torch.testing.assert_close(total(gradients, made.weight), summed(found))


def test_the_squares_of_gradients_however_large_are_finite() -> None:
    made, targets = layer()
    sgd, gradients = SGD(made.parameters(), lr=0.0), Gradients()
    with gradients.follow(targets, [sgd]):
        stepped(made, sgd, [torch.full((4, 5), 1e38)] * 50)
    assert bool(total(gradients, made.weight).isfinite().all())


def test_of_halves_they_are_kept_in_float32() -> None:
    made, targets = layer(torch.bfloat16)
    sgd, gradients = SGD(made.parameters(), lr=0.0), Gradients()
    with gradients.follow(targets, [sgd]):
        stepped(made, sgd, some(50, torch.bfloat16))
    found = total(gradients, made.weight)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, summed(some(50, torch.bfloat16)))


@pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="torch was built without torch.distributed or gloo",
)
def test_of_a_sharded_weight_they_are_sharded_as_it_is(tmp_path: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        w = nn.Parameter(distribute_tensor(torch.zeros(4, 5), mesh, (Shard(0),)))
        sgd, first, again = SGD([w], lr=0.1), Gradients(), Gradients()
        targets = [Target("w", w)]
        with first.follow(targets, [sgd]):
            for gradient in some(3):
                w.grad = distribute_tensor(gradient, mesh, (Shard(0),))
                sgd.step()
        again.load_state_dict(first.state_dict())
        with again.follow(targets, [sgd]):
            for gradients in (first, again):
                found = total(gradients, w)
                assert is_sharded(found)
                torch.testing.assert_close(gathered(found), summed(some(3)))
    finally:
        dist.destroy_process_group()


# ---- of which optimizers


@pytest.mark.parametrize("make", [Adam, AdamW, RMSprop, Adagrad, Adamax, Adafactor])
def test_where_the_optimizer_tells_nothing_is_kept(make: Any) -> None:
    made, targets = layer()
    optimizer, gradients = make(made.parameters(), lr=0.1), Gradients()
    with gradients.follow(targets, [optimizer]):
        stepped(made, optimizer, some(3))
    assert gradients.squares(made.weight) is None and gradients.state_dict() == {}


class Renamed(AdamW):
    """A parent's class with moments of other names."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for w in self.param_groups[0]["params"]:
            self.state[w]["v"] = w.grad.square()


class Forgetful(AdamW):
    """A parent's class that remembers nothing at all."""

    def step(self, closure: Any = None) -> None:
        return


class Within:
    """An optimizer around another, of which torch knows nothing."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        self.optimizer.step()


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda w: SGD(w, lr=0.1), 4),
        (lambda w: SGD(w, lr=0.1, momentum=0.9), 4),
        (Muon, 4),
        (torch.optim.Rprop, 4),
        (Renamed, 3),  # after the first it is known that it is not as its parent
        (Forgetful, 3),
        (lambda w: Within(SGD(w, lr=0.1)), 4),
    ],
    ids=["SGD", "momentum", "Muon", "Rprop", "renamed", "forgetful", "wrapped"],
)
def test_where_it_does_not_they_are(make: Any, steps: int) -> None:
    made, targets = layer()
    optimizer, gradients = make(made.parameters()), Gradients()
    with gradients.follow(targets, [optimizer]):
        stepped(made, optimizer, some(4))
    squares = gradients.squares(made.weight)
    assert squares is not None and squares.steps == steps
    torch.testing.assert_close(squares.total, summed(some(4)[-steps:]))


# ---- how long


def test_they_stay_when_hooks_are_taken_off_and_follow_a_weight_through_its_names() -> None:
    made, targets = layer()
    sgd, gradients = SGD(made.parameters(), lr=0.1), Gradients()
    with gradients.follow(targets, [sgd]):
        stepped(made, sgd, some(2))
    stepped(made, sgd, some(3))  # nobody looks
    with gradients.follow([Target("head.weight", made.weight)], [sgd]):
        stepped(made, sgd, some(1))
    torch.testing.assert_close(total(gradients, made.weight), summed(some(2) + some(1)))
    assert gradients.state_dict().keys() == {"head.weight"}
    with gradients.follow([], [sgd]):
        assert gradients.squares(made.weight) is None and gradients.state_dict() == {}


def test_a_state_goes_on_as_what_was_saved_and_stays_as_it_was_saved() -> None:
    made, targets = layer()
    sgd, first, second = SGD(made.parameters(), lr=0.1), Gradients(), Gradients()
    with first.follow(targets, [sgd]):
        stepped(made, sgd, some(3))
        state = first.state_dict()
        before = copy.deepcopy(state)
        second.load_state_dict(state)
        assert second.state_dict().keys() == state.keys()
        with second.follow(targets, [sgd]):
            stepped(made, sgd, some(2))
    assert torch.equal(total(first, made.weight), total(second, made.weight))
    one, other = first.mean(made.weight), second.mean(made.weight)
    assert one is not None and other is not None and torch.equal(one.value, other.value)
    for name in ("mean", "square"):
        assert torch.equal(state["weight"][name], before["weight"][name])


def test_what_is_sent_to_another_process_is_what_was_noted_without_the_weights() -> None:
    made, targets = layer()
    sgd, gradients = SGD(made.parameters(), lr=0.1), Gradients()
    with gradients.follow(targets, [sgd]):
        assert pickle.loads(pickle.dumps(gradients)).state_dict() == {}
        stepped(made, sgd, some(3))
    sent = pickle.loads(pickle.dumps(gradients))
    assert not sent.has(made.weight)
    with sent.follow(targets, [sgd]):
        assert torch.equal(total(sent, made.weight), total(gradients, made.weight))


def test_large_weights_are_gone_through_in_pieces() -> None:
    """To the same bits, a piece at a time."""
    gradient = torch.randn(piece_length(torch.zeros(1)) * 2 + 3)
    whole = no_moments(gradient)
    note_(whole, gradient)
    expected = torch.zeros_like(gradient).addcmul_(gradient, gradient, value=1 - BETAS[1])
    assert torch.equal(whole.square, expected)
    assert whole.steps == 1
