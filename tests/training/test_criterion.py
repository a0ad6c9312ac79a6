"""The criterion of a run: by default as suits optimizer, plan and pressure; settled once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import BaseFinetuning, LearningRateFinder
from tasks import Save, Task, fit
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Rprop

from l1prune import (
    L1,
    LAMP,
    Budget,
    Follow,
    Global,
    GroupL1,
    L1Pruning,
    Magnitude,
    Refit,
    Saliency,
    SemiStructured,
    Size,
    Sparsity,
    SparsityPath,
    Wanda,
    once,
    rounds,
)
from l1prune.cuts.masks import cut
from l1prune.cuts.plans import as_plan
from l1prune.cuts.thresholds import Threshold
from l1prune.training.criterion import MANY, RunCriterion, default_criterion
from l1prune.weights.targets import find_targets


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


@pytest.mark.parametrize(
    "threshold",
    [Sparsity(0.9), Own(), SemiStructured(), SparsityPath(), Budget("val/loss", 0.1)],
    ids=lambda threshold: type(threshold).__name__,
)
def test_many_small_cuts_go_by_saliency(threshold: Any) -> None:
    plan = as_plan(threshold)
    assert str(default_criterion(plan, L1(), MANY, False)) == str(Saliency())
    # What is known of a unit of many weights is the mean of many.
    assert str(default_criterion(plan, GroupL1(), MANY, False)) == str(Saliency(shrinkage=0.0))


@pytest.mark.parametrize(
    ("threshold", "rounds", "presses_small"),
    [
        (Sparsity(0.9), MANY - 1, False),
        (Sparsity(0.9), MANY, True),
        (Sparsity(0.9, scope=LAMP()), MANY, False),
        (SparsityPath(scope=Global()), MANY, False),
        (Magnitude(0.1), MANY, False),
    ],
    ids=["few rounds", "small is pressed", "LAMP", "path", "a size"],
)
def test_elsewhere_they_go_by_size(threshold: Any, rounds: int, presses_small: bool) -> None:
    assert default_criterion(as_plan(threshold), L1(), rounds, presses_small) == Size()


def test_a_gradual_threshold_of_the_users_own_gets_fifty_rounds_and_saliency() -> None:
    callback = L1Pruning(threshold=Own())
    assert callback.recipe.prune_at == rounds(0.1, 0.6, 50)
    fit(Task(), callback, epochs=10)
    assert callback.report is not None
    assert callback.report.sparsity == 0.8
    assert callback.report.criterion == "Saliency(least=0.6, shrinkage=0.5)"


# ---- in a run


@pytest.mark.parametrize(
    ("arguments", "make", "name"),
    [
        ({}, Adam, "Saliency(least=0.6, shrinkage=0.5)"),
        ({}, SGD, "Saliency(least=0.6, shrinkage=0.5)"),
        ({}, Rprop, "Saliency(least=0.6, shrinkage=0.5)"),
        (
            {"penalty": GroupL1(), "threshold": Sparsity(0.5)},
            Adam,
            "Saliency(least=0.6, shrinkage=0.0)",
        ),
        ({"prune_at": once(0.5)}, Adam, "Size()"),
        ({"strength": Follow()}, Adam, "Size()"),
        ({"threshold": 0.1}, Adam, "Size()"),
        ({"threshold": Sparsity(0.5, scope=LAMP())}, Adam, "Size()"),
        (
            {"criterion": Saliency(0.3), "prune_at": once(0.5)},
            Adam,
            "Saliency(least=0.3, shrinkage=0.5)",
        ),
        ({"criterion": Wanda()}, SGD, "Wanda()"),
        ({"criterion": Size()}, Adam, "Size()"),
    ],
    ids=str,
)
def test_the_report_tells_the_criterion(arguments: dict[str, Any], make: Any, name: str) -> None:
    callback = L1Pruning(**arguments)
    fit(Task(optimizer=partial(make, lr=0.01)), callback, epochs=10)
    assert callback.report is not None and callback.report.criterion == name
    assert f"fewer prunable weights by {name}, " in str(callback.report)


MAKERS: dict[str, Any] = {
    "Adagrad": partial(Adagrad, lr=0.01),
    "SGD": partial(SGD, lr=0.05),
    "not known": partial(Adadelta, lr=0.5),
    "Nesterov": partial(SGD, lr=0.05, momentum=0.9, nesterov=True, foreach=True),
}


def cutting(**arguments: Any) -> L1Pruning:
    """Twelve cuts, of which half are made when the checkpoint is saved."""
    return L1Pruning(threshold=Sparsity(0.8), prune_at=rounds(0.2, 0.8, 12), **arguments)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_run_that_was_stopped_cuts_as_the_one_that_was_not(make: Any, tmp_path: Path) -> None:
    whole, rest = Task(optimizer=make), Task(optimizer=make)
    one, other = cutting(), cutting()
    fit(whole, one, Save(tmp_path / "half.ckpt", epochs=2))
    fit(rest, other, resume=tmp_path / "half.ckpt")
    assert rest.losses == whole.losses[10:]
    assert all(torch.equal(mask, other.masks[name]) for name, mask in one.masks.items())
    for (name, w), v in zip(whole.named_parameters(), rest.parameters(), strict=True):
        assert torch.equal(w, v), name


def test_a_run_does_not_go_on_with_another_criterion() -> None:
    began = settled(Wanda()).state_dict()
    again = RunCriterion(None)
    again.load_state_dict(began)
    says = (
        r"the run began with cuts by Wanda\(\) and would go on with cuts by Saliency\(least=0\.6, "
        r"shrinkage=0\.5\): give the criterion that it began with, or begin a new run"
    )
    with pytest.raises(ValueError, match=says) as caught:
        again.settle(as_plan(Sparsity(0.9)), L1(), MANY, False, [optimizer()])
    assert "\n" not in str(caught.value)


class Noted(L.Callback):
    """Of how many weights the criterion knows moments, and how many hooks there are, each step."""

    def __init__(self) -> None:
        self.moments: list[int] = []
        self.pressed: list[int] = []
        self.hooks: list[int] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        (pruning,) = (one for one in trainer.callbacks if isinstance(one, L1Pruning))
        state = pruning.state_dict()
        self.moments.append(len(state["criterion"]["state"]["gradients"]))
        self.pressed.append(len(state["gradients"]))
        self.hooks.append(len(trainer.optimizers[0]._optimizer_step_pre_hooks))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "moments", "pressed"),
    [(SGD, 2, 0), (Adadelta, 2, 2), (Adam, 0, 0)],
    ids=["it keeps none", "its metric is not known either", "it keeps its own"],
)
def test_gradients_are_noted_until_the_last_cut_and_where_nobody_else_does(
    make: Any, moments: int, pressed: int
) -> None:
    noted = Noted()
    fit(Task(optimizer=partial(make, lr=0.01)), cutting(), noted)
    before, after = 16, 4  # the last cut is made as the step after 80 % begins
    assert noted.moments == [moments] * before + [0] * after
    assert noted.pressed[1:] == [pressed] * (before - 1) + [0] * after
    assert len(set(noted.hooks[:before])) == len(set(noted.hooks[before:])) == 1
    assert noted.hooks[0] == noted.hooks[-1] + 1  # the criterion's


def test_sgd_goes_by_the_squares_that_adam_would_have_kept() -> None:
    """While weights stay as they are, both see the same gradients."""
    made = {}
    for make in (SGD, Adam):
        callback = cutting(strength=0.0)
        fit(Task(optimizer=partial(make, lr=0.0)), callback)
        made[make] = callback.masks
    assert all(torch.equal(mask, made[Adam][name]) for name, mask in made[SGD].items())


class Joins(BaseFinetuning):
    """Trains the first layer from the second epoch on, in a group of its own."""

    def freeze_before_training(self, module: L.LightningModule) -> None:
        self.freeze(module.net[0])  # type: ignore[index,union-attr,arg-type]

    def finetune_function(
        self, module: L.LightningModule, epoch: int, optimizer: torch.optim.Optimizer
    ) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(module.net[0], optimizer)  # type: ignore[index,union-attr,arg-type]


def test_weights_that_join_later_are_followed_from_then_on() -> None:
    noted = Noted()

    def moved(w: Any) -> torch.optim.Optimizer:
        return SGD([one for one in w if one.requires_grad], lr=0.01)

    fit(Task(optimizer=moved), cutting(), noted, Joins())
    assert noted.moments[:16] == [1] * 5 + [2] * 11


# ---- the state


def settled(given: Any = None) -> RunCriterion:
    criterion = RunCriterion(given)
    criterion.settle(as_plan(Sparsity(0.9)), L1(), MANY, False, [optimizer()])
    return criterion


def test_before_it_is_settled_it_has_no_name() -> None:
    assert str(RunCriterion(None)) == "" and RunCriterion(None).state_dict()["state"] == {}
    assert str(settled()) == "Saliency(least=0.6, shrinkage=0.5)"
    assert str(settled(Wanda())) == "Wanda()"


def test_a_state_that_was_loaded_can_be_saved_before_it_is_settled() -> None:
    state = settled().state_dict()
    again = RunCriterion(None)
    again.load_state_dict(state)
    assert again.state_dict() == state and str(again) == "Saliency(least=0.6, shrinkage=0.5)"


@pytest.mark.parametrize("given", [None, Wanda(), Size()])
def test_a_state_that_was_saved_before_anything_was_settled_loads_as_nothing(given: Any) -> None:
    again = RunCriterion(given)
    again.load_state_dict(RunCriterion(given).state_dict())
    again.settle(as_plan(Sparsity(0.9)), L1(), MANY, False, [optimizer()])
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
    criterion.watch(net, find_targets(net), [])
    net(torch.ones(1, 3))
    (seen,) = criterion.state_dict()["state"]["inputs"]
    assert list(seen) == ["weight"]
    assert given.state_dict() == {"inputs": [{}]}
    criterion.reset()
    assert criterion.state_dict()["state"] == {"inputs": [{}]}
    assert not net._forward_pre_hooks


def test_a_criterion_within_another_sees_steps_too() -> None:
    net = nn.Linear(3, 2)
    sgd = SGD(net.parameters(), lr=0.1)
    for given, learned in ((Refit(), ["weight"]), (Refit(Size()), []), (Size(), [])):
        criterion = settled(given)
        criterion.watch(net, find_targets(net), [sgd])
        net(torch.ones(1, 3)).sum().backward()
        sgd.step()
        state = criterion.state_dict()["state"]
        assert list(state.get("criterion", {}).get("gradients", {})) == learned
        criterion.close()
        assert not sgd._optimizer_step_pre_hooks  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float64])
def test_what_a_criterion_weighs_by_stays_its_own(dtype: torch.dtype) -> None:
    kept = torch.ones(3, 4).to(dtype)

    class Kept(Size):
        def weigh(self, targets: Any, optimizers: Any) -> list[torch.Tensor]:
            return [kept]

    layer = nn.Linear(4, 3)
    targets = find_targets(layer)
    found = settled(Kept())
    masks: dict[str, torch.Tensor] = {}
    for sparsity in (0.5, 0.75):
        with found.weighed(targets, []) as worth:
            masks = cut(targets, L1(), Sparsity(sparsity), masks, worth=worth)
    assert kept.dtype == dtype and bool((kept == 1).all())
