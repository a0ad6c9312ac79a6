"""The way of a run over the plane, noted by a real trainer."""

from __future__ import annotations

import lightning as L
import torch
from tasks import trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune import L1Pruning, Sparsity
from l1prune.runs.history import Trajectory
from l1prune.zoo import Classifier


def run(trajectory: Trajectory, *callbacks: L.Callback, epochs: int = 3) -> float:
    torch.manual_seed(0)
    data = DataLoader(TensorDataset(torch.randn(8, 4), torch.arange(8) % 2), batch_size=4)
    model = Classifier(nn.Linear(4, 2), 2, lambda weights: torch.optim.SGD(weights, 0.1))
    way = trainer(trajectory, *callbacks, epochs=epochs)
    way.fit(model, data, data)
    return float(way.callback_metrics["val/accuracy"])


def test_every_epoch_is_a_point_with_the_weights_left_at_its_end() -> None:
    trajectory = Trajectory()
    last = run(trajectory, L1Pruning(strength=0.0, threshold=Sparsity(0.5), prune_at=0.5))
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
