"""Selection: what other callbacks choose by a metric, from networks that are what the run is for.

A network under pressure is better than it will be once it is cut. Early stopping that compares the
two ends the run before it has what it is for, and a checkpoint of the best keeps a dense network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from l1prune.training.averages import renew_averages_
from l1prune.training.clock import planned_epochs
from l1prune.training.hooks import Around
from l1prune.training.lightning import callbacks_of
from l1prune.training.loop import Choices, Standing
from l1prune.weights.warning import warn


class Selection(Choices):
    """Keeps the other callbacks of a trainer to networks that have arrived, while a run lasts.

    `EarlyStopping`, and what is derived from it, stops a run that diverges at any time, but counts
    only when all cuts are made, of all stages. `ModelCheckpoint`, and what is derived from it,
    ranks whatever has arrived above all that came before: until then its files are those of any
    run, and they make way one by one. Averages begin anew with the last cut, and so does the best
    of a `ReduceLROnPlateau`.

    Args:
        run: knows whether its network has arrived.
        trainer: has the callbacks.
        module: the model.
    """

    def __init__(self, run: Standing, trainer: pl.Trainer, module: nn.Module) -> None:
        self._run, self._module, self._callbacks = run, module, callbacks_of(trainer)
        self._schedulers = trainer.lr_scheduler_configs
        self._measured = True  # no cut since the last validation
        self._around: list[Around] = []
        for callback in self._callbacks:
            if isinstance(callback, EarlyStopping):
                stop = _Stopping(callback, run)
                self._around += [Around(callback, hook, stop) for hook in CHECKS]
            elif isinstance(callback, ModelCheckpoint):
                self._around.append(Around(callback, "check_monitor_top_k", self._in_top))

    def _in_top(
        self,
        judge: Callable[..., bool],
        trainer: pl.Trainer,
        current: Tensor | None = None,
    ) -> bool:
        """Whether a checkpoint is to be saved as one of the best."""
        arrived = self._run.arrived
        measured = self._measured or not trainer.enable_validation
        if (arrived and not measured) or (not arrived and self._run.has_arrived):
            return False  # the figure is of another network; or the best so far is not to make way
        return judge(trainer, current)

    def validated(self) -> None:
        """A validation has measured the network as it is."""
        self._measured = True

    def begin_anew(self, measured: bool) -> None:
        """The network is another from now on, and what was chosen before is not what is asked for.

        Args:
            measured: whether a validation has just measured it.
        """
        self._measured = measured
        for callback in self._callbacks:
            if isinstance(callback, ModelCheckpoint):
                make_way_(callback)
        renew_averages_(self._callbacks, self._module)
        for config in self._schedulers:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                config.scheduler.best = config.scheduler.mode_worse
                config.scheduler.num_bad_epochs = 0

    def end(self) -> None:
        """Training is over: what has arrived is all that counts as best."""
        if not self._run.has_arrived:
            return
        for callback in self._callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.save_top_k:
                _leave_arrived(callback)

    def remove(self) -> None:
        """Let the callbacks go."""
        for around in self._around:
            around.remove()


CHECKS = ("on_validation_end", "on_train_epoch_end")
"""The hooks in which early stopping looks at its metric."""


class _Stopping:
    """Early stopping that does not count while there is something left to cut."""

    def __init__(self, callback: EarlyStopping, run: Standing) -> None:
        self._callback, self._run = callback, run

    def __call__(self, check: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        if self._run.complete:
            check(*args, **kwargs)
            return
        with patient(self._callback):
            check(*args, **kwargs)


@contextmanager
def patient(callback: EarlyStopping) -> Iterator[None]:
    """Within, it stops a run that diverges, and no other; afterwards it has seen no score.

    >>> stopping = EarlyStopping("val/loss", patience=1, stopping_threshold=0.1)
    >>> with patient(stopping):
    ...     print(stopping.patience > 1e6, stopping.stopping_threshold)
    True None
    >>> stopping.patience, stopping.stopping_threshold, stopping.wait_count, stopping.best_score
    (1, 0.1, 0, tensor(inf))
    """
    patience, threshold = callback.patience, callback.stopping_threshold
    callback.patience, callback.stopping_threshold = sys.maxsize, None
    callback.best_score = torch.tensor(torch.nan)  # so that nothing is said to be an improvement
    try:
        yield
    finally:
        callback.patience, callback.stopping_threshold = patience, threshold
        callback.best_score = torch.tensor(_worst(callback.mode))
        callback.wait_count = 0


def make_way_(callback: ModelCheckpoint) -> None:
    """Rank what a callback has kept below all that is to come; it removes the files itself then.

    Those of one that keeps all, with `save_top_k=-1`, stay, and are no longer among the best.
    """
    if callback.save_top_k == -1:
        callback.best_k_models.clear()
    for path, score in callback.best_k_models.items():
        callback.best_k_models[path] = torch.full_like(score, _worst(callback.mode))
    callback.kth_value = torch.full_like(callback.kth_value, _worst(callback.mode))


def _leave_arrived(callback: ModelCheckpoint) -> None:
    """Take off the list what no better network came to replace; its files stay."""
    scores = callback.best_k_models
    before = [path for path, score in scores.items() if float(score) == _worst(callback.mode)]
    if len(before) < len(scores):
        for path in before:
            del scores[path]
    elif callback.best_model_path:
        warn(
            f"{type(callback).__name__}(monitor={callback.monitor!r}) saved no network after the "
            "last cut, and its best_model_path is of one before it: train on, cut earlier, or "
            "validate and save more often"
        )


def _worst(mode: str) -> float:
    return float("inf") if mode == "min" else -float("inf")


def warn_of_others(trainer: pl.Trainer, last: float) -> None:
    """Name the callbacks whose choice nothing here can put right, each with the remedy.

    Args:
        trainer: has the callbacks.
        last: when the last cut comes, as a share of the run.
    """
    epochs = planned_epochs(trainer)
    for callback in callbacks_of(trainer):
        name = type(callback).__name__
        if isinstance(callback, StochasticWeightAveraging) and last * epochs > epochs - 1:
            warn(
                f"{name} takes up the network as each epoch starts, and none of the {epochs:.0f} "
                "starts after the last cut, so that what is learned after it is lost: train for "
                "more epochs, or cut earlier"
            )
        elif _keeps_best(callback):
            warn(
                f"{name} keeps a best of its own, which may be a network from before the last cut: "
                "let it look only while `arrived` of the L1Pruning callback is true, or derive it "
                "from EarlyStopping or ModelCheckpoint"
            )


def _keeps_best(callback: pl.Callback) -> bool:
    """Whether a callback looks as if it chose by a metric, in a way that is not known here."""
    known = isinstance(callback, EarlyStopping | ModelCheckpoint)
    ours = type(callback).__module__.partition(".")[0] == "l1prune"
    return not known and not ours and any(n.lstrip("_").startswith("best") for n in vars(callback))
