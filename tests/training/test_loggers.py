"""What the loggers are told, read back from what the real wandb wrote offline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import rank_zero_only
from tasks import trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune.runs import wandb as wandb_runs
from l1prune.training import loggers
from l1prune.training.validations import Validations
from l1prune.weights.report import SparsityReport

COUNTS = [40.0, 30.0, 20.0]
LOSSES = [3.0, 1.0, 2.0]
CONFIG = {"seed": 3, "prune": {"threshold": {"sparsity": 0.75}}}


class Module(pl.LightningModule):
    """A user's own: metrics logged in a step and at an epoch's end, under names that it chose."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("val/accuracy", 0.5)
        self.log("valuable", 1.0)

    def on_validation_epoch_end(self) -> None:
        self.log("val/own thing", LOSSES[self.current_epoch])

    def test_step(self, batch: list[torch.Tensor]) -> None:
        self.log("test/accuracy", 0.25)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Tell(pl.Callback):
    """Calls what a pruning callback calls, and logs the count apart from all other metrics."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loggers.define_axes(trainer.loggers)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(
                {"params/nonzero": COUNTS[trainer.current_epoch]}, trainer.global_step
            )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loggers.define_axes(trainer.loggers, trainer.callback_metrics)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loggers.define_axes(trainer.loggers, trainer.callback_metrics)


def pruned() -> SparsityReport:
    model = nn.Linear(4, 2)
    model.weight.data.fill_(1.0)[:, :3].zero_()
    return SparsityReport.of(model)


def walked() -> Validations:
    """A network that was better before it was cut."""
    validations = Validations()
    validations.note(8, False, {"val_own": 0.99, "val/loss": 0.1})
    validations.note(2, True, {"val_own": 0.5, "val/loss": 2.0})
    validations.note(2, True, {"val_own": 0.75, "val/loss": 1.0})
    return validations


@dataclass
class Written:
    """One run as wandb stored it: its records by type, the metrics it defined, its files."""

    records: list[dict[str, Any]]
    folder: Path

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def start(self) -> dict[str, Any]:
        (run,) = self.of_type("run")
        return dict(run)

    @property
    def axes(self) -> dict[str, str]:
        metrics = self.of_type("metric")
        return {m.get("name") or m["glob_name"]: m.get("step_metric", "") for m in metrics}

    def rows_with(self, key: str) -> list[dict[str, Any]]:
        rows = [record["item"] for record in self.of_type("history")]
        return [row for row in rows if key in row]

    def merged(self, kind: str) -> dict[str, Any]:
        return {k: v for record in self.of_type(kind) for k, v in record["update"].items()}


def read_back(logger: WandbLogger) -> Written:
    file = Path(logger.experiment.settings.sync_file)
    wandb.finish()
    return written_in(file)


def written_in(file: Path) -> Written:
    """Read a run's transaction log with wandb's own reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Written([json.loads(line) for line in lines.splitlines()], file.parent)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Wandb as it is, but without a network, and with all that it writes in one folder."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(folder))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_CONSOLE", "off")
        yield folder
        wandb.teardown()


@pytest.fixture(scope="module")
def written(offline: Path) -> Written:
    logger = WandbLogger(project="test", save_dir=offline, offline=True)
    places = {"logger": logger, "default_root_dir": offline}
    run = trainer(Tell(), epochs=len(COUNTS), log_every_n_steps=1, **places)
    data = DataLoader(TensorDataset(torch.ones(4, 4)), batch_size=4)
    wandb_runs.log_config([logger], CONFIG)
    run.fit(Module(), data, data)
    run.test(Module(), data, verbose=False)
    validations = walked()
    loggers.log_extremes([logger], validations)
    loggers.log_frontier([logger], validations)
    loggers.log_layers([logger], pruned())
    wandb_runs.log_frontier([logger], [(4, 0.5), (2, 0.75)], (2, 0.25))
    for alias in ("best", "final"):
        (offline / f"{alias}.bin").write_text(alias)
        wandb_runs.log_model([logger], offline / f"{alias}.bin", pruned().to_dict(), alias)
    loggers.summarise([logger], pruned(), run.callback_metrics | {"seconds": 1.5})
    return read_back(logger)


def test_the_frontier_is_drawn_against_the_weights_left(written: Written) -> None:
    names = (
        "frontier/*",
        *(f"frontier/{name}" for name in ("val/accuracy", "val_own", "val/loss")),
    )
    for name in (*names, "frontier/test/accuracy"):
        assert written.axes[name] == "params/nonzero"


def test_a_run_is_points_of_a_chart_that_all_runs_are_on(written: Written) -> None:
    rows = written.rows_with("frontier/val_own")
    assert [(row["params/nonzero"], row["frontier/val_own"]) for row in rows] == [(2, 0.75)]


def test_all_else_keeps_the_axis_that_lightning_gave_it(written: Written) -> None:
    assert written.axes["*"] == "trainer/global_step"
    # A learning curve is one over time, and so is the axis itself.
    others = {"val/accuracy", "val/own thing", "test/accuracy", "valuable", "train/loss"}
    assert not {*others, "params/nonzero"} & written.axes.keys()


def test_the_summary_holds_the_final_figures(written: Written) -> None:
    summary = written.merged("summary")
    expected = {
        "params/total": 10,
        "params/prunable": 8,
        "params/nonzero": 2,
        "params/sparsity": 0.75,
        "params/compression": 4,
        "test/accuracy": 0.25,
        "seconds": 1.5,
    }
    assert {key: summary[key] for key in expected} == expected


def test_the_summary_holds_the_extremes_of_networks_that_have_arrived(written: Written) -> None:
    summary = written.merged("summary")
    found = {name: value for name, value in summary.items() if name.endswith((".min", ".max"))}
    assert found == {"val_own.min": 0.5, "val_own.max": 0.75, "val/loss.min": 1, "val/loss.max": 2}
    assert summary["val/own thing"] == LOSSES[-1]


def test_every_setting_is_stored_under_its_name_on_the_command_line(written: Written) -> None:
    stored = written.merged("config")
    assert {key: value for key, value in stored.items() if not key.startswith("_wandb")} == {
        "seed": 3,
        "prune.threshold.sparsity": 0.75,
    }


def test_the_chart_shows_every_epoch_and_the_test(written: Written) -> None:
    panel = written.merged("config")["_wandb.visualize.frontier"]
    assert panel["panel_config"]["panelDefId"] == "wandb/scatter/v0"
    (file,) = (written.folder / "files" / "media" / "table").rglob("frontier*.table.json")
    table = json.loads(file.read_text())
    assert set(panel["panel_config"]["fieldSettings"].values()) <= set(table["columns"])
    assert table["data"] == [[4, 0.5, "val"], [2, 0.75, "val"], [2, 0.25, "test"]]


def test_the_model_is_an_artifact_that_says_what_it_is(written: Written) -> None:
    models = [model for model in written.of_type("artifact") if model["type"] == "model"]
    assert {model["name"] for model in models} == {f"model-{written.start['run_id']}"}
    assert [set(model["aliases"]) for model in models] == [{"best", "latest"}, {"final", "latest"}]
    assert [[file["path"] for file in model["manifest"]["contents"]] for model in models] == [
        ["best.bin"],
        ["final.bin"],
    ]
    assert json.loads(models[0]["metadata"]) == pruned().to_dict()


def test_the_layers_are_a_table(written: Written) -> None:
    (file,) = (written.folder / "files" / "media" / "table").rglob("layers*.table.json")
    assert json.loads(file.read_text()) == {
        "columns": ["layer", "shape", "weights", "left", "sparsity", "why left alone"],
        "data": [
            ["weight", "2×4", 8, 2, 0.75, ""],
            ["bias", "", 2, 2, 0, "bias or scale"],
        ],
    }


def test_a_prefix_of_the_logger_is_kept(offline: Path) -> None:
    logger = WandbLogger(project="test", save_dir=offline, offline=True, prefix="mine")
    loggers.define_axes([logger], ["val/loss"])
    loggers.summarise([logger], pruned())
    back = read_back(logger)
    assert back.axes["mine-frontier/val/loss"] == "mine-params/nonzero"
    assert back.merged("summary")["mine-params/nonzero"] == 2


def start(folder: Path, **settings: Any) -> Written:
    logger = wandb_runs.wandb_logger(folder, project="test", offline=True, **settings)
    logger.log_metrics({"val/loss": 1.0})
    return read_back(logger)


def test_the_same_folder_is_the_same_run(offline: Path) -> None:
    first, again, other = (start(offline / name) for name in ("a", "a", "b"))
    assert first.folder != again.folder  # nothing of the first start is lost
    assert first.start["run_id"] == again.start["run_id"] != other.start["run_id"]
    assert again.start["resume"] is True
    assert first.rows_with("val/loss") and again.rows_with("val/loss")


def test_an_id_from_outside_wins(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(offline / "c", id="mine").start["run_id"] == "mine"
    monkeypatch.setenv("WANDB_RUN_ID", "fromagent")
    wandb.teardown()  # which has read its environment
    assert start(offline / "c").start["run_id"] == "fromagent"
    monkeypatch.delenv("WANDB_RUN_ID")
    wandb.teardown()


def test_runs_are_grouped_and_tagged(offline: Path) -> None:
    run = start(offline / "d", group="digits-mlp", tags=["digits", None, "l1"]).start
    assert (run["run_group"], run["tags"]) == ("digits-mlp", ["digits", "l1"])


def test_an_abandoned_run_has_failed_and_the_next_is_another(offline: Path) -> None:
    logger = wandb_runs.wandb_logger(offline / "e", project="test", offline=True)
    file = Path(logger.experiment.settings.sync_file)
    wandb_runs.abandon()
    assert [end["exit_code"] for end in written_in(file).of_type("exit")] == [1]
    wandb_runs.abandon()  # there is none: nothing happens
    assert start(offline / "f").start["run_id"] != logger.version


def tell_everything(told: list[Logger]) -> None:
    loggers.define_axes(told, ["val/loss"])
    loggers.introduce(told, "l1", {"threshold": "Sparsity(0.5)"})
    loggers.log_extremes(told, walked())
    loggers.log_frontier(told, walked())
    loggers.conclude(told, "l1", pruned())
    wandb_runs.log_config(told, CONFIG)
    loggers.log_layers(told, pruned())
    wandb_runs.log_frontier(told, [], (1, 0.5))
    wandb_runs.log_model(told, __file__, {}, "best")
    loggers.summarise(told, pruned(), {"val/loss": torch.tensor(1.0)})
    wandb_runs.finish(told)


def test_without_a_wandb_logger_wandb_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it is now an error
    tell_everything([])
    tell_everything([DummyLogger(), CSVLogger(tmp_path), TensorBoardLogger(tmp_path)])


def test_a_run_says_what_it_is(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    logger = WandbLogger(project="test", save_dir=offline, offline=True)
    arguments = {"threshold": "Sparsity(0.5)", "prune_at": "0.1, " * 50, "refit": "None"}
    loggers.introduce([logger], "l1", arguments)
    loggers.conclude([logger], "l1", pruned())
    assert (logger.experiment.name, logger.experiment.tags) == ("l1 25 % seed 3", ("l1prune", "l1"))
    told = dict(logger.experiment.config)
    assert len(told.pop("prune.prune_at")) == 80
    assert told == {"prune.threshold": "Sparsity(0.5)", "labels.prune": "l1", "seed": 3}
    wandb.finish()


def test_what_a_person_said_is_kept(offline: Path) -> None:
    logger = WandbLogger(project="t", save_dir=offline, offline=True, name="mine", tags=["a"])
    logger.log_hyperparams({"prune.threshold": 0.5, "seed": 9})
    loggers.introduce([logger], "l1", {"threshold": "Sparsity(0.5)"})
    loggers.conclude([logger], "l1", pruned())
    assert (logger.experiment.name, logger.experiment.tags) == ("mine", ("a",))
    assert dict(logger.experiment.config) == {"prune.threshold": 0.5, "seed": 9}
    wandb.finish()


def test_only_rank_zero_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses(DummyLogger):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"a rank that should be silent used {name!r}")

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    tell_everything([Refuses()])


def test_a_disabled_wandb_is_no_error(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tell_everything([WandbLogger(project="test", save_dir=offline)])
