"""The best checkpoint of a pruned run is a sparse one, however good the dense ones were."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from tasks import Task, trainer
from torch import Tensor

from l1prune import L1Pruning, Sparsity, SparsityPath
from l1prune.runs.best import BestCheckpoint
from l1prune.weights.report import SparsityReport
from l1prune.zoo import Classifier, Digits, mlp


class Falling(Classifier):
    """Every epoch is worse than the one before."""

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        self.log("val/accuracy", 1.0 / (1 + self.current_epoch))


def best_of(folder: Path, *callbacks: L.Callback) -> dict[str, Tensor]:
    best = trained(folder, *callbacks)
    stored = torch.load(best.best_model_path, weights_only=True)
    return {"epoch": torch.tensor(stored["epoch"]), **stored["state_dict"]}


def trained(folder: Path, *callbacks: L.Callback) -> BestCheckpoint:
    network = mlp((1, 8, 8), 10, hidden=(8,))
    run = trainer(best := BestCheckpoint(folder), *callbacks, num_sanity_val_steps=0)
    run.fit(Falling(network, 10, partial(torch.optim.SGD, lr=0.01)), Digits(batch_size=400))
    return best


def test_a_dense_run_keeps_its_best_epoch(tmp_path: Path) -> None:
    assert best_of(tmp_path)["epoch"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_pruned_run_keeps_the_best_after_its_last_cut(tmp_path: Path) -> None:
    best = best_of(tmp_path, L1Pruning(0.0, Sparsity(0.9), prune_at=[0.2, 0.5]))
    assert best["epoch"] == 2  # the cut at one half comes with the third epoch
    weights = torch.cat([w.flatten() for name, w in best.items() if name.endswith("weight")])
    assert (weights == 0).float().mean() > 0.89


def test_in_a_run_of_stages_a_smaller_network_is_better_than_a_larger_one(tmp_path: Path) -> None:
    best = best_of(tmp_path, L1Pruning(0.0, SparsityPath((0.5, 0.9)), prune_at=0.5))
    assert best["epoch"] == 3  # worse than all before it, but the only one that small
    weights = torch.cat([w.flatten() for name, w in best.items() if name.endswith("weight")])
    assert (weights == 0).float().mean() > 0.89
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_of_an_error_the_lowest_is_the_best(tmp_path: Path) -> None:
    class Rising(Falling):
        def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
            self.log("val_mse", 1.0 + self.current_epoch)

    best = BestCheckpoint(tmp_path, "val_mse")
    assert best.mode == "min"
    model = Rising(mlp((1, 8, 8), 10, hidden=(8,)), 10, partial(torch.optim.SGD, lr=0.01))
    trainer(best, num_sanity_val_steps=0).fit(model, Digits(batch_size=400))
    assert torch.load(best.best_model_path, weights_only=True)["epoch"] == 0
    assert best.figures(SparsityReport.of(model))["val_mse"] == 1.0


def test_a_mode_wins_over_the_name_and_is_needed_where_that_says_nothing(tmp_path: Path) -> None:
    assert BestCheckpoint(tmp_path, "val_odd", "min").mode == "min"
    with pytest.raises(ValueError, match="does not say whether higher is better"):
        BestCheckpoint(tmp_path, "val_odd")


def test_its_figures_are_those_of_the_file(tmp_path: Path) -> None:
    pruning = L1Pruning(0.0, Sparsity(0.9), prune_at=0.5)
    best = trained(tmp_path, pruning)
    assert pruning.report
    stored = torch.load(tmp_path / "best.ckpt", weights_only=True)
    weights = [w for name, w in stored["state_dict"].items() if name.endswith("weight")]
    figures = best.figures(pruning.report)
    assert figures["val/accuracy"] == pytest.approx(1 / (1 + stored["epoch"]))
    assert figures["params/nonzero"] == sum(int(w.count_nonzero()) for w in weights)
    assert figures["params/total"] == pruning.report.total


def test_without_a_file_there_are_no_figures(tmp_path: Path) -> None:
    assert BestCheckpoint(tmp_path).figures(SparsityReport((), 0)) == {}


@pytest.mark.parametrize("size", [None, 0, 100])
def test_a_best_checkpoint_that_was_cut_off_is_left_out(tmp_path: Path, size: int | None) -> None:
    best = trained(tmp_path)
    file = Path(best.best_model_path)
    file.unlink() if size is None else file.write_bytes(file.read_bytes()[:size])
    with pytest.warns(UserWarning, match=r"best\.ckpt is missing or broken"):
        assert best.figures(SparsityReport.of(mlp((1, 8, 8), 10, hidden=(8,)))) == {}


def test_a_metric_that_no_validation_logs_is_refused_before_a_step(tmp_path: Path) -> None:
    task, other = Task(), Task()
    with pytest.raises(ValueError, match="val/mse is not among what validation logs: val/loss"):
        trainer(BestCheckpoint(tmp_path, "val/mse")).fit(task)
    with pytest.raises(ValueError, match="there is no validation"):
        trainer(BestCheckpoint(tmp_path, "val/loss"), limit_val_batches=0).fit(other)
    assert not task.losses and not other.losses
