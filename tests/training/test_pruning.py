"""Pruning: a plain loop is walked through the life of a run as a Trainer's would be, to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from tasks import Task, examples, fit, layers
from torch import Tensor, nn, optim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from l1prune import (
    Budget,
    ChannelL1,
    Cost,
    Follow,
    L1Pruning,
    Pruning,
    PruningRun,
    Refit,
    Sparsity,
    SparsityPath,
    Wanda,
    rounds,
)

EPOCHS, BATCHES = 9, 5
STEPS = EPOCHS * BATCHES
ADAM = partial(optim.AdamW, lr=0.01)
SGD = partial(optim.SGD, lr=0.05, momentum=0.9, nesterov=True)


def network() -> nn.Sequential:
    """300 weights, and noise in its forward pass."""
    net = layers(8, 30, 2)
    net = nn.Sequential(net[0], net[1], nn.Dropout(0.1), net[2])
    net.example_input_array = torch.zeros(1, 8)  # type: ignore[assignment]  # for `ChannelL1`
    return net


def batches() -> DataLoader[Any]:
    return DataLoader(examples(), 10)


def loss_of(net: nn.Module, batch: list[Tensor]) -> Tensor:
    return (net(batch[0]) - batch[1]).square().mean()


def looked_at(net: nn.Module) -> float:
    """The loss on the training data."""
    net.eval()
    with torch.no_grad():
        loss = float(loss_of(net, list(examples().tensors)))
    net.train()
    return loss


class Twin(Task):
    """Trained by a Trainer as the plain loop below trains."""

    def __init__(self, make: Callable[..., Optimizer], scheduled: bool) -> None:
        super().__init__(network(), make)
        self.scheduled, self.example_input_array = scheduled, torch.zeros(1, 8)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if batch_idx == 0:
            self.log("val/loss", looked_at(self.net))
            self.net.eval()

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        if not self.scheduled:
            return optimizer
        scheduler = CosineAnnealingLR(optimizer, STEPS)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.named_parameters(), other.named_parameters())
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "follow": {"strength": Follow(), "threshold": Sparsity(0.9), "prune_at": [10, 30]},
    "rewind": {"strength": 0.01, "threshold": 0.05, "rewind": 0.3, "prune_at": [0.3, 0.6]},
    "wanda": {"criterion": Wanda(), "prune_at": rounds(0.1, 0.6, 10)},
    "refit": {"threshold": Sparsity(0.8), "criterion": Refit(), "prune_at": [0.3, 0.5]},
    "channels": {"threshold": Cost("parameters", 0.5), "penalty": ChannelL1()},
    "path": {"threshold": SparsityPath((0.5, 0.8, 0.9)), "prune_at": rounds(0.2, 0.6, 3)},
    "budget": {"threshold": Budget("val/loss", 0.2, rounds=3), "prune_at": 0.5},
}


def trained(recipe: dict[str, Any], make: Callable[..., Optimizer], scheduled: bool) -> Task:
    task = Twin(make, scheduled)
    torch.manual_seed(3)
    fit(task, L1Pruning(**recipe), epochs=EPOCHS, num_sanity_val_steps=0)
    return task


def begun_by(
    recipe: dict[str, Any], net: nn.Module, optimizer: Optimizer, scheduler: Any
) -> PruningRun:
    every = {"steps_per_pass": BATCHES, "steps_per_validation": BATCHES}
    return Pruning(**recipe).attached(net, optimizer, STEPS, schedulers=scheduler, **every)


def looped(
    run: PruningRun, net: nn.Module, optimizer: Optimizer, scheduler: Any = None, epochs: int = 1
) -> None:
    """A plain loop, validated after each epoch."""
    for _ in range(epochs):
        for batch in batches():
            loss_of(net, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            if scheduler is not None:
                scheduler.step()
        next(iter(batches()))  # a Trainer's validation draws a seed for its loader
        run.validated({"val/loss": looked_at(net)})


WITH = [*((name, ADAM) for name in RECIPES), ("default", SGD), ("rewind", SGD)]


@pytest.mark.parametrize(("name", "make"), WITH, ids=lambda one: getattr(one, "func", one))
def test_a_plain_loop_comes_to_the_bits_that_a_trainer_comes_to(name: str, make: Any) -> None:
    net = network()
    optimizer = make(net.parameters())
    scheduler = CosineAnnealingLR(optimizer, STEPS)
    torch.manual_seed(3)
    with begun_by(RECIPES[name], net, optimizer, scheduler) as run:
        looped(run, net, optimizer, scheduler, EPOCHS)
    assert same(net, trained(RECIPES[name], make, scheduled=True).net)
    assert run.report.sparsity > 0.3 and run.arrived


def test_so_it_does_where_gradients_are_clipped() -> None:
    net = network()
    optimizer = SGD(net.parameters())
    torch.manual_seed(3)
    with Pruning().attached(net, optimizer, STEPS, BATCHES, clips=True) as run:
        for _ in range(EPOCHS):
            for batch in batches():
                optimizer.zero_grad()
                loss_of(net, batch).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 0.1)
                optimizer.step()
    task = Twin(SGD, scheduled=False)
    torch.manual_seed(3)
    fit(task, L1Pruning(), epochs=EPOCHS, gradient_clip_val=0.1, limit_val_batches=0)
    assert same(net, task.net)
    removed = torch.cat([net[0].weight.grad[~run.masks["0.weight"]]])  # type: ignore[index]
    assert len(removed) > 200 and not removed.any()


# ---- what a loop may do besides


HALF: dict[str, Any] = {"strength": 0.0, "threshold": Sparsity(0.5), "prune_at": [0.25, 0.5]}
FIRST = math.ceil(300 * (Sparsity(0.5).share(0.5) or 0))
"""How many of 300 weights go in the first of its two rounds."""


def steps(net: nn.Module, *optimizers: Optimizer, count: int = 1) -> None:
    for _ in range(count):
        loss_of(net, list(examples().tensors)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def zeros(net: nn.Module) -> int:
    return sum(int((w == 0).sum()) for n, w in net.named_parameters() if n.endswith("weight"))


def test_accumulated_batches_are_one_step() -> None:
    net = layers(8, 30, 2)
    optimizer = ADAM(net.parameters())
    with Pruning(**HALF).attached(net, optimizer, steps=8) as run:
        for index, batch in enumerate([*batches()] * 5):  # 25 batches
            (loss_of(net, batch) / 3).backward()
            if index % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
            assert zeros(net) == (150 if run.steps >= 4 else FIRST if run.steps >= 2 else 0)
    assert run.steps == 8


def test_a_step_that_a_gradient_scaler_skips_is_none() -> None:
    net = layers(8, 30, 2)
    optimizer, scaler = SGD(net.parameters()), torch.amp.GradScaler("cpu", init_scale=2.0)
    with Pruning(**HALF).attached(net, optimizer, steps=8) as run:
        for index in range(10):
            loss = loss_of(net, list(examples().tensors)) * (float("inf") if index < 2 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            assert run.steps == max(index - 1, 0)
    assert zeros(net) == 150


def test_of_several_optimizers_each_takes_its_step_before_a_cut() -> None:
    net = layers(8, 30, 2)
    optimizers = [SGD(net[0].parameters()), ADAM(net[2].parameters())]
    with Pruning(**HALF).attached(net, optimizers, steps=16) as run:
        for index in range(8):
            strength = run.strength
            loss_of(net, list(examples().tensors)).backward()
            optimizers[0].step()
            assert zeros(net) == (0, FIRST, 150, 150)[index // 2] and run.strength == strength
            optimizers[1].step()
            net.zero_grad()
    assert (run.steps, zeros(net)) == (16, 150)


def test_of_several_optimizers_one_may_step_more_often_than_another() -> None:
    net = layers(8, 30, 2)
    often, seldom = SGD(net[0].parameters()), ADAM(net[2].parameters())
    with Pruning(**HALF).attached(net, [often, seldom], steps=12):
        for index in range(9):
            steps(net, *((often, seldom) if index % 3 == 2 else (often,)))
    assert zeros(net) == 150


def test_an_average_is_as_sparse_once_it_is_told() -> None:
    net = layers(8, 30, 2)
    average, optimizer = AveragedModel(net), ADAM(net.parameters())
    with Pruning(**HALF).attached(net, optimizer, steps=8) as run:
        for _ in range(8):
            steps(net, optimizer)
            average.update_parameters(net)
        assert zeros(average.module) == 0
        run.hold(average)
    assert zeros(average.module) == 150
    kept = dict(average.module.named_parameters())
    assert all(not kept[name][~mask].any() for name, mask in run.masks.items())


@pytest.mark.parametrize("count", [0, 1])
def test_weights_moved_outside_a_step_are_zero_again(count: int) -> None:
    net = layers(8, 30, 2)
    optimizer = ADAM(net.parameters())
    pruning = Pruning(**HALF)
    with (
        pytest.warns(UserWarning, match=r"were moved by something else than optimizer\.step\(\)"),
        pruning.attached(net, optimizer, steps=8, steps_per_pass=1) as run,
    ):
        steps(net, optimizer, count=7)
        net[0].weight.data += 1.0
        steps(net, optimizer, count=count)
        assert zeros(net) == (150 if count else 150 - int((~run.masks["0.weight"]).sum()))
    assert zeros(net) == 150


def hung(net: nn.Module, *optimizers: Optimizer) -> int:
    """How many hooks there are."""
    of_steps = [
        hooks
        for one in optimizers
        for hooks in (one._optimizer_step_pre_hooks, one._optimizer_step_post_hooks)
    ]
    of_modules = [h for m in net.modules() for h in (m._forward_hooks, m._forward_pre_hooks)]
    of_weights = [w._post_accumulate_grad_hooks or {} for w in net.parameters()]
    return sum(map(len, [*of_steps, *of_modules, *of_weights]))


@pytest.mark.parametrize("stop", [None, 1, 3, 6])
def test_the_model_stays_plain_and_nothing_hangs_there_after_it(stop: int | None) -> None:
    net = layers(8, 30, 2)
    before = [(name, id(w)) for name, w in net.named_parameters()]
    optimizer = ADAM(net.parameters())
    pruning = Pruning(**{**HALF, "criterion": Wanda()})
    try:
        with pruning.attached(net, optimizer, steps=8, clips=True) as run:
            assert hung(net, optimizer) > 3
            for index in range(8):
                if index == stop:
                    net[0].weight.data += 1.0
                    raise KeyboardInterrupt
                steps(net, optimizer)
    except KeyboardInterrupt:
        assert stop is not None
    assert not hung(net, optimizer)
    assert [(name, id(w)) for name, w in net.named_parameters()] == before
    assert list(net.state_dict()) == [name for name, _ in before]
    assert zeros(net) == {None: 150, 1: 0, 3: FIRST, 6: 150}[stop]
    assert zeros(net) == run.report.prunable - run.report.nonzero


def test_others_may_hang_hooks_on_the_optimizer_at_any_time() -> None:
    net = layers(8, 30, 2)
    optimizer = SGD(net.parameters())
    seen: list[int] = []
    with Pruning(**HALF).attached(net, optimizer, steps=8):
        for _ in range(8):
            optimizer.register_step_post_hook(lambda *_: seen.append(zeros(net)))
            steps(net, optimizer)
    assert len(seen) == 36 and zeros(net) == 150


# ---- stopped and resumed


@pytest.mark.parametrize("name", ["default", "follow", "rewind", "path", "budget"])
@pytest.mark.parametrize("at", [2, 5])
def test_a_resumed_loop_is_the_one_that_was_not_stopped(name: str, at: int, tmp_path: Any) -> None:
    def begun() -> tuple[Any, ...]:
        net = network()
        optimizer = ADAM(net.parameters())
        scheduler = CosineAnnealingLR(optimizer, STEPS)
        run = begun_by(RECIPES[name], net, optimizer, scheduler)
        return run, net, optimizer, scheduler

    torch.manual_seed(3)
    whole = begun()
    looped(*whole, epochs=at)
    torch.save([one.state_dict() for one in whole], tmp_path / "half.pt")
    looped(*whole, epochs=EPOCHS - at)
    whole[0].end()
    torch.manual_seed(4)
    again = begun()
    looped(*again, epochs=1)  # whatever it has come to by then
    for one, state in zip(again[::-1], torch.load(tmp_path / "half.pt")[::-1]):
        one.load_state_dict(state)
    looped(*again, epochs=EPOCHS - at)
    again[0].end()
    assert same(whole[1], again[1]) and whole[0].outcomes == again[0].outcomes


def test_another_recipe_does_not_go_on_with_it() -> None:
    net = layers(8, 30, 2)
    run = Pruning(**HALF).attached(net, ADAM(net.parameters()), steps=8)
    other = Pruning(**{**HALF, "prune_at": 0.5}).attached(net, ADAM(net.parameters()), steps=8)
    with pytest.raises(ValueError, match="would go on with prune_at"):
        other.load_state_dict(run.state_dict())


# ---- what is refused, and what is said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": 0}, r"steps must be a whole number ≥ 1, as epochs \* len\(loader\).*got 0"),
        ({"steps": None}, "steps must be a whole number"),
        ({"steps": 3}, "does not fit a run of 3 steps"),
        ({"steps_per_pass": 2.5}, "steps_per_pass must be a whole number ≥ 1, as len"),
        ({"steps_per_pass": None}, "say how long one is, as steps_per_pass=len"),
        ({"optimizers": []}, "optimizers must be an optimizer of torch"),
    ],
    ids=str,
)
def test_a_loop_that_does_not_say_enough_is_refused(given: dict[str, Any], said: str) -> None:
    net = layers(8, 30, 2)
    arguments = {"optimizers": ADAM(net.parameters()), "steps": 100, "steps_per_pass": 10}
    with pytest.raises(ValueError, match=said):
        Pruning(prune_at=[0.2, 0.8]).attached(net, **(arguments | given))


def test_rewinding_needs_to_know_the_schedule() -> None:
    net = layers(8, 30, 2)
    with pytest.raises(ValueError, match="as schedulers=scheduler"):
        Pruning(0.1, rewind=0.2).attached(net, ADAM(net.parameters()), steps=100)


def test_cuts_that_were_left_are_told() -> None:
    net = layers(8, 30, 2)
    optimizer = ADAM(net.parameters())
    with (
        pytest.warns(UserWarning, match="ended before 1 of its cuts: train on, or cut earlier"),
        Pruning(**HALF).attached(net, optimizer, steps=8) as run,
    ):
        steps(net, optimizer, count=3)
    assert not run.arrived and zeros(net) == FIRST


def test_more_steps_than_were_said_fine_tune_on() -> None:
    net = layers(8, 30, 2)
    optimizer = ADAM(net.parameters())
    with Pruning(**HALF).attached(net, optimizer, steps=8) as run:
        steps(net, optimizer, count=20)
    assert run.arrived and zeros(net) == 150 and run.strength == 0.0


def test_stages_without_validations_are_refused_and_what_was_left_is_told() -> None:
    net = layers(8, 30, 2)
    optimizer = ADAM(net.parameters())
    pruning = Pruning(0.0, SparsityPath((0.5, 0.8)), prune_at=0.5)
    with pytest.raises(ValueError, match=r"run\.validated\(\{'val/loss': loss\}\)"):
        pruning.attached(net, optimizer, steps=20)
    with pytest.raises(ValueError, match="the run of 20 steps has one every 10"):
        pruning.attached(net, optimizer, steps=20, steps_per_validation=10)
    with (
        pytest.warns(UserWarning, match="ended with 0 of the 2 stages"),
        pruning.attached(net, optimizer, steps=20, steps_per_validation=5),
    ):
        steps(net, optimizer, count=20)


def test_a_metric_that_is_not_there_is_told_at_the_first_validation() -> None:
    net = layers(8, 30, 2)
    pruning = Pruning(0.0, Budget("val/accuracy", 0.01), prune_at=0.5)
    run = pruning.attached(net, ADAM(net.parameters()), steps=99, steps_per_validation=9)
    with pytest.raises(ValueError, match=r"monitor='val/accuracy' is not among .*: val/loss"):
        run.validated({"val/loss": 1.0})


def test_the_last_validation_ends_the_last_stage_though_steps_were_skipped() -> None:
    net = layers(8, 30, 2)
    optimizer = ADAM(net.parameters())
    pruning = Pruning(0.0, SparsityPath((0.5, 0.8)), prune_at=0.5)
    with pruning.attached(net, optimizer, steps=20, steps_per_validation=4) as run:
        for count in (16, 3):  # of 20
            steps(net, optimizer, count=count)
            run.validated({"val/loss": looked_at(net)})
    assert [round(one["sparsity"], 2) for one in run.outcomes] == [0.5, 0.8]
    assert zeros(net) == 240
