"""Movers: who, in a Trainer, may move weights otherwise than by an optimizer's step.

Callbacks and the module by their hooks, optimizers by steps that torch does not see: all that is
the user's own is suspected.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import Strategy
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks

from l1prune.training.hooks import Around
from l1prune.training.lightning import callbacks_of

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


def moves_by_steps_alone(trainer: pl.Trainer, module: pl.LightningModule) -> bool:
    """Whether nothing but optimizers of torch, and by their steps, can move weights in an epoch."""
    strategy = type(trainer.strategy).__module__.startswith(OURS)
    return (
        module.automatic_optimization
        and trainer.accumulate_grad_batches == 1
        and strategy
        and all(map(_is_plain, trainer.optimizers))
        and not suspects(callbacks_of(trainer), module, BETWEEN_STEPS)
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


def suspects(
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


STEPS = ("training_step", "validation_step", "test_step")


class BeforeSteps:
    """Does something right before a strategy has the module take a step, of whatever kind.

    That is later than all hooks of callbacks and of the module, in whatever way the step then calls
    the network, and whatever is wrapped around that; module and network are left as they are.

    Args:
        strategy: of the trainer.
        act: what is done.
    """

    def __init__(self, strategy: Strategy, act: Callable[[], None]) -> None:
        self._act = act
        self._around = [Around(strategy, name, self._acted) for name in STEPS]

    def _acted(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._act()
        return step(*args, **kwargs)

    def remove(self) -> None:
        """Let the strategy go; what others have hung on it stays."""
        for around in self._around:
            around.remove()
