"""Averaged weights are as sparse as the trained ones, whichever callback comes first."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from tasks import Task, fit, layers, trainer
from torch import Tensor, nn

from l1prune import L1Pruning, Sparsity, once
from l1prune.training.averages import find_averages, hold_averages_, renew_averages_

averaging = pytest.importorskip("lightning.pytorch.callbacks.weight_averaging")

EPOCHS, ZEROS = 5, 240  # of 300 weights, from epoch 3 on

AVERAGES: dict[str, Callable[[], L.Callback]] = {
    "mean of all steps": lambda: averaging.WeightAveraging(),
    "EMA": lambda: averaging.EMAWeightAveraging(decay=0.9),
    "EMA from the last epoch on": lambda: averaging.EMAWeightAveraging(
        decay=0.5, update_starting_at_step=20
    ),
    "SWA": lambda: StochasticWeightAveraging(0.05, swa_epoch_start=2, annealing_epochs=1),
}


class Validated(Task):
    """Writes down the zeros that each validation sees."""

    def __init__(self, *norm: nn.Module) -> None:
        first, *rest = layers(8, 30, 2)
        super().__init__(nn.Sequential(first, *norm, *rest), partial(torch.optim.AdamW, lr=0.02))
        self.validated: list[int] = []

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if not self.trainer.sanity_checking and batch_idx == 0:
            self.validated.append(zeros(self.state_dict()))


def zeros(state: dict[str, Tensor]) -> int:
    """Exact zeros in the two matrices."""
    return sum(int((w == 0).sum()) for w in state.values() if w.ndim == 2)


def train(
    path: Path,
    average: Callable[[], L.Callback] | None,
    first: bool = True,
    task: Validated | None = None,
    pruning: L1Pruning | None = None,
    resume: Path | None = None,
) -> tuple[Validated, L1Pruning]:
    task = task or Validated()
    pruning = pruning or L1Pruning(0.01, Sparsity(0.8), prune_at=once(0.6))
    both: list[L.Callback] = [pruning] if average is None else [average(), pruning]
    saves = ModelCheckpoint(path, filename="{epoch}", save_top_k=-1)
    fit(task, *both[:: 1 if first else -1], saves, resume=resume, epochs=EPOCHS)
    return task, pruning


def states(path: Path, epoch: int) -> list[dict[str, Tensor]]:
    """Every set of weights in a checkpoint: trained ones and averages."""
    saved = torch.load(path / f"epoch={epoch}.ckpt", weights_only=True)
    kept = [state.get("average_model_state") for state in saved["callbacks"].values()]
    every = [saved["state_dict"], saved.get("current_model_state"), *kept]
    return [state for state in every if state]


@dataclass(frozen=True)
class Run:
    average: Callable[[], L.Callback]
    first: bool
    path: Path
    task: Validated
    pruning: L1Pruning


@pytest.fixture(params=[True, False], ids=["average first", "pruning first"], scope="module")
def first(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=AVERAGES.values(), ids=AVERAGES.keys(), scope="module")
def run(request: pytest.FixtureRequest, first: bool, tmp_path_factory: Any) -> Run:
    path = tmp_path_factory.mktemp("run")
    return Run(request.param, first, path, *train(path, request.param, first))


def test_the_average_is_as_sparse_as_what_it_averages(run: Run) -> None:
    assert zeros(run.task.state_dict()) == ZEROS
    assert run.task.validated[2] < ZEROS
    assert run.task.validated[3:] == [ZEROS, ZEROS]
    for epoch in (3, 4):
        saved = states(run.path, epoch)
        assert [zeros(state) for state in saved] == [ZEROS, ZEROS]
        assert not torch.equal(saved[0]["net.0.weight"], saved[1]["net.0.weight"])
    for name, mask in run.pruning.masks.items():
        assert not run.task.get_parameter(name)[~mask].signbit().any()


def test_averaging_does_average(run: Run, tmp_path: Path) -> None:
    plain, _ = train(tmp_path, None)
    assert zeros(plain.state_dict()) == ZEROS
    assert not torch.allclose(run.task.net[0].weight, plain.net[0].weight)


@pytest.mark.parametrize("epochs_done", [2, 4])
def test_a_resumed_average_is_the_average_that_was_not_stopped(run: Run, epochs_done: int) -> None:
    path = run.path / f"epoch={epochs_done - 1}.ckpt"
    resumed, _ = train(run.path, run.average, run.first, resume=path)
    assert zeros(resumed.state_dict()) == ZEROS
    assert resumed.validated == run.task.validated[epochs_done:]
    for a, b in zip(run.task.parameters(), resumed.parameters()):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore:.*left a single weight", "ignore:.*that no cut removed")
def test_the_report_counts_the_average(tmp_path: Path, first: bool) -> None:
    # Half of the units never fire: pressure makes zeros there, that no mask holds.
    task = Validated()
    task.net[0].bias.data[:15] = -100.0
    pruning = L1Pruning(5.0, Sparsity(0.3), prune_at=once(0.6))
    train(tmp_path, averaging.WeightAveraging, first, task=task, pruning=pruning)
    assert pruning.report is not None
    assert pruning.report.nonzero == 300 - zeros(task.state_dict())


class Forgetful(averaging.WeightAveraging):
    """Saves nothing: the average of a resumed run starts from new, dense weights."""

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return False

    def on_save_checkpoint(self, *_: Any) -> None:
        return

    on_load_checkpoint = on_save_checkpoint


def test_an_average_that_was_not_saved_is_sparse_all_the_same(tmp_path: Path, first: bool) -> None:
    train(tmp_path, Forgetful, first)
    path = tmp_path / "epoch=3.ckpt"
    task, _ = train(tmp_path, Forgetful, first, resume=path)
    assert task.validated == [ZEROS]
    assert zeros(task.state_dict()) == ZEROS


def test_batch_norm_statistics_are_those_of_the_sparse_average(tmp_path: Path, first: bool) -> None:
    # This callback adds an epoch without steps, in which the average meets the data.
    task, _ = train(tmp_path, AVERAGES["SWA"], first, Validated(nn.BatchNorm1d(30)))
    assert zeros(task.state_dict()) == ZEROS
    assert task.validated[-1] == ZEROS
    x = torch.cat([batch[0] for batch in task.train_dataloader()])
    torch.testing.assert_close(task.net[1].running_mean, task.net[0](x).mean(0))


def test_an_average_that_cannot_be_found_is_said_once(recwarn: pytest.WarningsRecorder) -> None:
    hidden = averaging.WeightAveraging()
    del hidden._average_model
    warnings.simplefilter("default")
    for _ in range(3):
        hold_averages_([hidden], {})
    assert len(recwarn) == 1
    assert "does not keep its average" in str(recwarn[0].message)


def test_an_average_is_found_by_name_among_all_callbacks() -> None:
    task, ema = Validated(), averaging.EMAWeightAveraging()
    assert find_averages([L.Callback(), L1Pruning(), ema]) == []
    ema.setup(trainer(), task, "fit")
    (average,) = find_averages([L.Callback(), ema])
    mask = torch.zeros(30, 8, dtype=torch.bool)
    hold_averages_([ema], {"net.0.weight": mask, "elsewhere.weight": mask})
    weights = dict(average.named_parameters())
    assert not weights["net.0.weight"].any() and weights["net.2.weight"].all()
    assert task.net[0].weight.all()


def test_renewed_an_average_is_the_model_and_the_next_takes_its_place() -> None:
    task, plain = Validated(), averaging.WeightAveraging()
    plain.setup(trainer(), task, "fit")
    (average,) = find_averages([plain])
    renew_averages_([plain], task)  # it has averaged nothing yet, and stays as it was
    for value in (1.0, 3.0, 7.0):
        if value == 7.0:
            renew_averages_([L.Callback(), plain], task)
            assert bool((average.get_parameter("net.0.weight") == 3.0).all())
        task.net[0].weight.data.fill_(value)
        plain._average_model.update_parameters(task)
    assert bool((average.get_parameter("net.0.weight") == 7.0).all())


@pytest.mark.filterwarnings("ignore:StochasticWeightAveraging takes up the network as")
@pytest.mark.parametrize("prune_at", [0.5, 0.9])
def test_the_epoch_that_swa_adds_for_batch_norm_does_not_put_off_the_cut(
    prune_at: float, tmp_path: Path
) -> None:
    pruning = L1Pruning(0.01, Sparsity(0.8), prune_at=prune_at)
    task, _ = train(tmp_path, AVERAGES["SWA"], task=Validated(nn.BatchNorm1d(30)), pruning=pruning)
    assert pruning.phase == "tune"
    assert sum(int((~mask).sum()) for mask in pruning.masks.values()) == 240
    assert zeros(task.state_dict()) >= 240  # pressure has made one more
