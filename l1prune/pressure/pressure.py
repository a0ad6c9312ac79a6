"""Pressure: a penalty put on an optimizer, once after (or before) each of its real steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch.optim import Optimizer

from l1prune.penalties import L1, Penalty, is_separable
from l1prune.penalties.joint import JointPenalty
from l1prune.pressure.forms import Form, JointForm, Step
from l1prune.pressure.gradients import Gradients
from l1prune.pressure.metrics import UnknownMetricError
from l1prune.pressure.optimizers import after_steps, check_optimizer, innermost, was_skipped
from l1prune.pressure.response import Responding, Response, default_form
from l1prune.weights.targets import Target

SEEDS_PER_STEP = 2**20


class Pressure:
    """Puts a penalty on the weights that an optimizer moves; usable without Lightning.

    It acts exactly once per real step: not on accumulated micro-batches, not on a step that a
    gradient scaler skips, not on a weight that had no gradient. The loss, the gradients that the
    user sees, the parameters' identity and their names stay as they are. A weight that two
    optimizers share is pressed after each one's step, with that one's learning rate.

    Args:
        optimizer: any `torch.optim.Optimizer` but LBFGS, or one around another.
        targets: the weights under pressure, from `find_targets`.
        penalty: what is put on them.
        strength: λ ≥ 0, to be changed at any time by setting `pressure.strength`.
        form: `Proximal()` or `Subgradient()`; by default the proximal map in the optimizer's own
            metric, where λ is that of loss + λ·penalty.
        gradients: keeps what the default form has seen of gradients, where the optimizer's metric
            is not known; None: a new one.
        limit: the most that the default form moves a weight by, as a share of lr: see
            `OptimizerMetric`.

    Attributes:
        steps: how many steps were pressed.

    Raises:
        ValueError: negative strength, LBFGS, a form that does not fit the optimizer, or one around
            others that has no hooks and does not say which.

    >>> from l1prune import find_targets
    >>> model = torch.nn.Linear(100, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> pressure = Pressure(optimizer, find_targets(model), L1(), strength=10.0)
    >>> model(torch.zeros(1, 100)).sum().backward()
    >>> _ = optimizer.step()
    >>> int(model.weight.count_nonzero())
    0
    >>> pressure.remove()
    """

    def __init__(
        self,
        optimizer: Optimizer,
        targets: Sequence[Target],
        penalty: Penalty | None = None,
        strength: float = 1e-4,
        form: Form | None = None,
        gradients: Gradients | None = None,
        limit: float = math.inf,
    ) -> None:
        self.penalty = L1() if penalty is None else penalty
        self.strength = strength
        self._inner = innermost(optimizer)
        for one in self._inner:
            check_optimizer(one)
        self._gradients = Gradients() if gradients is None else gradients
        self._gradients.take(targets)
        self._by_default, self._limit = form is None, limit
        self.form = form or default_form(optimizer, self._gradients, limit)
        for one in self._inner:
            self.form.check(one)
        self._joint = isinstance(self.penalty, JointPenalty)
        if self._joint and not isinstance(self.form, JointForm):
            raise ValueError(
                f"form={self.form!r} presses each weight by itself, and penalty={self.penalty!r} "
                "units that span several; leave the form out, or give Proximal()"
            )
        self._separable = is_separable(self.penalty)
        self.steps = 0
        self._targets = {id(target.parameter): target for target in targets}
        self._handles = after_steps(optimizer, self._after)
        self._attach()

    @property
    def strength(self) -> float:
        """λ from the next step on."""
        return self._strength

    @strength.setter
    def strength(self, strength: float) -> None:
        if not (math.isfinite(strength) and strength >= 0):
            raise ValueError(f"strength must be a finite number ≥ 0, got {strength!r}")
        self._strength = strength

    def _attach(self) -> None:
        for one in self._inner:
            self._handles += self.form.attach(one, self._pressed)

    def remove(self) -> None:
        """Take the pressure off the optimizer."""
        for handle in self._handles:
            handle.remove()

    @torch.no_grad()
    def _after(self, optimizer: Optimizer) -> None:
        if was_skipped(optimizer):
            return
        steps = self._pressed(optimizer)
        for together in [list(steps)] if self._joint else ([step] for step in steps):
            try:
                self._enter(together)
            except UnknownMetricError:
                if not self._by_default:
                    raise
                self.form = Responding(Response(self._gradients, self._limit))
                self._attach()
                self._enter(together)
        self.steps += 1

    def _enter(self, steps: Sequence[Step]) -> None:
        if self._joint:
            assert isinstance(self.form, JointForm), "checked at the beginning"
            self.form.after_all(steps)
        else:
            for step in steps:
                self.form.after(step)

    def _pressed(self, optimizer: Optimizer) -> Iterator[Step]:
        """The parameters that this step moves and that are under pressure."""
        if self.strength == 0:
            return
        # Groups are looked up at each step: a callback may unfreeze layers into new ones.
        moved = ((group, w) for group in optimizer.param_groups for w in group["params"])
        for index, (group, w) in enumerate(moved):
            target = self._targets.get(id(w))
            if target is not None and target.factor and w.grad is not None:
                yield Step(
                    optimizer=optimizer,
                    group=group,
                    target=target,
                    penalty=self.penalty,
                    strength=target.factor * self.strength,
                    separable=self._separable,
                    seed=self.steps * SEEDS_PER_STEP + index,
                )
