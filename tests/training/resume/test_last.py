"""Resume at any step: stopped wherever, a run ends in the same bits."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from tasks import Task, examples, fit
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from l1prune import L1Pruning, Sparsity, rounds
from l1prune.training.resume.last import LAST, LastCheckpoint, last_checkpoint
from l1prune.training.resume.loader import ResumableLoader, Shuffle
from l1prune.training.resume.randomness import StepSeed

BATCHES, EPOCHS = 6, 4


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Examples that are augmented at random each time they are read."""

    def __init__(self) -> None:
        self.x, self.y = examples(48, 8, 1).tensors

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(8) + float(np.random.default_rng(np.random.randint(99)).normal())
        return self.x[index] + 0.1 * noise, self.y[index]


class Noisy(Task):
    """Dropout, BatchNorm and a learning rate that changes each step."""

    def __init__(self, workers: int = 0) -> None:
        torch.manual_seed(0)
        first = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU())
        net = nn.Sequential(*first, nn.Dropout(0.3), nn.Linear(16, 1))
        super().__init__(net, data=Augmented())
        self.workers = workers

    def train_dataloader(self) -> DataLoader[Any]:
        order = Shuffle(48, seed=3)
        return ResumableLoader(self.data, 8, sampler=order, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, 24)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Keep(LastCheckpoint):
    """Keeps each state that the file has had."""

    def _save(self, trainer: L.Trainer) -> None:
        super()._save(trainer)
        shutil.copy(self.folder / LAST, self.folder / f"{trainer.global_step}.ckpt")


def run(
    task: Noisy, last: LastCheckpoint, start: Path | None = None, seed: int = 5, **options: Any
) -> Noisy:
    torch.manual_seed(int.from_bytes(os.urandom(4), "little"))  # as another process would be
    # Many rounds, so that the cuts remember what the gradients were like at the one before.
    pruning = L1Pruning(threshold=Sparsity(0.8), prune_at=rounds(0.2, 0.6, 10))
    fit(task, pruning, StepSeed(seed), last, resume=start, epochs=EPOCHS, **options)
    return task


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"val_check_interval": 2},
        {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1},
        {"limit_train_batches": 4},
        {"precision": "bf16-mixed"},
        {"check_val_every_n_epoch": 2},
        {"limit_val_batches": 0},
    ],
    ids=str,
)
def test_stopped_at_any_step_a_run_ends_in_the_same_bits(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = run(Noisy(), Keep(tmp_path, 1), **options)
    kept = sorted((p for p in tmp_path.glob("[0-9]*.ckpt")), key=lambda p: int(p.stem))
    steps = len(whole.losses) // options.get("accumulate_grad_batches", 1)
    assert len(kept) >= steps // options.get("val_check_interval", 1)
    for start in kept[:: 5 if options else 1]:
        resumed = run(Noisy(), LastCheckpoint(tmp_path / "again", 3), start, **options)
        assert resumed.losses == whole.losses[len(whole.losses) - len(resumed.losses) :]
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()):
            assert torch.equal(a, b), start


def test_workers_augment_as_they_would_have(tmp_path: Path) -> None:
    whole = run(Noisy(workers=1), Keep(tmp_path, 4))
    for step in (4, BATCHES, BATCHES + 4):
        resumed = run(
            Noisy(workers=1), LastCheckpoint(tmp_path / "again"), tmp_path / f"{step}.ckpt"
        )
        assert resumed.losses == whole.losses[step:]


def test_a_chain_of_resumed_runs_is_one_run(tmp_path: Path) -> None:
    whole = run(Noisy(), LastCheckpoint(tmp_path / "whole"))

    class StopError(Exception):
        pass

    class Mortal(Noisy):
        lives = 5

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            if len(self.losses) == self.lives:
                raise StopError
            return super().training_step(batch, batch_idx)

    folder = tmp_path / "broken"
    for _ in range(50):
        try:
            task = run(Mortal(), LastCheckpoint(folder, 1), last_checkpoint(folder))
            break
        except StopError:
            continue
    for a, b in zip(whole.state_dict().values(), task.state_dict().values()):
        assert torch.equal(a, b)


def test_ctrl_c_saves_the_step_that_it_interrupts(tmp_path: Path) -> None:
    whole = run(Noisy(), LastCheckpoint(tmp_path / "whole"))

    class Interrupted(Noisy):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            if len(self.losses) == BATCHES + 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super().training_step(batch, batch_idx)

    before, task = signal.getsignal(signal.SIGINT), Interrupted()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(task, LastCheckpoint(tmp_path))
    assert signal.getsignal(signal.SIGINT) is before
    resumed = run(Noisy(), LastCheckpoint(tmp_path), last_checkpoint(tmp_path))
    assert task.losses + resumed.losses == whole.losses


@pytest.mark.parametrize("of", ["steps", "order"])
def test_another_seed_is_another_run(tmp_path: Path, of: str) -> None:
    run(Noisy(), Keep(tmp_path, 1))

    class Reseeded(Noisy):
        def train_dataloader(self) -> DataLoader[Any]:
            return ResumableLoader(self.data, 8, sampler=Shuffle(48, seed=4))

    task, seed = (Noisy(), 6) if of == "steps" else (Reseeded(), 5)
    with pytest.raises(ValueError, match=r"the run began with .*seed="):
        run(task, LastCheckpoint(tmp_path), tmp_path / f"{BATCHES + 2}.ckpt", seed=seed)
    assert not task.losses


# ---- the file


def test_a_folder_that_was_just_put_aside_for_the_next_is_found(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    (tmp_path / f"{LAST}.old").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / f"{LAST}.old"
    (tmp_path / LAST).mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / LAST


def test_a_step_of_no_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every_n_steps=0"):
        LastCheckpoint(tmp_path, 0)
