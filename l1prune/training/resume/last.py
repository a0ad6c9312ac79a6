"""The last checkpoint: the state of the last moment, in one file that is always whole.

With `StepSeed`, by which random numbers depend on the step alone, and `ResumableLoader`, which goes
on within an epoch, a run is resumed at any step, with or without pruning.

    loader = ResumableLoader(data, batch_size=32, sampler=Shuffle(len(data), seed=0))
    trainer = L.Trainer(callbacks=[L1Pruning(), StepSeed(0), LastCheckpoint("run")])
    trainer.fit(model, loader, ckpt_path=last_checkpoint("run"))  # None at first

The same three lines again, after a crash, end in the same bits as the run that did not crash.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.checks import is_whole
from l1prune.training.lightning import ends_between
from l1prune.training.resume import checkpoints, plateaus
from l1prune.training.resume.loader import load_states
from l1prune.training.resume.stop import Stop, tell_exit_code
from l1prune.weights.files import replace

LAST = "last.ckpt"


class LastCheckpoint(Checkpoint):
    """Keeps the state of the last epoch's end, or of a step after it, in ``folder/last.ckpt``.

    The file is written beside the old one, brought to the disk, and only then put in its place: at
    every moment there is a whole one. It is loaded as tensors and plain values alone, see
    `CheckedCheckpointIO`. In a run of one process Ctrl-C and SIGTERM are heard when the step that
    they interrupt is done, and saved, see `Stop`.

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
        self._stop = Stop()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            checkpoints.check_loading(trainer, pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        checkpoints.uncheck_loading(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            plateaus.take(trainer, checkpoint)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        plateaus.note(trainer, checkpoint)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = trainer.global_step
        load_states(trainer)
        plateaus.step(trainer)
        self._stop.listen(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop.leave()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._stop.leave()
        checkpoints.uncheck_loading(trainer)
        tell_exit_code(exception)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if not ends_between(trainer):
            return
        if self._stop.asked or trainer.global_step - self._saved_at >= self.every_n_steps:
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
        if self._stop.asked:
            self._stop.obey()


def last_checkpoint(folder: str | Path) -> Path | None:
    """The file that `LastCheckpoint` left in a folder, or None: then the run begins.

    >>> last_checkpoint("no such folder") is None
    True
    """
    folder = Path(folder)
    kept = (folder / LAST, folder / f"{LAST}.old")
    return next((path for path in kept if path.exists()), None)
