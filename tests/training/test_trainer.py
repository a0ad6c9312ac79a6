"""Trainer: what a run asks of its loop is answered as the Trainer is set up."""

from __future__ import annotations

from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import BackboneFinetuning, StochasticWeightAveraging
from tasks import Task, fit
from torch import Tensor

from l1prune import Budget, SparsityPath
from l1prune.training.clock import TrainerClock
from l1prune.training.trainer import TrainerLoop


class Clipping(Task):
    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        return


class Manual(Task):
    automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        return


def loop(task: Task, *callbacks: L.Callback, **options: Any) -> TrainerLoop:
    return TrainerLoop(fit(task, *callbacks, epochs=3, **options), task, TrainerClock())


def test_only_a_step_that_may_clip_asks_for_gradients_of_removed_weights() -> None:
    assert not loop(Task()).clips_gradients()
    assert loop(Task(), gradient_clip_val=1.0).clips_gradients()
    assert loop(Clipping()).clips_gradients()
    assert loop(Manual()).clips_gradients()


def test_a_smoke_test_is_a_trial() -> None:
    assert loop(Task(), fast_dev_run=2).is_trial
    assert not loop(Task()).is_trial


def test_finetuning_of_a_backbone_thaws() -> None:
    task = Task()
    trainer = L.Trainer(callbacks=[BackboneFinetuning()], logger=False, accelerator="cpu")
    assert TrainerLoop(trainer, task, TrainerClock()).thaws
    assert not loop(task).thaws


@pytest.mark.parametrize(
    ("plan", "callbacks", "options", "said"),
    [
        (SparsityPath((0.5, 0.9)), [], {"limit_val_batches": 0}, "the run has no validation"),
        (SparsityPath((0.5, 0.9)), [], {"check_val_every_n_epoch": 2}, "has one every 10"),
        (
            Budget("val/loss", 0.1, rounds=1),
            [StochasticWeightAveraging(0.01)],
            {},
            "StochasticWeightAveraging does not follow",
        ),
    ],
    ids=["none", "few", "average"],
)
def test_stages_that_cannot_end_or_go_back_are_refused(
    plan: Any, callbacks: list[L.Callback], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        loop(Task(), *callbacks, **options).check_stages(plan, shortest=0.4)
