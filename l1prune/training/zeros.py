"""Zeros: removed weights stay zero against whatever moves weights.

An optimizer's step is followed by a hook. But weights are moved elsewhere too: by steps that are
not called `step`, as those of sharpness-aware minimisation; by optimizers that swap weights for a
validation; by averages that a callback puts in place; by noise. So zeros are written again where a
batch, a validation and a test begin, and where the run ends; and right before the module's step,
where others have hooks that may come later than that. Who moved them is asked for once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from l1prune.cuts.masks import hold_, moved
from l1prune.pressure.kernels.dispatch import Dispatch
from l1prune.training.loop import Loop, Removable
from l1prune.training.targets import RunTargets
from l1prune.weights import shards
from l1prune.weights.warning import warn


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
        self._before_steps: Removable | None = None
        self._dispatch = Dispatch()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_before_steps": None}  # a copy hangs on no loop

    def expect_moves(self) -> None:
        """Others have had their turn, as in a validation: hold where the next batch begins."""
        self._next_batch = True

    def begin_batch(self, loop: Loop) -> None:
        """Before the forward pass of training."""
        if self._each_batch is None:  # now that everybody has hung up what they hang
            self._each_batch = not loop.moves_by_steps_alone()
            self.begin(loop)
        if self._next_batch or (self._each_batch and self._before_steps is None):
            self.hold()
            self._next_batch = False

    def begin(self, loop: Loop) -> None:
        """Where hooks of others may come after ours, hold right before each step of the module."""
        if self._before_steps is None:
            self._before_steps = loop.before_steps(partial(self._before_step, loop))

    def _before_step(self, loop: Loop, evaluates: bool) -> None:
        shards.reshard(loop.model)
        if self._first:
            self.inspect(loop)
            self._first = False  # of an epoch, a validation or a test
        elif self._each_batch or evaluates:
            self.hold()

    def end(self) -> None:
        """Let go of the loop."""
        if self._before_steps is not None:
            self._before_steps.remove()
            self._before_steps = None

    def hold(self) -> None:
        """Write the zeros into the weights."""
        hold_(self._known.found, self._known.masks, self._dispatch)

    def inspect(self, loop: Loop) -> None:
        """Hold, and warn once if something else than a step had moved removed weights."""
        names = [] if self._told else moved(self._known.found, self._known.masks)
        if names:
            self._told = self._each_batch = True
            warn(warning_of(names, loop.suspects()))
        self.hold()
        self._first = True


def warning_of(names: Sequence[str], suspects: Sequence[str]) -> str:
    """What is said of removed weights, by name, that were moved: by whom it may be.

    >>> warning_of(["head.weight"], [])[:72]
    'removed weights of head.weight were moved by something else than optimiz'
    """
    listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return (
        f"removed weights of {listed} were moved by something else than optimizer.step(), perhaps "
        f"by {' or '.join(suspects) or 'an optimizer that moves weights outside it'}; they are set "
        "to zero again where a batch, a validation and a test begin, and at the end"
    )
