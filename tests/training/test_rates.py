"""Rewinding: every schedule can be gone through again, and none notices that it was looked at."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from tasks import Task, examples, fit, layers
from torch import Tensor
from torch.optim import SGD, Optimizer, lr_scheduler

from l1prune import HoldPeak, L1Pruning, Sparsity, SparsityPath, once
from l1prune.training.rates import position

Make = Callable[[Optimizer, int], Any]
SCHEDULES: dict[str, tuple[str, Make]] = {
    "lambda": ("step", lambda o, n: lr_scheduler.LambdaLR(o, lambda step: 1 - step / n)),
    "cosine": ("step", lr_scheduler.CosineAnnealingLR),
    "one cycle": ("step", lambda o, n: lr_scheduler.OneCycleLR(o, 0.1, total_steps=n)),
    "exponential": ("step", lambda o, n: lr_scheduler.ExponentialLR(o, 0.9)),
    "epochs": ("epoch", lambda o, n: lr_scheduler.StepLR(o, 1, gamma=0.5)),
    "sequence": (
        "step",
        lambda o, n: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.1, 1.0, 4), lr_scheduler.CosineAnnealingLR(o, n - 4)],
            [4],
        ),
    ),
}


class Scheduled(Task):
    """Writes down the learning rate of each step."""

    def __init__(self, interval: str, make: Make | None) -> None:
        super().__init__(layers(8, 4), partial(SGD, lr=0.01, momentum=0.9), examples(40, 8, 4))
        self.interval, self.make = interval, make
        self.rates: list[float] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        if self.make is None:
            return optimizer
        scheduler = self.make(optimizer, int(self.trainer.estimated_stepping_batches))
        return [optimizer], [{"scheduler": scheduler, "interval": self.interval}]


def rates(task: Scheduled, *callbacks: L.Callback, **ends: Any) -> list[float]:
    fit(task, *callbacks, limit_val_batches=0, **{"epochs": 5, **ends})
    return task.rates


def cut(rewind: Any) -> L1Pruning:
    return L1Pruning(0.0, Sparsity(0.5), prune_at=once(0.5), rewind=rewind)


@pytest.mark.parametrize("name", SCHEDULES)
def test_both_halves_go_through_the_schedule_at_double_speed(name: str) -> None:
    planned = rates(Scheduled(*SCHEDULES[name]))
    walked = rates(Scheduled(*SCHEDULES[name]), cut(0.0))
    assert walked == pytest.approx([planned[2 * (step % 10)] for step in range(20)])


@pytest.mark.parametrize(
    "ends",
    [{"epochs": -1, "max_steps": 20}, {"epochs": 10, "accumulate_grad_batches": 3}],
)
def test_a_schedule_by_epochs_is_gone_through_however_the_run_ends(ends: dict[str, int]) -> None:
    planned = rates(Scheduled(*SCHEDULES["epochs"]), **ends)
    walked = rates(Scheduled(*SCHEDULES["epochs"]), cut(0.0), **ends)
    assert walked[0] == walked[len(walked) // 2] == planned[0]
    assert walked[-1] == planned[-1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_rewinding_the_schedule_is_left_alone(name: str) -> None:
    assert rates(Scheduled(*SCHEDULES[name]), cut(None)) == rates(Scheduled(*SCHEDULES[name]))


def taken_up(tmp_path: Path, name: str, callback: L1Pruning) -> tuple[list[float], list[float]]:
    """The rates that a dense run has planned for its second half, and those with a callback."""
    dense, pruned = Scheduled(*SCHEDULES[name]), Scheduled(*SCHEDULES[name])

    class Save(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if trainer.current_epoch == 4:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    planned = rates(dense, Save(), epochs=10)
    return planned[20:], rates(pruned, callback, epochs=10, resume=tmp_path / "half.ckpt")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("at", [0.5, 10])
def test_a_dense_run_taken_up_goes_through_what_is_left_of_its_schedule(
    tmp_path: Path, name: str, at: Any
) -> None:
    callback = L1Pruning(0.0, Sparsity(0.5), prune_at=at, rewind=0.0)
    planned, walked = taken_up(tmp_path, name, callback)
    assert walked == pytest.approx([planned[2 * (step % 10)] for step in range(20)])


def test_a_cut_at_a_step_fits_what_is_left_of_the_run_or_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prune_at=30 does not fit a run of 20 steps"):
        taken_up(tmp_path, "cosine", L1Pruning(0.0, Sparsity(0.5), prune_at=once(30)))


@pytest.mark.parametrize(
    "plan", [{"rewind": 0.2, "threshold": Sparsity(0.5)}, {"threshold": SparsityPath((0.5, 0.8))}]
)
def test_a_rate_that_nothing_schedules_is_left_alone(plan: Any) -> None:
    class ByHand(Scheduled):
        def on_train_epoch_start(self) -> None:
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = 0.01 * 0.5**self.current_epoch

    task = ByHand("step", None)
    fit(task, L1Pruning(0.0, prune_at=once(0.5), **plan), epochs=8)
    assert task.rates == [0.01 * 0.5 ** (step // 4) for step in range(32)]


class Numbered:
    """A scheduler that has to be told the epoch, as timm's."""

    def __init__(self, optimizer: Optimizer, *_: int) -> None:
        self.optimizer = optimizer

    def step(self, epoch: int) -> None:
        raise AssertionError

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        return


def test_a_schedule_that_cannot_be_walked_is_refused_before_the_first_step() -> None:
    class Told(Scheduled):
        def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
            return

    task = Told("epoch", Numbered)
    with pytest.raises(ValueError, match=r"Numbered.step\(\) cannot be walked: .*'epoch'"):
        rates(task, cut(0.2))
    assert not task.rates


def test_it_goes_back_no_further_than_asked() -> None:
    planned = rates(Scheduled(*SCHEDULES["lambda"]))
    walked = rates(Scheduled(*SCHEDULES["lambda"]), cut(0.5))
    assert walked[10:] == pytest.approx(planned[10:])


def test_a_constant_rate_stays() -> None:
    assert set(rates(Scheduled("step", None), cut(0.0))) == {0.01}


def test_a_schedule_that_looks_at_the_training_is_refused() -> None:
    class Plateau(Scheduled):
        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), 0.01)
            scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "monitor": "x"},
            }

    with pytest.raises(ValueError, match="ReduceLROnPlateau has no schedule to go back on"):
        rates(Plateau("step", None), cut(0.2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_peak_is_held_until_the_last_cut_and_the_rest_is_gone_through_after(name: str) -> None:
    planned = rates(Scheduled(*SCHEDULES[name]))
    walked = rates(Scheduled(*SCHEDULES[name]), cut(HoldPeak()))
    top = planned.index(max(planned))
    # Half of the steps come before the cut: the schedule as it is, as far as its peak.
    assert walked[:10] == pytest.approx([planned[min(step, top)] for step in range(10)])
    rest = [top + (20 - top) * step / 10 for step in range(10)]
    assert walked[10:] == pytest.approx([planned[int(at + 1e-6)] for at in rest])


def test_in_several_stages_each_has_the_peak_until_its_last_cut() -> None:
    plan = SparsityPath((0.5, 0.8))
    pruning = L1Pruning(0.0, plan, prune_at=once(0.5), rewind=HoldPeak())
    task = Scheduled(*SCHEDULES["lambda"])
    fit(task, pruning, epochs=16, limit_val_batches=1)
    middle = int(plan.ends[0] * 64)
    for first, end in ((0, middle), (middle, 64)):
        held = [0.01] * ((end - first) // 2)
        assert task.rates[first : first + len(held)] == held
        falls = task.rates[first + len(held) : end]
        assert falls == sorted(falls, reverse=True) and falls[-1] <= 0.002


def test_a_finetune_holds_the_peak_unless_it_is_told_otherwise() -> None:
    assert L1Pruning.finetune().recipe.rewind == HoldPeak()
    assert len(L1Pruning.finetune().recipe.prune_at) == 50
    assert L1Pruning.finetune(rewind=None).recipe.rewind is None


def test_a_schedule_that_is_not_known_is_left_alone_where_the_peak_is_to_be_held() -> None:
    class Plateau(Scheduled):
        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), 0.01)
            scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "monitor": "x", "frequency": 100},
            }

    task = Plateau("step", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rates(task, cut(HoldPeak()))
    told = [str(one.message) for one in caught if "left to its scheduler" in str(one.message)]
    assert len(told) == 1 and "ReduceLROnPlateau" in told[0]
    assert set(task.rates) == {0.01}


@pytest.mark.parametrize("rewind", [-0.1, 1.0, "late", True, HoldPeak])
def test_what_is_no_place_on_a_schedule_is_refused_at_once(rewind: Any) -> None:
    with pytest.raises(ValueError, match="rewind must be a share"):
        L1Pruning(rewind=rewind)


def test_no_part_reaches_beyond_the_schedule() -> None:
    ends = (0.3, 0.3, 0.9, 1.0)
    assert all(0 <= position(done / 100, ends, 0.2) <= 1 for done in range(101))
