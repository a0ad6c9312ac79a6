"""Every epoch is a line, with what was logged last in it; a resumed run goes on, not anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tasks import Task, examples, fit, trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune import L1Pruning, Sparsity
from l1prune.runs.curves import read_history
from l1prune.runs.history import History, Trajectory
from l1prune.training.resume.last import LastCheckpoint
from l1prune.zoo import Classifier


class Counting(Task):
    """Logs numbers that say which epoch they are of, early in an epoch and late."""

    def __init__(self, stop_in: int | None = None) -> None:
        super().__init__(data=examples(4), batch_size=2)
        self.stop_in = stop_in

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        if self.current_epoch == self.stop_in:
            raise RuntimeError("stopped")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/early", float(self.current_epoch))

    def on_train_epoch_end(self) -> None:
        self.log("train/late", 10.0 * self.current_epoch)


def train(folder: Path, epochs: int, stop_in: int | None = None, **options: Any) -> None:
    callbacks = (History(folder), LastCheckpoint(folder))
    fit(Counting(stop_in), *callbacks, epochs=epochs, num_sanity_val_steps=0, **options)


def columns(file: Path) -> dict[str, list[float]]:
    return {name: list(column) for name, column in read_history(file).items()}


def expected(epochs: int) -> dict[str, list[float]]:
    numbers = [float(epoch) for epoch in range(epochs)]
    return {"epoch": numbers, "train/late": [10 * n for n in numbers], "val/early": numbers}


def test_every_epoch_has_a_line_with_what_was_logged_in_it(tmp_path: Path) -> None:
    train(tmp_path, 3)
    assert columns(tmp_path / "history.csv") == expected(3)
    assert not list(tmp_path.glob("*.part"))


def test_a_resumed_run_goes_on_and_a_new_one_begins_anew(tmp_path: Path) -> None:
    train(tmp_path, 2)
    (tmp_path / "last.ckpt").rename(tmp_path / "two.ckpt")
    # It got as far as epoch 3, of which there is no checkpoint.
    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path, 5, stop_in=4, resume=tmp_path / "two.ckpt")
    assert columns(tmp_path / "history.csv") == expected(4)
    train(tmp_path, 3, resume=tmp_path / "two.ckpt")
    assert columns(tmp_path / "history.csv") == expected(3)
    train(tmp_path, 1)
    assert columns(tmp_path / "history.csv") == expected(1)


@pytest.mark.parametrize("epochs", [2, 4])
@pytest.mark.parametrize("size", [None, 0, 9, 31])
def test_a_file_that_was_cut_off_is_made_anew(
    tmp_path: Path, size: int | None, epochs: int
) -> None:
    train(tmp_path, 2)
    file = tmp_path / "history.csv"
    file.unlink() if size is None else file.write_bytes(file.read_bytes()[:size])
    train(tmp_path, epochs, resume=tmp_path / "last.ckpt")
    assert columns(file) == expected(epochs)


# ---- the way over the plane


def run(trajectory: Trajectory, *callbacks: L.Callback, epochs: int = 3) -> float:
    torch.manual_seed(0)
    data = DataLoader(TensorDataset(torch.randn(8, 4), torch.arange(8) % 2), batch_size=4)
    model = Classifier(nn.Linear(4, 2), 2, lambda weights: torch.optim.SGD(weights, 0.1))
    way = trainer(trajectory, *callbacks, epochs=epochs)
    way.fit(model, data, data)
    return float(way.callback_metrics["val/accuracy"])


def test_every_epoch_is_a_point_with_the_weights_left_at_its_end() -> None:
    trajectory = Trajectory()
    last = run(trajectory, L1Pruning(strength=0.0, threshold=Sparsity(0.5), prune_at=[0.5]))
    assert [left for left, _ in trajectory.points] == [8, 4, 4]
    assert trajectory.points[-1][1] == last


def test_a_dense_run_keeps_its_count() -> None:
    trajectory = Trajectory()
    run(trajectory, epochs=2)
    assert [left for left, _ in trajectory.points] == [8, 8]


def test_the_epochs_before_an_interruption_are_kept() -> None:
    trajectory = Trajectory()
    trajectory.load_state_dict({"points": [[9, 0.25]]})
    run(trajectory, epochs=1)
    assert trajectory.points[0] == (9, 0.25)
    assert trajectory.state_dict() == {"points": trajectory.points}


def test_without_the_metric_there_is_no_point() -> None:
    trajectory = Trajectory("val/nothing")
    run(trajectory, epochs=1)
    assert trajectory.points == []
