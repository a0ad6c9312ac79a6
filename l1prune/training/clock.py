"""Clock: how far a run is, from where pruning began, whatever it is that ends the run.

A run ends by epochs, by optimizer steps or by time. By epochs it is counted in epochs, so that it
does not matter whether they are of one length, nor whether that is known: within an epoch the
length that is announced counts, corrected by what the epoch before turned out to have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import StochasticWeightAveraging, Timer

from l1prune.training.lightning import callbacks_of, renews_batch_norm


class TrainerClock:
    """Counts the batches of a run, and says how far it is.

    Attributes:
        batches: that were trained since pruning began.
    """

    def __init__(self) -> None:
        self.batches = 0
        self._epoch = 0
        self._in_epoch = 0
        self._announced = 0.0  # how many batches the loader says that an epoch has
        self._correction = 1.0  # by how much the last epoch was longer than that
        self._learned = 0.0  # how many batches the last epoch had
        self._start: dict[str, float] | None = None  # epochs, steps, time, as pruning began

    def begin(self, trainer: pl.Trainer) -> None:
        """Training starts, or goes on.

        Raises:
            ValueError: nothing ends the run, or nothing tells how far it is.
        """
        _check_end(trainer)
        announced = float(trainer.num_training_batches)
        if self._announced != announced and _known(self._announced) and _known(announced):
            # On another number of processes, or with another batch size, an epoch is as long.
            self.batches = round(self.batches * announced / self._announced)
            self._in_epoch = round(self._in_epoch * announced / self._announced)
        self._announced = announced
        if self._start is None:
            self._epoch = trainer.current_epoch
            self._start = {
                "epochs": self._epochs,
                "steps": float(trainer.global_step),
                "time": _by_time(trainer),
                "passes": self._passes(trainer),
            }

    def begin_batch(self, trainer: pl.Trainer) -> None:
        """A batch is about to be trained."""
        announced = float(trainer.num_training_batches)
        if trainer.current_epoch != self._epoch:
            if self._in_epoch:
                self._learned = float(self._in_epoch)
                if _known(self._announced):
                    self._correction = self._in_epoch / self._announced
            self._epoch, self._in_epoch = trainer.current_epoch, 0
        self._announced = announced

    def end_batch(self) -> None:
        """A batch was trained."""
        self.batches += 1
        self._in_epoch += 1

    def progress(self, trainer: pl.Trainer) -> float:
        """Share of the run that is done, in [0, 1]: of what was left of it when pruning began.

        Whichever of epochs, steps and time ends the run first decides.
        """
        return max([_since(start, now) for start, now in self._shares(trainer)])

    def steps(self, trainer: pl.Trainer) -> float:
        """Optimizer steps from where pruning began until the end, infinite if it is not known."""
        steps = planned_steps(trainer)
        return steps if math.isinf(steps) else steps * self.left(trainer)

    def left(self, trainer: pl.Trainer) -> float:
        """The share of the whole run that was left when pruning began, in [0, 1]."""
        return max(1 - max(start for start, _ in self._shares(trainer)), 0.0)

    def _shares(self, trainer: pl.Trainer) -> list[tuple[float, float]]:
        """By epochs, time and steps: the share that was done when pruning began, and that is now.

        It is asked for at each batch: the trainer, whose answers take long, is asked once for each.
        """
        start, epochs, steps = self._start or {}, planned_epochs(trainer), trainer.max_steps
        found = [
            (start.get("epochs", 0.0) / max(epochs, 1), self._by_epochs(epochs)),
            (start.get("time", 0.0), _by_time(trainer)),
        ]
        if steps > 0:
            found.append((start.get("steps", 0.0) / steps, trainer.global_step / steps))
        return found

    def passes(self, trainer: pl.Trainer) -> float:
        """Passes over the training data since pruning began.

        In a first epoch of unknown length, which may have no end, the whole run counts as one pass.
        """
        return self._passes(trainer) - (self._start or {}).get("passes", 0.0)

    def _progress(self, trainer: pl.Trainer) -> float:
        return min(max(now for _, now in self._shares(trainer)), 1.0)

    @property
    def _epochs(self) -> float:
        """Epochs that are done, as far as it is known of this one."""
        length = self._length
        done = min(self._in_epoch, length) / length if _known(length) else 0.0
        return self._epoch + done

    def _by_epochs(self, epochs: float) -> float:
        length = self._length
        if math.isinf(epochs):
            return 0.0
        if not epochs:
            return 1.0
        if not _known(length):
            return self._epoch / epochs
        done = self._epoch * length + min(self._in_epoch, length)
        return done / (epochs * length)

    def _passes(self, trainer: pl.Trainer) -> float:
        length = self._length
        if not _known(length):
            return self._epoch + self._progress(trainer)
        return (self._epoch * length + min(self._in_epoch, length)) / length

    @property
    def _length(self) -> float:
        """How many batches this epoch has, as far as it is known; 0 or infinite, if it is not."""
        return self._announced * self._correction if _known(self._announced) else self._learned

    def state_dict(self) -> dict[str, Any]:
        return vars(self).copy()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)


def _since(start: float, now: float) -> float:
    """How much is done, in [0, 1], of what was left at the start."""
    return min(max((now - start) / max(1 - start, 1e-9), 0.0), 1.0)


def planned_epochs(trainer: pl.Trainer) -> float:
    """Epochs until the end of the run, infinite if they do not end it."""
    epochs = trainer.max_epochs
    if epochs is None or epochs < 0:
        return math.inf
    return float(max(epochs - epochs_without_steps(trainer), 0))


def epochs_without_steps(trainer: pl.Trainer) -> int:
    """Epochs that stochastic weight averaging adds at the end, for the statistics of BatchNorm."""
    every = callbacks_of(trainer)
    averages = [one for one in every if isinstance(one, StochasticWeightAveraging)]
    return sum(map(renews_batch_norm, averages))


def planned_batches(trainer: pl.Trainer) -> float:
    """Batches until the end of the run by epochs or steps; infinite if that is not known."""
    by_epochs = planned_epochs(trainer) * float(trainer.num_training_batches)
    by_steps = float(trainer.max_steps * trainer.accumulate_grad_batches)
    return min(by_epochs, by_steps if trainer.max_steps > 0 else math.inf)


def planned_steps(trainer: pl.Trainer) -> float:
    """Optimizer steps until the end of the run, infinite if that is not known."""
    steps = float(trainer.estimated_stepping_batches)
    if steps <= 0 or math.isinf(steps):
        return math.inf
    if without := epochs_without_steps(trainer):
        steps *= 1 - without / (trainer.max_epochs or 1)
    return steps


def validations_left(trainer: pl.Trainer) -> float:
    """How many validations the run has after the one that it is in; infinite if it is not known.

    Lightning validates every so many batches of an epoch, of each so-many-eth epoch; or, without
    epochs, every so many batches; or at an epoch's end, where its length is not known.
    """
    length, every = float(trainer.num_training_batches), trainer.val_check_batch
    if every is None:  # by time
        return math.inf
    done = float(trainer.fit_loop.epoch_loop.batch_idx + 1)
    if math.isinf(length) or math.isinf(every):
        # In epochs: the last batch of this one, if it is not known where else, is validated too.
        length, done, every = 1.0, 1.0 if math.isinf(every) else 0.0, 1.0
    now = trainer.current_epoch * length + done
    steps = (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches
    end = min(planned_epochs(trainer) * length, now + steps if trainer.max_steps > 0 else math.inf)
    if math.isinf(end):
        return math.inf
    epochs = trainer.check_val_every_n_epoch
    return _validations(end, length, every, epochs) - _validations(now, length, every, epochs)


def _validations(batches: float, length: float, every: float, epochs: int | None) -> float:
    """How many come in so many batches.

    >>> _validations(25, length=10, every=3, epochs=1), _validations(25, 10, 3, epochs=None)
    (7, 8)
    """
    if epochs is None:
        return batches // every
    whole, rest = divmod(batches, length)
    last = rest // every if (whole + 1) % epochs == 0 else 0
    return whole // epochs * (length // every) + last


def _by_time(trainer: pl.Trainer) -> float:
    """By the clock on the wall, on all processes that of the first."""
    for callback in callbacks_of(trainer):
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None:
            done = callback.time_elapsed()
            share = min(done / max(done + left, 1e-9), 1.0)
            return float(trainer.strategy.broadcast(share)) if trainer.world_size > 1 else share
    return 0.0


def _known(length: float) -> bool:
    return 0 < length < math.inf


def _check_end(trainer: pl.Trainer) -> None:
    """Refuse a run of which it cannot be said how far it is."""
    epochs = planned_epochs(trainer)
    timers = [callback for callback in callbacks_of(trainer) if isinstance(callback, Timer)]
    timed = any(timer.time_remaining() is not None for timer in timers)
    if trainer.max_steps > 0 or timed:
        return
    if math.isinf(epochs):
        raise ValueError(
            f"the trainer has max_epochs={trainer.max_epochs} and max_steps={trainer.max_steps}: "
            "pruning plans its phases as shares of the run, so give it an end (max_epochs, "
            "max_steps or max_time)"
        )
    if epochs <= 1 and not _known(float(trainer.num_training_batches)):
        raise ValueError(
            f"the trainer has max_epochs={trainer.max_epochs} and data of unknown length: one "
            "epoch of which nobody knows how long it is has no shares; give max_steps, "
            "limit_train_batches=NUMBER or more epochs"
        )
