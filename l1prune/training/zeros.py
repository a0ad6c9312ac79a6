"""Zeros: removed weights stay zero against whatever moves weights.

An optimizer's step is followed by a hook. But weights are moved elsewhere too: by steps that are
not called `step`, as those of sharpness-aware minimisation; by optimizers that swap weights for a
validation; by averages that a callback puts in place; by noise. So zeros are written again where a
batch, a validation and a test begin, and where the run ends; and right before the module's step,
where others have hooks that may come later than that. Who moved them is asked for once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from functools import partial

import lightning.pytorch as pl
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks

from l1prune.cuts.masks import hold_, moved
from l1prune.training.hooks import BeforeSteps
from l1prune.training.lightning import callbacks_of
from l1prune.training.targets import RunTargets
from l1prune.weights import shards
from l1prune.weights.shards import warn

BETWEEN_STEPS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
    "backward",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "optimizer_step",
    "optimizer_zero_grad",
    "lr_scheduler_step",
)
"""Hooks in which weights may be moved between an optimizer's step and the next forward pass."""

ELSEWHERE = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_epoch_end",
    "on_validation_start",
    "on_validation_epoch_start",
    "on_validation_batch_start",
    "on_validation_batch_end",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_test_start",
    "on_test_epoch_start",
    "on_test_batch_start",
    "on_test_batch_end",
    "on_train_end",
    "on_fit_end",
)
"""Hooks in which they may be moved around epochs, validations and tests."""

LATE = ("on_train_batch_start", "on_validation_batch_start", "on_test_batch_start")
"""Hooks that may come after ours, right before the module's step."""

OURS = ("l1prune.", "lightning.", "pytorch_lightning.")


class Zeros:
    """Holds the masks of a run outside the steps of its optimizers.

    Args:
        known: the weights, and their masks, whatever becomes of them.
    """

    def __init__(self, known: RunTargets) -> None:
        self._known = known
        self._told = False
        self._each_batch: bool | None = None
        self._next_batch = self._first = True
        self._before_steps: BeforeSteps | None = None

    def expect_moves(self) -> None:
        """Others have had their turn, as in a validation: hold where the next batch begins."""
        self._next_batch = True

    def begin_batch(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Before the forward pass of training."""
        if self._each_batch is None:  # now that everybody has hung up what they hang
            self._each_batch = not moves_by_steps_alone(trainer, module)
            self.begin(trainer, module)
        if self._next_batch or (self._each_batch and self._before_steps is None):
            self.hold()
            self._next_batch = False

    def begin(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Where hooks of others may come after ours, hold right before each step of the module."""
        if self._before_steps is None and _suspects(callbacks_of(trainer), module, LATE):
            act = partial(self._before_step, trainer, module)
            self._before_steps = BeforeSteps(trainer.strategy, act)

    def _before_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        shards.reshard(module)
        if self._first:
            self.inspect(trainer, module)
            self._first = False  # of an epoch, a validation or a test
        elif self._each_batch or not trainer.training:
            self.hold()

    def end(self) -> None:
        """Let go of the trainer."""
        if self._before_steps is not None:
            self._before_steps.remove()
            self._before_steps = None

    def hold(self) -> None:
        """Write the zeros into the weights."""
        hold_(self._known.found, self._known.masks)

    def inspect(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Hold, and warn once if something else than a step had moved removed weights."""
        names = [] if self._told else moved(self._known.found, self._known.masks)
        if names:
            self._told = self._each_batch = True
            warn(warning_of(names, callbacks_of(trainer), module))
        self.hold()
        self._first = True


def moves_by_steps_alone(trainer: pl.Trainer, module: pl.LightningModule) -> bool:
    """Whether nothing but optimizers of torch, and by their steps, can move weights in an epoch."""
    strategy = type(trainer.strategy).__module__.startswith(OURS)
    return (
        module.automatic_optimization
        and trainer.accumulate_grad_batches == 1
        and strategy
        and all(map(_is_plain, trainer.optimizers))
        and not _suspects(callbacks_of(trainer), module, BETWEEN_STEPS)
    )


def _is_plain(optimizer: Optimizer) -> bool:
    """Whether an optimizer is one of torch, and nobody else acts after its steps."""
    hooks = [*optimizer._optimizer_step_post_hooks.values(), *_global_optimizer_post_hooks.values()]
    ours = all(str(getattr(hook, "__module__", "")).startswith(OURS) for hook in hooks)
    own = type(optimizer).step
    # A scheduler of the learning rate wraps the step, to count it; others may have put in another.
    step = inspect.unwrap(vars(optimizer).get("step", own))
    unpatched = step is inspect.unwrap(own)
    return ours and unpatched and type(optimizer).__module__.startswith("torch.optim")


def warning_of(
    names: Sequence[str], callbacks: Iterable[pl.Callback], module: pl.LightningModule
) -> str:
    """What is said of removed weights, by name, that were moved: by whom it may be.

    >>> warning_of(["head.weight"], [], pl.LightningModule())[:72]
    'removed weights of head.weight were moved by something else than optimiz'
    """
    by = _suspects(callbacks, module, BETWEEN_STEPS + ELSEWHERE)
    listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return (
        f"removed weights of {listed} were moved by something else than optimizer.step(), perhaps "
        f"by {' or '.join(by) or 'an optimizer that moves weights outside it'}; they are set to "
        "zero again where a batch, a validation and a test begin, and at the end"
    )


def _suspects(
    callbacks: Iterable[pl.Callback], module: pl.LightningModule, hooks: Sequence[str]
) -> list[str]:
    """The hooks of the user's own, of callbacks and of the module."""
    users = [one for one in callbacks if not type(one).__module__.startswith(OURS)]
    return [
        f"{type(one).__name__}.{hook}"
        for one, base in [*((one, pl.Callback) for one in users), (module, pl.LightningModule)]
        for hook in hooks
        if hook in vars(one) or getattr(type(one), hook, None) is not getattr(base, hook, None)
    ]
