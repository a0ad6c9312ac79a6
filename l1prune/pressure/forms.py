"""Forms: how a penalty enters an optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from l1prune.checks import check_object
from l1prune.penalties import Penalty
from l1prune.penalties.convex import soft_thresholds
from l1prune.penalties.joint import JointPenalty
from l1prune.pressure.kernels.eager import rounded
from l1prune.pressure.metrics import Euclidean, KernelMetric, Metric, Thresholds
from l1prune.pressure.optimizers import Group, number
from l1prune.weights.bits import HALVES
from l1prune.weights.shards import local
from l1prune.weights.targets import Target


@dataclass(frozen=True, eq=False)
class Step:
    """One optimizer step of one parameter, as a form sees it.

    Args:
        optimizer: whose step it is.
        group: the parameter's, among the optimizer's.
        target: the parameter.
        penalty: what presses it.
        strength: λ, times the target's factor.
        separable: whether the penalty treats each weight by itself.
        seed: of what is drawn in this step; another for each step and parameter.
    """

    optimizer: Optimizer
    group: Group
    target: Target
    penalty: Penalty
    strength: float
    separable: bool
    seed: int

    @property
    def parameter(self) -> Tensor:
        """The weight that is pressed."""
        return self.target.parameter


class Form(Protocol):
    """The form in which a penalty enters an optimizer step."""

    makes_zeros: bool = True
    """Whether weights become exactly zero under it, if the penalty makes them so."""

    def check(self, optimizer: Optimizer) -> None:
        """Raise ValueError if this form and the optimizer do not go together."""
        ...

    def attach(
        self, optimizer: Optimizer, steps: Callable[[Optimizer], Iterator[Step]]
    ) -> list[RemovableHandle]:
        """Hang on the optimizer what has to act before its step; most forms need nothing.

        Args:
            optimizer: the optimizer.
            steps: the parameters that its coming step moves and that are under pressure.
        """
        return []

    def after(self, step: Step) -> None:
        """What happens to a parameter after the optimizer has moved it."""
        ...


@runtime_checkable
class JointForm(Form, Protocol):
    """A form in which a penalty of units that span several parameters can enter, too."""

    def after_all(self, steps: Sequence[Step]) -> None:
        """What happens to the parameters after the optimizer has moved them all.

        Args:
            steps: those of one optimizer step, all under the same joint penalty.
        """
        ...


@runtime_checkable
class KernelForm(Form, Protocol):
    """A form that may come to a soft threshold: all weights of a step are then one pass."""

    def thresholds(self, optimizer: Optimizer, penalty: Penalty) -> Thresholds | None:
        """The soft thresholds of this optimizer's weights; None where they are treated by `after`.

        Args:
            optimizer: the optimizer.
            penalty: what presses.
        """
        ...


@dataclass(frozen=True)
class Proximal(KernelForm, JointForm):
    """The proximal map after the step: small weights become exactly zero.

    Args:
        metric: `Euclidean()`, t = lr·λ, or `OptimizerMetric()`, t_i = lr·λ/(√v̂_i + ε).
    """

    metric: Metric = field(default_factory=Euclidean)

    def __post_init__(self) -> None:
        check_object("metric", self.metric, ("threshold", "in_pieces"), "Euclidean()")

    def check(self, optimizer: Optimizer) -> None:
        self.metric.check(optimizer)

    def thresholds(self, optimizer: Optimizer, penalty: Penalty) -> Thresholds | None:
        if not (soft_thresholds(penalty) and isinstance(self.metric, KernelMetric)):
            return None
        return self.metric.thresholds(optimizer)

    def after(self, step: Step) -> None:
        w, amount = local(step.parameter), _amount(step)
        if not isinstance(amount, Tensor) and amount == 0:
            return
        taken = step.optimizer, step.group, step.parameter, amount
        if step.separable and w.dtype not in HALVES:
            for piece, t in self.metric.in_pieces(*taken):
                step.penalty.prox_(piece, t)
            return
        t = self.metric.threshold(*taken)
        if w.dtype in HALVES:
            exact = step.penalty.prox_(w.float(), t.float() if isinstance(t, Tensor) else t)
            w.copy_(rounded(exact, w.dtype, step.seed))
        else:
            step.penalty.prox_(w, t)

    def after_all(self, steps: Sequence[Step]) -> None:
        weights = [local(step.parameter) for step in steps]
        ts = [
            self.metric.threshold(step.optimizer, step.group, step.parameter, _amount(step))
            for step in steps
        ]
        exact = [w.float() if w.dtype in HALVES else w for w in weights]
        for penalty in {id(step.penalty): step.penalty for step in steps}.values():
            assert isinstance(penalty, JointPenalty)
            penalty.prox_all_([step.parameter for step in steps], exact, ts)
        for w, moved, step in zip(weights, exact, steps, strict=True):
            if w.dtype in HALVES:
                w.copy_(rounded(moved, w.dtype, step.seed))


def _amount(step: Step) -> float | Tensor:
    """lr·λ."""
    return number(step.group["lr"]) * step.strength
