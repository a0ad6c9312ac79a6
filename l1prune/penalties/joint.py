"""Joint penalties: those of units that span several weights, as a channel spans layers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from l1prune.penalties.penalty import Penalty
from l1prune.weights.rules import Rule, Rules


@runtime_checkable
class JointPenalty(Penalty, Protocol):
    """A penalty that has been joined to a model, whose weights it moves together."""

    def rules(self, given: Rules | None) -> Sequence[Rule]:
        """The rules that choose the weights of its units, biases and norms included.

        Args:
            given: what was asked for; None: all there are.

        Raises:
            ValueError: that leaves no unit.
        """
        ...

    def prox_all_(
        self,
        parameters: Sequence[Tensor],
        weights: Sequence[Tensor],
        steps: Sequence[float | Tensor],
    ) -> None:
        """Shrink units towards zero in place, as far as they lie in these weights.

        Args:
            parameters: some of the model's.
            weights: their values, or copies of a wider type, which are changed.
            steps: t for each, as of `Penalty.prox_`.
        """
        ...


@runtime_checkable
class ModelPenalty(Penalty, Protocol):
    """A penalty that has to know a model before it is one."""

    def join(self, model: nn.Module) -> JointPenalty:
        """The penalty of this model's units.

        Raises:
            ValueError: its units cannot be found.
        """
        ...


def join(penalty: Penalty, model: nn.Module) -> Penalty:
    """A penalty, joined to the model if it has to be.

    >>> from l1prune.penalties import L1
    >>> join(L1(), nn.Linear(2, 2))
    L1()
    """
    return penalty.join(model) if isinstance(penalty, ModelPenalty) else penalty


class PenaltyOfModel:
    """A penalty joined to a model, anew only where the model's parameters are others than before.

    To find the units of a model takes seconds, and it is asked for when a run is set up and when it
    begins.

    Args:
        penalty: of any kind.
        model: whose units it is of.
    """

    def __init__(self, penalty: Penalty, model: nn.Module) -> None:
        self._penalty, self._model = penalty, model
        self._joined: Penalty | None = None
        self._facts: list[object] = []
        self._parameters: list[Tensor] = []

    def now(self) -> Penalty:
        """The penalty of the model as it is.

        Raises:
            ValueError: its units cannot be found.
        """
        named = [*self._model.named_parameters()]
        facts: list[object] = [(name, w.requires_grad, w.device, w.dtype) for name, w in named]
        # The objects themselves: another may have the address of one that is gone.
        parameters: list[Tensor] = [w for _, w in named]
        alike = facts == self._facts and all(map(operator.is_, parameters, self._parameters))
        if self._joined is None or not alike:
            self._joined = join(self._penalty, self._model)
            self._facts, self._parameters = facts, parameters
        return self._joined
