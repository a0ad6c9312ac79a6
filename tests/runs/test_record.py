"""Whatever the program, its folder is one that `compare` reads; a dense one stands beside it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml  # type: ignore[import-untyped]
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from safetensors.torch import load_file
from tasks import Task, trainer
from torch import Tensor
from torch.utils.data import DataLoader

from l1prune import (
    BestCheckpoint,
    L1Pruning,
    PathCheckpoint,
    RunRecord,
    Sparsity,
    SparsityPath,
    rounds,
)
from l1prune.commands.compare import main
from l1prune.runs.curves import read_history
from l1prune.runs.monitor import Monitor
from l1prune.runs.points import find_runs, read_points
from l1prune.runs.record import MOST


class Regression(Task):
    """A person's own: a metric, names and hyper-parameters that nobody else chose."""

    def __init__(self, width: int = 30) -> None:
        super().__init__()
        self.save_hyperparameters()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_mse", self.loss(batch))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_mse", self.loss(batch))

    def test_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()


def run(folder: Path, *callbacks: L.Callback, seed: int = 0, test: bool = True, **told: Any) -> Any:
    L.seed_everything(seed, verbose=False)
    task = Regression()
    program = trainer(*callbacks, RunRecord(folder, **told), epochs=4)
    program.fit(task)
    if test:
        program.test(task, verbose=False)
    return task


def pruning() -> L1Pruning:
    return L1Pruning(threshold=Sparsity(0.5), prune_at=0.5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pruned and dense, two seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        stop = EarlyStopping("val_mse", patience=3)
        run(folder / f"pruned-{seed}", stop, pruning(), seed=seed)
        run(folder / f"dense-{seed}", stop, seed=seed)
    return folder


def test_a_program_of_ones_own_is_compared_with_the_dense_one(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compare.html"
    assert main([str(runs), "--output", str(page)]) == 0
    out, _ = capsys.readouterr()
    dense, pruned = (line.split("|")[1:-1] for line in out.splitlines()[2:4])
    assert [cell.strip() for cell in dense[:4]] == ["dense", "300 (1.0×)", "332 (1.0×)", "0, 1"]
    assert [cell.strip() for cell in pruned[:4]] == ["l1", "150 (2.0×)", "182 (1.8×)", "0, 1"]
    assert "test mse" in out and "− dense" in out and "%" not in out
    assert page.stat().st_size > 1_000_000


def test_a_record_has_figures_counts_and_settings(runs: Path) -> None:
    points, problems = read_points(find_runs([runs]))
    assert not problems and not [file for point in points for file in point.unread]
    dense, *_, pruned = points
    assert {p.monitor for p in points} == {Monitor("val_mse", "min")}
    assert (dense.recipe, dense.nonzero, pruned.recipe, pruned.nonzero) == ("dense", 300, "l1", 150)
    assert pruned.seed == 1 and pruned.tested and pruned.validation is not None
    assert pruned.settings["model.width"] == 30
    assert pruned.settings["prune.threshold"].startswith("Sparsity(sparsity=0.5")
    assert [layer.nonzero for layer in dense.layers] == [240, 60]
    assert len(pruned.history["epoch"]) == 4 and "val_mse" in pruned.history


def test_a_network_that_a_trainer_at_its_end_did_not_train_leaves_nothing(tmp_path: Path) -> None:
    program = trainer(RunRecord(tmp_path), epochs=2)
    program.fit(Regression())
    kept = (tmp_path / "model.safetensors").read_bytes()
    program.fit(Regression())
    assert (tmp_path / "model.safetensors").read_bytes() == kept


def test_the_file_of_weights_is_the_network_that_was_tested(tmp_path: Path) -> None:
    task = run(tmp_path, pruning())
    kept = load_file(tmp_path / "model.safetensors")
    assert kept.keys() == task.state_dict().keys()
    assert all(torch.equal(kept[name], value) for name, value in task.state_dict().items())
    assert sum(int(value.count_nonzero()) for n, value in kept.items() if "weight" in n) == 150


def test_without_a_test_the_figures_are_those_of_validation(tmp_path: Path) -> None:
    run(tmp_path, test=False)
    [point], _ = read_points([tmp_path])
    assert not point.tested and point.figure == point.validation


def test_checkpoints_are_as_they_would_be_without_it(tmp_path: Path) -> None:
    run = L.Trainer(callbacks=[RunRecord(tmp_path)], default_root_dir=tmp_path, logger=False)
    assert [type(one) for one in run.checkpoint_callbacks] == [ModelCheckpoint]


def test_what_is_logged_when_an_epoch_ends_is_in_its_line(tmp_path: Path) -> None:
    class Late(Regression):
        def on_train_epoch_end(self) -> None:
            self.log("late", float(self.current_epoch))

    trainer(RunRecord(tmp_path), epochs=3).fit(Late())
    assert list(read_history(tmp_path / "history.csv")["late"]) == [0, 1, 2]


def summary_of_best(task: Regression, best: ModelCheckpoint, record: RunRecord) -> dict[str, Any]:
    """What is recorded of a run whose best checkpoint was tested."""
    program = trainer(best, record, epochs=3)
    program.fit(task)
    program.test(task, ckpt_path="best", verbose=False, weights_only=True)
    summary: dict[str, Any] = json.loads((record.folder / "summary.json").read_text())
    assert best.best_model_score is not None and best.monitor is not None
    assert summary[best.monitor] == pytest.approx(float(best.best_model_score), abs=1e-6)
    return summary


def test_the_best_checkpoint_that_is_tested_is_what_is_recorded(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val_mse", save_on_train_epoch_end=False)
    summary = summary_of_best(Regression(), best, RunRecord(tmp_path / "run"))
    assert summary["test_mse"] == pytest.approx(summary["val_mse"], abs=1e-5), "the same data"
    saved = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in saved.items())


class Twofold(Regression):
    """Has two figures of validation."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log_dict({"val_mse": self.loss(batch), "val_rmse": self.loss(batch).sqrt()})


def test_a_checkpoint_that_was_kept_by_another_figure_has_all_of_its_epoch(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val_rmse", save_on_train_epoch_end=False)
    summary = summary_of_best(Twofold(), best, RunRecord(tmp_path / "run", monitor="val_mse"))
    assert summary["val_mse"] == pytest.approx(summary["test_mse"], abs=1e-5), "the same data"


def test_a_recipe_may_be_named(tmp_path: Path) -> None:
    run(tmp_path, test=False, recipe="mine")
    [point], _ = read_points([tmp_path])
    assert point.recipe == "mine"


def test_a_metric_that_is_not_logged_is_refused_before_a_step(tmp_path: Path) -> None:
    task = Regression()
    with pytest.raises(ValueError, match="val_auc is not among what validation logs: val_mse"):
        trainer(RunRecord(tmp_path / "a", monitor="val_auc")).fit(task)
    assert not task.losses and not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="does not say whether higher is better"):
        RunRecord(tmp_path, monitor="val_odd")


def test_a_run_that_is_not_validated_is_refused_whatever_metric_of_validation_is_named(
    tmp_path: Path,
) -> None:
    for name in (None, "val_mse"):
        task = Regression()
        with pytest.raises(ValueError, match="no validation to judge the run by"):
            trainer(RunRecord(tmp_path / "a", monitor=name), limit_val_batches=0).fit(task)
        assert not task.losses and not (tmp_path / "a").exists()


def test_a_run_whose_metric_is_never_logged_has_no_summary_and_says_so(tmp_path: Path) -> None:
    record = RunRecord(tmp_path, monitor="train_mse")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer(record, limit_val_batches=0, epochs=1).fit(Regression())
    assert any("no summary.json: train_mse was not logged" in str(one.message) for one in told)
    assert not (tmp_path / "summary.json").exists()


class Silent(Regression):
    """Logs nothing in a sanity check, as some do to keep it out of their charts."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if not self.trainer.sanity_checking:
            super().validation_step(batch, batch_idx)


@pytest.mark.parametrize("monitor", [None, "val_mse"])
def test_a_sanity_check_in_which_nothing_is_logged_refuses_no_run(
    tmp_path: Path, monitor: str | None
) -> None:
    path = L1Pruning(threshold=SparsityPath((0.3, 0.5)))
    best = BestCheckpoint(tmp_path, "val_mse")
    trainer(path, best, RunRecord(tmp_path, monitor=monitor), epochs=8).fit(Silent())
    assert json.loads((tmp_path / "summary.json").read_text())["monitor"] == "val_mse"


def test_a_run_that_diverged_has_no_summary_and_says_so(tmp_path: Path) -> None:
    class Diverging(Regression):
        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("val_mse", torch.tensor(float("nan")))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer(RunRecord(tmp_path), epochs=1).fit(Diverging())
    assert any("val_mse is nan: training diverged" in str(one.message) for one in told)
    assert not (tmp_path / "summary.json").exists()


def test_hyper_parameters_of_any_kind_are_plain_words(tmp_path: Path) -> None:
    class Odd(Regression):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"made_by": abs, "sizes": list(range(10_000)), "n": None})

    trainer(RunRecord(tmp_path), epochs=1).fit(Odd())
    told = yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]
    assert told["made_by"] == "<built-in function abs>" and told["n"] is None
    assert len(told["sizes"]) == MOST and "…" in told["sizes"]


def test_what_was_told_is_written_whole_in_yaml_that_is_read_back(tmp_path: Path) -> None:
    many = L1Pruning(threshold=Sparsity(0.5), prune_at=rounds(0.1, 0.6, 200))
    trainer(many, RunRecord(tmp_path), epochs=1).fit(Regression())
    text = (tmp_path / "config.yaml").read_text()
    told = yaml.safe_load(text)["prune"]
    assert told == many.recipe.words and len(told["prune_at"]) > 2_000
    assert "…" not in text and "..." not in text


def files_of(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def test_a_folder_that_holds_a_run_of_other_settings_is_refused_before_a_step(
    tmp_path: Path,
) -> None:
    folder, task = tmp_path / "run", Regression()
    run(folder)
    before = files_of(folder)
    told = r"run holds a finished run of other settings \(labels.prune=dense, not labels.prune=l1\)"
    with pytest.raises(ValueError, match=told):
        trainer(pruning(), PathCheckpoint(folder), RunRecord(folder), epochs=4).fit(task)
    assert files_of(folder) == before and not task.losses
    (folder / "config.yaml").unlink()
    with pytest.raises(ValueError, match="of settings that it does not say: give another folder"):
        run(folder)


def test_a_run_of_the_same_settings_may_be_repeated(tmp_path: Path) -> None:
    run(tmp_path, pruning())
    before = files_of(tmp_path)
    run(tmp_path, pruning())
    assert (tmp_path / "model.safetensors").read_bytes() == before["model.safetensors"]


def test_a_run_that_goes_on_may_go_on_for_longer(tmp_path: Path) -> None:
    kept, task = ModelCheckpoint(tmp_path / "kept"), Regression()
    program = trainer(kept, RunRecord(tmp_path), epochs=2)
    program.fit(task)
    program.fit_loop.max_epochs = 3
    program.fit(task)  # the same trainer
    again = trainer(ModelCheckpoint(tmp_path / "kept"), RunRecord(tmp_path), epochs=4)
    again.fit(task, ckpt_path=kept.best_model_path, weights_only=True)
    assert len(read_history(tmp_path / "history.csv")["val_mse"]) == 4


def test_a_trial_of_a_few_batches_leaves_nothing(tmp_path: Path) -> None:
    task = Regression()
    program = trainer(pruning(), RunRecord(tmp_path / "run"), fast_dev_run=True)
    program.fit(task)
    program.test(task, verbose=False)
    assert task.losses and not (tmp_path / "run").exists()
