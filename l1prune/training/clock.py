"""How much of a run is done: a count of its own, that no optimizer, precision or loop disturbs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import StochasticWeightAveraging

from l1prune.training.lightning import callbacks_of, renews_batch_norm


def planned_batches(trainer: pl.Trainer) -> float:
    """Training batches until `max_epochs`, infinite if only `max_steps` ends the run.

    Raises:
        ValueError: neither of them ends it.
    """
    epochs = trainer.max_epochs if trainer.max_epochs is not None else -1
    epochs -= epochs_without_steps(trainer)
    batches = float(trainer.num_training_batches)
    planned = epochs * batches if epochs >= 0 else math.inf
    if math.isinf(planned) and trainer.max_steps < 0:
        raise ValueError(
            f"the trainer has max_epochs={trainer.max_epochs}, max_steps={trainer.max_steps} and "
            f"{trainer.num_training_batches} batches an epoch: pruning plans its phases as shares "
            "of the run, so give it an end (max_epochs, or max_steps for data of unknown length)"
        )
    return planned


def epochs_without_steps(trainer: pl.Trainer) -> int:
    """Epochs that stochastic weight averaging adds at the end, for the statistics of BatchNorm."""
    callbacks = callbacks_of(trainer)
    return sum(
        isinstance(callback, StochasticWeightAveraging) and renews_batch_norm(callback)
        for callback in callbacks
    )


def progress(trainer: pl.Trainer, batches: int) -> float:
    """Share of the run that is done after so many batches, in [0, 1].

    Whichever of `max_epochs` and `max_steps` ends the run first decides.
    """
    by_epochs = batches / planned_batches(trainer)
    by_steps = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
    return min(max(by_epochs, by_steps), 1.0)


def rescaled(batches: int, per_epoch: float, trainer: pl.Trainer) -> int:
    """Batches done in a run of `per_epoch` of them an epoch, as if it had been this one.

    A run that is resumed on another number of processes, or with another batch size, has another
    number of batches an epoch.
    """
    now = float(trainer.num_training_batches)
    if now == per_epoch or not (0 < per_epoch < math.inf and now < math.inf):
        return batches
    return round(batches * now / per_epoch)


def as_shares(
    prune_at: tuple[float, ...], trainer: pl.Trainer, part: float = 1.0
) -> tuple[float, ...]:
    """Rounds as shares of the run, or of a part of it; whole numbers are optimizer steps.

    Args:
        prune_at: the rounds.
        trainer: knows how long the run is.
        part: how much of the run they are shares of.

    Raises:
        ValueError: the run is too short for a step of pressure before the last cut and one of
            fine-tuning after it.
    """
    steps = trainer.estimated_stepping_batches
    if without := epochs_without_steps(trainer):
        steps *= 1 - without / (trainer.max_epochs or 1)
    steps *= part
    shares = tuple(at / steps if isinstance(at, int) else at for at in prune_at)
    last = shares[-1]
    if last >= 1 or math.ceil(last * steps) >= steps or last * steps < 1:
        raise ValueError(
            f"prune_at={prune_at[-1]} does not fit a run of {steps:.0f} steps: it needs at least "
            "one step under pressure before the cut and one of fine-tuning after it; train longer, "
            "or give an earlier share of the run between 0 and 1"
        )
    return shares


def as_rounds(prune_at: float | Sequence[float]) -> tuple[float, ...]:
    """`prune_at` as rising shares of the run, or rising optimizer steps.

    Raises:
        ValueError: it is neither.

    >>> as_rounds(0.6), as_rounds([100, 200])
    ((0.6,), (100, 200))
    """
    several = isinstance(prune_at, Sequence) and not isinstance(prune_at, str | bytes)
    given: tuple[Any, ...] = tuple(prune_at) if several else (prune_at,)  # type: ignore[arg-type]
    shares = all(isinstance(at, float) and 0 < at < 1 for at in given)
    steps = all(isinstance(at, int) and not isinstance(at, bool) and at >= 1 for at in given)
    if not (given and (shares or steps)) or any(a >= b for a, b in pairwise(given)):
        raise ValueError(
            "prune_at must be a share of the run between 0 and 1, an optimizer step ≥ 1, or a "
            f"rising list of either, got {prune_at!r}; 0.6 cuts after 60 % of the run"
        )
    return given


def rounds(start: float, stop: float, count: int) -> tuple[float, ...]:
    """Evenly spaced shares of the run, for `L1Pruning(prune_at=rounds(0.1, 0.6, 20))`.

    >>> rounds(0.2, 0.6, 3)
    (0.2, 0.4, 0.6)
    """
    if not (0 < start < stop < 1 and count >= 2):
        raise ValueError(
            f"rounds(start={start}, stop={stop}, count={count}): needs 0 < start < stop < 1, "
            "shares of the run, and at least two rounds"
        )
    step = (stop - start) / (count - 1)
    return tuple(round(start + index * step, 9) for index in range(count))
