"""However it is known how long a run is, all its cuts are made, and when they are due."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from l1prune import L1Pruning, once

BATCHES = 20


class Task(L.LightningModule):
    """Notes the phase and λ that each batch is trained in, and by how many steps it is preceded."""

    def __init__(self, pruning: L1Pruning) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(8, 8)
        self.pruning = pruning
        self.seen: list[tuple[str, float, int]] = []

    def training_step(self, x: Tensor, i: int) -> Tensor:
        self.seen.append((self.pruning.phase, self.pruning.strength, self.trainer.global_step))
        return (self.net(x) - x).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Stream(IterableDataset[Tensor]):
    """Batches one after the other, whose number nobody knows."""

    def __init__(self, count: int = BATCHES) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.randn(8 * self.count, 8, generator=torch.Generator().manual_seed(1))


class Wrong(Stream):
    """Says that it has another number of batches than it has."""

    def __init__(self, told: int) -> None:
        super().__init__()
        self.told = told

    def __len__(self) -> int:
        return 8 * self.told


class Growing(L.LightningDataModule):
    """An epoch of another length each time."""

    def __init__(self, *lengths: int) -> None:
        super().__init__()
        self.lengths = lengths

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer
        return loader(self.lengths[self.trainer.current_epoch])


def loader(batches: int = BATCHES) -> DataLoader[Any]:
    return DataLoader(torch.randn(8 * batches, 8, generator=torch.Generator().manual_seed(1)), 8)


def trainer(*callbacks: L.Callback, **options: Any) -> L.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    plan = {"accelerator": "cpu", "enable_checkpointing": False, **quiet, **options}
    return L.Trainer(callbacks=list(callbacks), **plan)  # type: ignore[arg-type]


def fit(data: Any, pruning: L1Pruning | None = None, **options: Any) -> Task:
    pruning = L1Pruning() if pruning is None else pruning
    task = Task(pruning)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your `IterableDataset` has `__len__` defined")
        warnings.filterwarnings("ignore", "Length of IterableDataset")
        trainer(pruning, **options).fit(task, data)
    return task


def cut_at(task: Task) -> float:
    """After which share of the batches that were trained the last cut came."""
    assert task.pruning.phase == "tune"
    assert task.pruning.report is not None
    assert task.pruning.report.sparsity >= 0.95
    return [phase for phase, _, _ in task.seen].index("tune") / len(task.seen)


EPOCHS = {"max_epochs": 6}
STEPS = {"max_epochs": -1, "max_steps": 6 * BATCHES}
KNOWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "epochs": (loader, EPOCHS),
    "steps": (loader, STEPS),
    "steps before epochs": (loader, {"max_epochs": 60, "max_steps": 120}),
    "a stream, by epochs": (lambda: DataLoader(Stream(), 8), EPOCHS),
    "a stream, by steps": (lambda: DataLoader(Stream(), 8), STEPS),
    "a stream, by steps and epochs": (lambda: DataLoader(Stream(), 8), EPOCHS | STEPS),
    "a stream without an end": (lambda: DataLoader(Stream(10_000), 8), STEPS),
    "a stream said to be half as long": (lambda: DataLoader(Wrong(10), 8), EPOCHS),
    "a stream said to be twice as long": (lambda: DataLoader(Wrong(40), 8), EPOCHS),
    "limited batches": (lambda: DataLoader(Stream(), 8), {**EPOCHS, "limit_train_batches": 12}),
    "accumulation": (loader, {**EPOCHS, "accumulate_grad_batches": 4}),
}


@pytest.mark.parametrize("how", KNOWN)
def test_all_cuts_are_made_when_they_are_due(how: str) -> None:
    make, options = KNOWN[how]
    task = fit(make(), **options)
    # Where an epoch is not known to be so long, its end is the next moment that is.
    assert cut_at(task) == pytest.approx(0.6, abs=1 / 6 if "said" in how else 0.02)


@pytest.mark.parametrize("how", KNOWN)
def test_the_default_presses_however_the_length_is_known(how: str) -> None:
    make, options = KNOWN[how]
    strengths = [strength for phase, strength, _ in fit(make(), **options).seen if phase == "press"]
    assert strengths == sorted(strengths)
    assert strengths[-1] > 0


def test_epochs_of_other_lengths_count_as_epochs() -> None:
    data = Growing(5, 40, 10, 20, 5, 40)
    task = fit(data, **EPOCHS, reload_dataloaders_every_n_epochs=1)
    phases = [phase for phase, _, _ in task.seen]
    assert phases.index("tune") == 5 + 40 + 10 + 12  # 60 % of six epochs: 0.6 of the fourth


def test_an_epoch_that_is_broken_off_counts_as_one() -> None:
    class Short(Task):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
            return -1 if batch_idx >= 5 else None

    pruning = L1Pruning()
    task = Short(pruning)
    trainer(pruning, **EPOCHS).fit(task, loader())
    assert cut_at(task) == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize("by", [{"max_epochs": 20}, {"max_epochs": -1, "max_steps": 400}], ids=str)
def test_a_dense_run_taken_up_with_pruning_makes_all_cuts_in_what_is_left(
    tmp_path: Path, by: dict[str, int]
) -> None:
    file = tmp_path / "dense.ckpt"
    dense = trainer(max_epochs=10)
    dense.fit(Task(L1Pruning()), loader())
    dense.save_checkpoint(file)
    pruning = L1Pruning()
    task = Task(pruning)
    trainer(pruning, **by).fit(task, loader(), ckpt_path=file, weights_only=True)
    assert cut_at(task) == pytest.approx(0.6, abs=0.02)
    assert task.seen[0][1] == 0.0


def test_time_alone_may_end_a_run() -> None:
    task = fit(loader(), max_epochs=-1, max_time={"seconds": 2})
    assert 0.3 < cut_at(task) < 0.9


@pytest.mark.parametrize(("every", "count"), [(1, 1), (4, 1), (1, 2), (4, 2)])
def test_a_whole_number_is_a_step_that_was_taken(every: int, count: int) -> None:
    class Manual(Task):
        automatic_optimization = False

        def training_step(self, x: Tensor, i: int) -> None:  # type: ignore[override]
            self.manual_backward(super().training_step(x, i))
            if (i + 1) % every == 0:
                optimizers: Any = self.optimizers()
                for optimizer in [optimizers] if count == 1 else optimizers:
                    optimizer.step()
                self.zero_grad()

        def configure_optimizers(self) -> Any:
            weights = (self.net.weight, self.net.bias)[:count]
            return [torch.optim.SGD([w], lr=0.01) for w in weights]

    pruning = L1Pruning(prune_at=once(20))
    task = Manual(pruning)
    trainer(pruning, **EPOCHS).fit(task, loader())
    assert next(step for phase, _, step in task.seen if phase == "tune") == 20


@pytest.mark.parametrize("batches", [True, 1, 3, 10])
def test_a_smoke_test_goes_through_all_that_a_run_does(batches: Any) -> None:
    task = fit(loader(), fast_dev_run=batches)
    assert task.pruning.phase == "tune"
    assert task.pruning.report is not None
    assert task.pruning.report.sparsity >= 0.95


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_epochs": -1}, "give it an end .max_epochs, max_steps or max_time."),
        ({"max_epochs": 1}, "one epoch of which nobody knows how long it is"),
    ],
)
def test_a_run_of_which_nobody_knows_the_length_is_refused(
    options: dict[str, int], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        fit(DataLoader(Stream(), 8), **options)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
@pytest.mark.parametrize("stop", [3, 25, 40, 71])
def test_resumed_within_an_epoch_it_cuts_as_if_it_had_not_been_stopped(
    tmp_path: Path, stop: int
) -> None:
    class Save(L.Callback):
        def on_train_batch_end(
            self, trainer: L.Trainer, module: L.LightningModule, *_: Any
        ) -> None:
            if len(module.seen) == stop:
                trainer.save_checkpoint(tmp_path / "stop.ckpt")

    def run(*callbacks: L.Callback, file: Path | None = None) -> Task:
        pruning = L1Pruning()
        task = Task(pruning)
        trainer(pruning, *callbacks, **EPOCHS).fit(
            task, loader(), ckpt_path=file, weights_only=True if file else None
        )
        return task

    whole, rest = run(Save()), run(file=tmp_path / "stop.ckpt")
    phases = [phase for phase, _, _ in whole.seen]
    again = [phase for phase, _, _ in rest.seen]
    assert phases.count("tune") == again.count("tune") or stop > phases.index("tune")
    assert whole.pruning.run.clock.batches == rest.pruning.run.clock.batches
