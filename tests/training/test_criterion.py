"""The criterion of a run: by default as suits optimizer, plan and pressure; settled once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from tasks import Task, fit
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop

from l1prune import (
    LAMP,
    Budget,
    Follow,
    Global,
    L1Pruning,
    Magnitude,
    Saliency,
    SemiStructured,
    Size,
    Sparsity,
    SparsityPath,
    Wanda,
    rounds,
)
from l1prune.cuts.plans import as_plan
from l1prune.cuts.thresholds import Threshold
from l1prune.training.criterion import MANY, RunCriterion, default_criterion
from l1prune.weights.targets import find_targets

ADAPTIVE = [Adam, AdamW, RMSprop, Adagrad]


def optimizer(make: Any = Adam) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = make(nn.Linear(2, 2).parameters(), lr=0.1)
    return made


class Own(Threshold):
    """Of the user's own: gradual, and as sparse as it is due to be by the progress."""

    gradual = True

    def keep(self, scores: list[Tensor], sizes: list[int], progress: float = 1.0) -> list[Tensor]:
        return Sparsity(0.8 * progress, scope=Global()).keep(scores, sizes)

    def __repr__(self) -> str:
        return "Own()"


# ---- the default


@pytest.mark.parametrize("make", ADAPTIVE)
@pytest.mark.parametrize(
    "threshold",
    [Sparsity(0.9), Own(), SemiStructured(), SparsityPath(), Budget("val/loss", 0.1)],
    ids=lambda threshold: type(threshold).__name__,
)
def test_many_small_cuts_go_by_saliency_where_the_optimizer_tells_it(
    make: Any, threshold: Any
) -> None:
    made = default_criterion(as_plan(threshold), MANY, False, [optimizer(SGD), optimizer(make)])
    assert isinstance(made, Saliency)


@pytest.mark.parametrize(
    ("threshold", "rounds", "presses_small", "make"),
    [
        (Sparsity(0.9), MANY - 1, False, Adam),
        (Sparsity(0.9), MANY, True, Adam),
        (Sparsity(0.9), MANY, False, SGD),
        (Sparsity(0.9, scope=LAMP()), MANY, False, Adam),
        (SparsityPath(scope=Global()), MANY, False, Adam),
        (Magnitude(0.1), MANY, False, Adam),
    ],
    ids=["few rounds", "small is pressed", "SGD", "LAMP", "path", "a size"],
)
def test_elsewhere_they_go_by_size(
    threshold: Any, rounds: int, presses_small: bool, make: Any
) -> None:
    made = default_criterion(as_plan(threshold), rounds, presses_small, [optimizer(make)])
    assert made == Size()


def test_a_gradual_threshold_of_the_users_own_gets_fifty_rounds_and_saliency() -> None:
    callback = L1Pruning(threshold=Own())
    assert callback.recipe.prune_at == rounds(0.1, 0.6, 50)
    fit(Task(), callback, epochs=10)
    assert callback.report is not None
    assert callback.report.sparsity == 0.8
    assert callback.report.criterion == "Saliency(least=0.6)"


# ---- in a run


@pytest.mark.parametrize(
    ("arguments", "make", "name"),
    [
        ({}, Adam, "Saliency(least=0.6)"),
        ({}, SGD, "Size()"),
        ({"prune_at": 0.5}, Adam, "Size()"),
        ({"strength": Follow()}, Adam, "Size()"),
        ({"threshold": 0.1}, Adam, "Size()"),
        ({"threshold": Sparsity(0.5, scope=LAMP())}, Adam, "Size()"),
        ({"criterion": Saliency(0.3), "prune_at": 0.5}, Adam, "Saliency(least=0.3)"),
        ({"criterion": Wanda()}, SGD, "Wanda()"),
        ({"criterion": Size()}, Adam, "Size()"),
    ],
    ids=str,
)
def test_the_report_tells_the_criterion(arguments: dict[str, Any], make: Any, name: str) -> None:
    callback = L1Pruning(**arguments)
    fit(Task(optimizer=partial(make, lr=0.01)), callback, epochs=10)
    assert callback.report is not None and callback.report.criterion == name
    assert f"fewer by {name}; " in str(callback.report)


def test_saliency_without_an_optimizer_that_tells_it_is_refused_before_training() -> None:
    task = Task(optimizer=partial(SGD, lr=0.01))
    with pytest.raises(ValueError, match=r"criterion=Saliency\(least=0\.6\) goes by .* SGD does"):
        fit(task, L1Pruning(criterion=Saliency()))
    assert not task.losses


class Save(L.Callback):
    """Saves a checkpoint after two of four epochs."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.file)


def test_a_run_does_not_go_on_with_another_default(tmp_path: Path) -> None:
    def cutting() -> L1Pruning:
        return L1Pruning(threshold=Sparsity(0.8), prune_at=rounds(0.2, 0.8, 12))

    adagrad, sgd = (Task(optimizer=partial(make, lr=0.01)) for make in (Adagrad, SGD))
    fit(adagrad, cutting(), Save(tmp_path / "half.ckpt"))
    says = (
        r"the run began with cuts by Saliency\(least=0\.6\) and would go on with cuts by Size\(\): "
        "give criterion and optimizer that it began with, or begin a new run"
    )
    with pytest.raises(ValueError, match=says) as caught:
        fit(sgd, cutting(), resume=tmp_path / "half.ckpt")
    assert not sgd.losses and "\n" not in str(caught.value)
    again = Task(optimizer=partial(Adagrad, lr=0.01))
    fit(again, cutting(), resume=tmp_path / "half.ckpt")
    assert again.losses == adagrad.losses[10:]


# ---- the state


def settled(given: Any = None) -> RunCriterion:
    criterion = RunCriterion(given)
    criterion.settle(as_plan(Sparsity(0.9)), MANY, False, [optimizer()])
    return criterion


def test_before_it_is_settled_it_has_no_name() -> None:
    assert str(RunCriterion(None)) == "" and RunCriterion(None).state_dict()["state"] == {}
    assert str(settled()) == "Saliency(least=0.6)"
    assert str(settled(Wanda())) == "Wanda()"


def test_a_state_that_was_loaded_can_be_saved_before_it_is_settled() -> None:
    state = settled().state_dict()
    again = RunCriterion(None)
    again.load_state_dict(state)
    assert again.state_dict() == state and str(again) == "Saliency(least=0.6)"


@pytest.mark.parametrize("given", [None, Wanda(), Size()])
def test_a_state_that_was_saved_before_anything_was_settled_loads_as_nothing(given: Any) -> None:
    again = RunCriterion(given)
    again.load_state_dict(RunCriterion(given).state_dict())
    again.settle(as_plan(Sparsity(0.9)), MANY, False, [optimizer()])
    assert again.state_dict() == settled(given).state_dict()


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.parametrize("first", [True, False], ids=["listed first", "listed last"])
def test_a_run_whose_learning_rate_is_looked_for_first_is_a_run(
    tmp_path: Path, first: bool
) -> None:
    task, pruning = Task(), L1Pruning()
    task.lr = 0.01
    look = LearningRateFinder(num_training_steps=8)
    order = [pruning, look] if first else [look, pruning]
    fit(task, *order, epochs=6, default_root_dir=tmp_path)
    assert pruning.report and pruning.report.sparsity >= 0.95


def test_a_run_has_a_copy_of_the_criterion_that_it_was_given() -> None:
    given, net = Wanda(), nn.Linear(3, 2)
    criterion = settled(given)
    criterion.watch(net, find_targets(net))
    net(torch.ones(1, 3))
    assert criterion.state_dict()["state"]["inputs"] == [
        {"weight": criterion.state_dict()["state"]["inputs"][0]["weight"]}
    ]
    assert given.state_dict() == {"inputs": [{}]}
    criterion.reset()
    assert criterion.state_dict()["state"] == {"inputs": [{}]}
    assert not net._forward_pre_hooks
