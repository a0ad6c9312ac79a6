"""Movers: who may move weights is the user's own, and what is done before steps comes last."""

from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.strategies import SingleDeviceStrategy
from tasks import Task, fit

from l1prune.training.movers import ELSEWHERE, LATE, BeforeSteps, moves_by_steps_alone, suspects


class Noise(L.Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        return


class Noisy(Task):
    def on_train_epoch_end(self) -> None:
        return


def test_callbacks_and_modules_are_suspected_of_the_hooks_that_are_their_own() -> None:
    callbacks = [EarlyStopping("loss"), Noise()]
    assert suspects(callbacks, Task(), LATE) == ["Noise.on_train_batch_start"]
    assert suspects(callbacks[:1], Noisy(), ELSEWHERE) == ["Noisy.on_train_epoch_end"]
    assert suspects(callbacks[:1], Task(), LATE + ELSEWHERE) == []


class Own(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        return super().step(closure)


@pytest.mark.parametrize(
    ("make", "alone"), [(torch.optim.SGD, True), (Own, False)], ids=["torch", "own"]
)
def test_only_optimizers_of_torch_move_weights_by_steps_alone(make: Any, alone: bool) -> None:
    task = Task(optimizer=lambda weights: make(weights, lr=0.1))
    trainer = fit(task, epochs=1)
    assert moves_by_steps_alone(trainer, task) == alone


# ---- before steps


class Steps(SingleDeviceStrategy):
    """Writes down what is done, instead of doing it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        self.done.append("step")
        return args, kwargs

    validation_step = test_step = training_step


def test_it_acts_right_before_each_step_and_hands_it_what_it_is_given() -> None:
    strategy = Steps()
    hook = BeforeSteps(strategy, lambda: strategy.done.append("act"))
    for step in (strategy.training_step, strategy.validation_step, strategy.test_step):
        assert step(1, at=2) == ((1,), {"at": 2})
    assert strategy.done == ["act", "step"] * 3
    hook.remove()
    strategy.training_step()
    assert strategy.done[6:] == ["step"]
    assert not {"training_step", "validation_step", "test_step"} & set(vars(strategy))


def test_let_go_it_leaves_what_others_have_hung_on_the_strategy() -> None:
    strategy, others = Steps(), (lambda: "below", lambda: "above")
    vars(strategy)["training_step"] = others[0]
    hook = BeforeSteps(strategy, lambda: strategy.done.append("act"))
    assert strategy.training_step() == "below"
    vars(strategy)["test_step"] = others[1]
    hook.remove()
    assert (strategy.training_step(), strategy.test_step()) == ("below", "above")
    assert strategy.done == ["act"]
