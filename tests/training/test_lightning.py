"""Lightning's private names do in the installed version what they are used for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.loggers import WandbLogger
from tasks import Task, fit, layers, trainer
from torch import nn

from l1prune.training import lightning
from l1prune.training.resume.loader import ResumableLoader, Shuffle

averaging = pytest.importorskip("lightning.pytorch.callbacks.weight_averaging")


def test_callbacks_come_in_the_order_in_which_they_are_called() -> None:
    called: list[L.Callback] = []

    class Called(L.Callback):
        def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            called.append(self)

    run = fit(Task(), *(Called() for _ in range(3)), epochs=1)
    assert [one for one in lightning.callbacks_of(run) if isinstance(one, Called)] == called
    assert len(called) == 3


def test_a_checkpoint_io_around_another_does_what_that_does(tmp_path: Path) -> None:
    class Around(lightning.CheckpointIOWrapper):
        def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
            return {"found": super().load_checkpoint(*args, **kwargs)}

    plain = TorchCheckpointIO()
    around = Around(plain)
    assert around.checkpoint_io is plain
    around.save_checkpoint({"a": 1}, tmp_path / "a.ckpt")
    assert around.load_checkpoint(tmp_path / "a.ckpt") == {"found": {"a": 1}}
    around.remove_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "a.ckpt").exists()


def test_a_hook_of_the_modules_own_is_told_from_lightnings() -> None:
    class Own(Task):
        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            return

    assert lightning.overrides(Own(), "on_load_checkpoint")
    assert not lightning.overrides(Task(), "on_load_checkpoint")


# ---- averages


def with_batch_norm() -> Task:
    return Task(nn.Sequential(layers(8, 30), nn.BatchNorm1d(30), nn.Linear(30, 2)))


AVERAGES: list[Any] = [
    averaging.WeightAveraging,
    lambda: averaging.EMAWeightAveraging(decay=0.9),
    lambda: StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=1),
]


@pytest.mark.parametrize("make", AVERAGES)
def test_an_averaging_callback_keeps_its_average_where_it_is_looked_for(make: Any) -> None:
    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            found.append(lightning.average_of(average))

    found: list[nn.Module | None] = []
    average, task = make(), Task()
    assert lightning.keeps_average(average) and lightning.average_of(average) is None
    fit(task, average, Look())
    (kept,) = {id(one): one for one in found if one is not None}.values()
    assert type(kept) is Task and kept is not task
    assert [*kept.state_dict()] == [*task.state_dict()]


@pytest.mark.parametrize("make", AVERAGES)
def test_an_averaging_callback_counts_where_it_is_looked_for(make: Any) -> None:
    counted: list[int] = []

    class Look(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
            count = lightning.count_of(average)
            assert count is not None
            counted.append(int(count))
            count.zero_()

    average = make()
    fit(Task(), average, Look())
    assert counted == ([1] * 4 if isinstance(average, StochasticWeightAveraging) else [0, 5, 5, 5])


def test_another_callback_keeps_none() -> None:
    assert lightning.count_of(L.Callback()) is None
    assert not lightning.keeps_average(L.Callback())
    assert lightning.average_of(L.Callback()) is None


@pytest.mark.parametrize("make", [Task, with_batch_norm])
def test_stochastic_averaging_adds_an_epoch_where_it_renews_the_statistics(make: Any) -> None:
    renews: list[bool] = []
    epochs: list[int] = []

    class Look(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            renews.append(lightning.renews_batch_norm(average))
            epochs.append(trainer.current_epoch)

    average = StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=1)
    fit(make(), average, Look(), limit_val_batches=0)
    assert not lightning.renews_batch_norm(L.Callback())
    assert {*renews} == {make is with_batch_norm}
    assert len(epochs) == 4 + (make is with_batch_norm)


# ---- where a run can be stopped


@pytest.mark.parametrize(
    ("options", "between"),
    [
        ({}, [1, 1, 1, 1, 0]),
        ({"accumulate_grad_batches": 2}, [0, 1, 0, 1, 0]),
        ({"val_check_interval": 2}, [1, 0, 1, 0, 0]),
        ({"limit_train_batches": 3}, [1, 1, 0]),
    ],
    ids=str,
)
def test_a_batch_ends_between_what_lightning_resumes_as_one(
    options: dict[str, Any], between: list[int]
) -> None:
    ends: list[bool] = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            ends.append(lightning.ends_between(trainer))

    fit(Task(), Look(), epochs=2, **options)
    assert ends == between * 2


def test_loaders_get_their_states_when_they_are_asked_for(tmp_path: Path) -> None:
    class Ordered(Task):
        def train_dataloader(self) -> ResumableLoader[Any]:
            return ResumableLoader(self.data, 10, sampler=Shuffle(50, seed=0))

    class Save(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step == 7:
                trainer.save_checkpoint(tmp_path / "7.ckpt")

    class Load(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            lightning.load_loader_states(trainer)

    whole, rest = Ordered(), Ordered()
    fit(whole, Save(), limit_val_batches=0)
    fit(rest, Load(), resume=tmp_path / "7.ckpt", limit_val_batches=0)
    assert rest.losses == whole.losses[7:]


# ---- processes, loggers, modules


@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="torch was built without torch.distributed or gloo",
)
@pytest.mark.parametrize(("strategy", "launched"), [("ddp_spawn", True), ("auto", False)])
def test_a_strategy_that_launches_processes_of_its_own_is_known(
    strategy: str, launched: bool
) -> None:
    assert lightning.is_launched(trainer(strategy=strategy, devices=1)) == launched


@pytest.mark.parametrize("prefix", ["", "mine"])
def test_a_logger_for_wandb_says_whether_it_is_offline_and_how_it_names(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    logger = WandbLogger(save_dir=tmp_path, offline=True, prefix=prefix)
    assert lightning.is_offline(logger)
    assert not lightning.is_offline(WandbLogger(save_dir=tmp_path, prefix=prefix))
    written: list[str] = []

    class Run:
        def log(self, metrics: dict[str, float], **_: Any) -> None:
            written.extend(metrics)

    monkeypatch.setattr(type(logger), "experiment", Run())
    logger.log_metrics({"val/loss": 1.0})
    assert written == [lightning.prefixed(logger, "val/loss")]


def test_a_module_knows_whether_a_trainer_has_it() -> None:
    had: list[bool] = []

    class Look(Task):
        def on_fit_start(self) -> None:
            had.append(lightning.has_trainer(self))

    task = Look()
    assert not lightning.has_trainer(task)
    fit(task, epochs=1)
    assert had == [True]


def test_no_other_room_uses_a_private_name_of_lightning() -> None:
    package = Path(lightning.__file__).parents[1]
    private = ["_average_model", "_model_contains_batch_norm", "_data_fetcher", "_should_"]
    private += ["_load_combined_loader_states", "_WrappingCheckpointIO", "_trainer"]
    private += ["_MultiProcessingLauncher"]
    for file in package.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file != Path(lightning.__file__):
            assert not [name for name in private if f".{name}" in text or f" {name}" in text], file
