"""Resume at any step: small pieces, of use with or without pruning.

`LastCheckpoint` keeps the state of the last moment in one file that is always whole, `StepSeed`
makes random numbers depend on the step alone, and `ResumableLoader` goes on within an epoch.

    loader = ResumableLoader(data, batch_size=32, sampler=Shuffle(len(data), seed=0))
    trainer = L.Trainer(callbacks=[L1Pruning(), StepSeed(0), LastCheckpoint("run")])
    trainer.fit(model, loader, ckpt_path=last_checkpoint("run"))  # None at first

The same three lines again, after a crash, end in the same bits as the run that did not crash.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.checks import is_whole
from l1prune.training.resume import randomness
from l1prune.training.resume.loader import load_states

LAST = "last.ckpt"


class StepSeed(pl.Callback):
    """Seeds all random generators before each batch is fetched, from seed, process and batch alone.

    So dropout is the same whatever was drawn before: by an earlier part of the run, or a validation
    that the resumed run does not repeat.

    Args:
        seed: a whole number ≥ 0.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, seed: int = 0) -> None:
        if not is_whole(seed, 0):
            raise ValueError(f"seed={seed!r}: give a whole number from 0 up")
        self.seed = seed
        self.batches = 0

    def _seed(self, trainer: pl.Trainer) -> None:
        randomness.seed(randomness.mixed(self.seed, trainer.global_rank, self.batches))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self.batches = 0
        self._seed(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._seed(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.batches += 1
        self._seed(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._seed(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]


class LastCheckpoint(Checkpoint):
    """Keeps the state of the last epoch's end, or of a step after it, in ``folder/last.ckpt``.

    The file is written beside the old one, brought to the disk, and only then put in its place: at
    every moment there is a whole one. In a run of one process Ctrl-C is heard when the step that
    it interrupts is done, and saved; a second one is heard at once.

    Args:
        folder: where it goes; made if it is not there.
        every_n_steps: optimizer steps from one to the next; besides, one at every epoch's end.

    Raises:
        ValueError: `every_n_steps` is below 1.
    """

    def __init__(self, folder: str | Path, every_n_steps: int = 500) -> None:
        if not is_whole(every_n_steps, 1):
            raise ValueError(f"every_n_steps={every_n_steps!r}: give a number of steps from 1 up")
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self._saved_at = 0
        self._asked = False
        self._before: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = trainer.global_step
        load_states(trainer)
        self._asked = False
        # Processes that heard of it at different steps would wait for each other.
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, *_: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def _leave(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._leave()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._leave()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        # Lightning resumes neither an epoch's last batch nor one before a validation as it was, nor
        # gradients that are being accumulated.
        loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
        assert fetcher is not None
        awkward = trainer.is_last_batch or loop._should_accumulate()
        if awkward or loop._should_check_val_fx(fetcher):
            return
        if self._asked or trainer.global_step - self._saved_at >= self.every_n_steps:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        part = self.folder / f"{LAST}.part"
        trainer.save_checkpoint(part)
        self._saved_at = trainer.global_step
        if trainer.is_global_zero:
            replace(part, self.folder / LAST)
        trainer.strategy.barrier("LastCheckpoint")
        if self._asked:
            raise KeyboardInterrupt


def last_checkpoint(folder: str | Path) -> Path | None:
    """The file that `LastCheckpoint` left in a folder, or None: then the run begins.

    >>> last_checkpoint("no such folder") is None
    True
    """
    folder = Path(folder)
    kept = (folder / LAST, folder / f"{LAST}.old")
    return next((path for path in kept if path.exists()), None)


def replace(part: Path, whole: Path) -> None:
    """Put a file, or a folder, in the place of another, so that one of them is always there.

    Args:
        part: what was written; it is brought to the disk first.
        whole: what it becomes. A folder that was there is ``.old`` for the moment between.
    """
    for path in [*part.rglob("*"), part] if part.is_dir() else [part]:
        _to_disk(path)
    old = whole.with_name(f"{whole.name}.old")
    if whole.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        whole.rename(old)
    part.replace(whole)
    _to_disk(whole.parent)
    shutil.rmtree(old, ignore_errors=True)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and needs no such thing
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
