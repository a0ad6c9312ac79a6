"""Pressure: a penalty put on an optimizer, once after (or before) each of its real steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from l1prune.penalties import L1, Penalty, is_separable
from l1prune.penalties.joint import JointPenalty
from l1prune.pressure.forms import Form, JointForm, KernelForm, Step
from l1prune.pressure.kernels.dispatch import Dispatch
from l1prune.pressure.kernels.passes import NOTHING, Pass, Threshold
from l1prune.pressure.metrics import Thresholds, UnknownMetricError
from l1prune.pressure.optimizers import (
    Group,
    after_steps,
    check_optimizer,
    innermost,
    number,
    was_skipped,
)
from l1prune.pressure.response import DefaultForm
from l1prune.weights.shards import local
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
        masks: by name, what is held at zero after each step, in the same pass over memory; what is
            later added to this mapping is held too.
        default: what the form is where none is given.

    Attributes:
        steps: how many steps were pressed.
        dispatch: does it, and knows by which kernels.

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
        masks: Mapping[str, Tensor] | None = None,
        default: DefaultForm | None = None,
    ) -> None:
        self.penalty = L1() if penalty is None else penalty
        self.strength = strength
        self._inner = innermost(optimizer)
        for one in self._inner:
            check_optimizer(one)
        self._default = default or DefaultForm()
        self._default.gradients.take(targets)
        self._by_default = form is None
        self.form = form or self._default.of(optimizer)
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
        self.dispatch = Dispatch()
        self._masks = {} if masks is None else masks
        self._soft: Form | None = None
        self._thresholds: dict[int, Thresholds | None] = {}
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

    def _after(self, optimizer: Optimizer) -> None:
        if was_skipped(optimizer):
            return
        passes, steps = self._work(optimizer)
        if steps:
            self._press(steps)
        if passes:
            self.dispatch.run(passes)
        self.steps += 1

    def _work(self, optimizer: Optimizer) -> tuple[list[Pass], list[Step]]:
        """What a step leaves to do: for kernels, and for the form where it is more than they do."""
        passes: list[Pass] = []
        steps: list[Step] = []
        strength, targets, masks = self._strength, self._targets, self._masks
        thresholds = self._thresholds_of(optimizer) if strength else None
        seed = self.steps * SEEDS_PER_STEP - 1
        # Groups are looked up at each step: a callback may unfreeze layers into new ones.
        for group in optimizer.param_groups:
            rate = number(group["lr"])
            for w in group["params"]:
                seed += 1
                if (target := targets.get(id(w))) is None:
                    continue
                by, mask = NOTHING, masks.get(target.name)
                if strength and target.factor and w.grad is not None:
                    try:
                        if thresholds is not None:
                            by = thresholds(rate * (target.factor * strength), group, w)
                    except UnknownMetricError:  # which the form says again
                        thresholds = None
                    if thresholds is None:
                        steps.append(self._step(optimizer, group, target, seed))
                if mask is not None or by is not NOTHING:
                    passes.append(_pass(w, by, mask, seed))
        return passes, steps

    def _thresholds_of(self, optimizer: Optimizer) -> Thresholds | None:
        """The soft thresholds that the form comes to, if it does; asked for once."""
        if self._soft is not self.form:
            self._soft, self._thresholds = self.form, {}
        if id(optimizer) not in self._thresholds:
            able = isinstance(self.form, KernelForm) and not self._joint
            found = self.form.thresholds(optimizer, self.penalty) if able else None  # type: ignore[attr-defined]
            self._thresholds[id(optimizer)] = found
        return self._thresholds[id(optimizer)]

    @torch.no_grad()
    def _press(self, steps: Sequence[Step]) -> None:
        for together in [steps] if self._joint else ([step] for step in steps):
            try:
                self._enter(together)
            except UnknownMetricError:
                if not self._by_default:
                    raise
                self.form = self._default.responding()
                self._attach()
                self._enter(together)

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
        moved = ((group, w) for group in optimizer.param_groups for w in group["params"])
        for index, (group, w) in enumerate(moved, self.steps * SEEDS_PER_STEP):
            target = self._targets.get(id(w))
            if target is not None and target.factor and w.grad is not None:
                yield self._step(optimizer, group, target, index)

    def _step(self, optimizer: Optimizer, group: Group, target: Target, seed: int) -> Step:
        return Step(
            optimizer=optimizer,
            group=group,
            target=target,
            penalty=self.penalty,
            strength=target.factor * self.strength,
            separable=self._separable,
            seed=seed,
        )


def _pass(w: nn.Parameter, by: Threshold, mask: Tensor | None, seed: int) -> Pass:
    if type(w) is nn.Parameter and (
        mask is None
        or (type(mask) is Tensor and ((mask.is_cpu and w.is_cpu) or mask.device == w.device))
    ):
        return Pass(w, by, mask, seed)
    part = local(w.detach())
    return Pass(part, by, None if mask is None else local(mask).to(part.device), seed)
