"""History: what a run was like, epoch by epoch, in a file and over the plane of the frontier."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.runs.points import HISTORY
from l1prune.training.lightning import is_trial
from l1prune.training.loggers import X_AXIS
from l1prune.weights.files import write_whole
from l1prune.weights.report import SparsityReport


class Epochs:
    """The figures of each epoch, and `history.csv`, which is whole at any moment.

    Args:
        folder: where the file goes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.file = Path(folder) / HISTORY
        self.rows: dict[int, dict[str, float]] = {}

    def note(self, trainer: L.Trainer, epoch: int) -> None:
        """Add what is known now to an epoch. All processes call it together."""
        # Read by all processes: what is averaged over them waits for each.
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.setdefault(epoch, {}).update(figures)
        self.write(trainer)

    def write(self, trainer: L.Trainer) -> None:
        """Write the file, if there is something to write: of a trial there is not."""
        if trainer.is_global_zero and self.rows and not is_trial(trainer):
            _write(self.file, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """All of it, in plain values."""
        return {"epochs": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.rows = {epoch: dict(row) for epoch, row in state_dict["epochs"].items()}


class History(Checkpoint):
    """Leaves `history.csv`: one line an epoch, one column for each figure that was logged.

    The file is whole at any moment, and a resumed run makes it anew from what its checkpoint says
    of the epochs before. It is a checkpoint to Lightning, which calls those last: what a module
    logs when its epoch ends is known by then. To be named before the checkpoint that a run resumes
    from, which has then no epoch that the file lacks.

    Args:
        folder: where `history.csv` goes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.epochs = Epochs(folder)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == 0:
            self.epochs.rows = {}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epochs.note(trainer, trainer.current_epoch)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epochs.write(trainer)  # a run that was resumed at its end has had no epoch

    def state_dict(self) -> dict[str, Any]:
        return self.epochs.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs.load_state_dict(state_dict)


def _write(file: Path, epochs: dict[int, dict[str, float]]) -> None:
    names = sorted({name for figures in epochs.values() for name in figures})
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(["epoch", *names])
    for epoch, figures in epochs.items():
        # Nine digits are all that a 32-bit float has.
        row = (f"{figures[name]:.9g}" if name in figures else "" for name in names)
        writer.writerow([epoch, *row])
    write_whole(file, lambda part: part.write_bytes(lines.getvalue().encode()))


class Trajectory(L.Callback):
    """Notes after every epoch how many weights were left and how accurate the network was.

    A dense run is noted like a pruned one. A run that is resumed has the epochs before as well.

    Args:
        monitor: the validation metric that says how accurate.

    Attributes:
        points: weights left and ``monitor``, epoch by epoch.
    """

    def __init__(self, monitor: str = "val/accuracy") -> None:
        super().__init__()
        self.monitor = monitor
        self.points: list[tuple[int, float]] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if not fitting or self.monitor not in metrics:
            return
        left = metrics.get(X_AXIS)
        count = SparsityReport.of(pl_module).nonzero if left is None else int(left)
        self.points.append((count, float(metrics[self.monitor])))

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.points = [tuple(point) for point in state_dict["points"]]
