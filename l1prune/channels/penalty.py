"""ChannelL1: L1 between channels, L2 within them, over all the weights that a channel spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from l1prune.channels.coupling import Coupling, coupling_of
from l1prune.channels.trial import firm_streams
from l1prune.channels.units import ChannelUnits
from l1prune.penalties.group import GroupL1
from l1prune.penalties.penalty import is_separable, makes_zeros
from l1prune.weights.pieces import precise
from l1prune.weights.rules import ByName, Rule, Rules
from l1prune.weights.targets import Target, find_targets
from l1prune.weights.warning import warn


class _Rows:
    """What there is of channels in a weight that no model is around: its rows."""

    def score(self, w: Tensor) -> Tensor:
        """Root mean square of each row."""
        return GroupL1().score(w)

    def value(self, w: Tensor) -> Tensor:
        """Σ √|r|·‖w_r‖ over the rows r, 0-d."""
        return GroupL1().value(w)

    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Shrink each row towards zero in place."""
        return GroupL1().prox_(w, t)


@dataclass(frozen=True)
class ChannelL1(_Rows):
    """The group lasso over channels: Σ_c √|c|·‖w_c‖₂, with |c| weights in channel c.

    A channel is all that goes when it is removed: a filter and its bias, the scale and shift of its
    norm, the columns of the layers that read it, over all layers of a residual stream; of a
    multilayer perceptron it is a neuron, of attention a head. They are found on the model's
    exported graph, the one that `l1prune.deploy.compact` reads, which can remove them afterwards.

    The model needs an example of its input: Lightning's `example_input_array`. By itself, on a
    weight that no model is around, a channel is a row, as in `GroupL1()`.

    Source: Yuan & Lin, 2006, as `GroupL1`; channels over layers as in Fang et al., "DepGraph:
    towards any structural pruning", CVPR 2023.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model.example_input_array = torch.ones(1, 4)
    >>> [rule.pattern for rule in ChannelL1().join(model).rules(None)]
    ['0.weight', '0.bias', '2.weight']
    """

    def join(self, model: nn.Module) -> JoinedChannelL1:
        """The penalty of this model's channels.

        Raises:
            ValueError: the model has no example of its input, or its forward cannot be exported.
        """
        example = getattr(model, "example_input_array", None)
        if example is None:
            raise ValueError(
                f"penalty={self!r} finds channels on the graph of {type(model).__name__}, which "
                "takes an example of its input: set self.example_input_array in its __init__, as "
                "torch.zeros(1, 3, 32, 32)"
            )
        return JoinedChannelL1(model, _like_weights(example, model))


def _like_weights(example: Any, model: nn.Module) -> Any:
    """An example where the model is, its floats of the type of the weights."""
    weight = next(model.parameters())

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(weight if tensor.is_floating_point() else weight.device)

    return tree_map_only(Tensor, moved, example)


class JoinedChannelL1(_Rows):
    """`ChannelL1` of one model.

    Args:
        model: the model.
        example_input: a tensor, a tuple of what it takes, or a mapping of it by name.

    Raises:
        ValueError: its forward cannot be exported.
    """

    def __init__(self, model: nn.Module, example_input: Any) -> None:
        self._model = model
        found = coupling_of(model, example_input)
        self._firm = firm_streams(model, found, example_input)
        self._coupling = found.only([n not in self._firm for n in range(len(found.streams))])
        if self._firm:
            warn(
                f"channels that cannot be removed are left alone: {'; '.join(self._firm.values())}"
            )
        self._elsewhere: dict[torch.device, Coupling] = {}
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}

    def __repr__(self) -> str:
        return repr(ChannelL1())

    def rules(self, given: Rules | None) -> Sequence[Rule]:
        """Those that name the weights of channels: of streams that `given` leaves whole.

        Raises:
            ValueError: that leaves no channel.
        """
        chosen = {target.name for target in find_targets(self._model, given)}
        matrices = {n for n, shape in self._coupling.shapes.items() if len(shape) > 1}
        still = {n for n, p in self._model.named_parameters() if not p.requires_grad}
        allowed = [n for n in self._coupling.shapes if n not in still | (matrices - chosen)]
        coupling = self._coupling.within(allowed)
        if not coupling.places:
            why = "; ".join(self._firm.values()) or (
                "all are bound to its inputs or outputs, frozen, left out by targets, or used by "
                "operations that are not known"
            )
            kind = type(self._model).__name__
            raise ValueError(f"{kind} has no channels that can be removed: {why}")
        return [ByName(name) for name in coupling.places]

    def units(self, targets: Sequence[Target]) -> ChannelUnits:
        """How these targets divide into channels."""
        return ChannelUnits(self._coupling, targets)

    def _coupling_on(self, device: torch.device) -> Coupling:
        """Where the weights are, so that no step has to bring numbers there."""
        if device not in self._elsewhere:
            self._elsewhere[device] = self._coupling.to(device)
        return self._elsewhere[device]

    @torch.no_grad()
    def prox_all_(
        self,
        parameters: Sequence[Tensor],
        weights: Sequence[Tensor],
        steps: Sequence[float | Tensor],
    ) -> None:
        """Set each channel w_c to (1 − t·√|c|/‖w_c‖)₊·w_c, in place.

        t is the harmonic mean of the steps of its weights. A weight that lies in two channels, in a
        row and in a column, is shrunk by both: one proximal map after the other.
        """
        names = [self._names[id(parameter)] for parameter in parameters]
        squares, slownesses, ones = {}, {}, {}
        for name, w, t in zip(names, weights, steps, strict=True):
            squares[name] = w.to(precise(w.dtype)).square()
            slownesses[name] = torch.as_tensor(t, dtype=w.dtype, device=w.device).reciprocal()
            slownesses[name] = slownesses[name].expand_as(w)
            ones[name] = w.new_ones(()).expand_as(w)
        coupling = self._coupling_on(weights[0].device)
        left = shrinkage(*(coupling.sums(one) for one in (squares, slownesses, ones)))
        left[-1] = 1
        for name, w in zip(names, weights, strict=True):
            for factor in coupling.factors(name, left.to(w.dtype)):
                w.mul_(factor)


def shrinkage(squares: Tensor, slownesses: Tensor, sizes: Tensor) -> Tensor:
    """What a proximal step leaves of units: (1 − t·√n/‖w‖)₊, with t = n/Σ(1/tᵢ).

    Args:
        squares: ‖w‖² of each unit.
        slownesses: Σ(1/tᵢ) over its weights.
        sizes: n.

    >>> four = torch.tensor([4.0])
    >>> shrinkage(squares=four, slownesses=torch.tensor([8.0]), sizes=four)
    tensor([0.5000])
    """
    lost = sizes / slownesses * (sizes / squares).sqrt()
    return (1 - lost).nan_to_num(0.0).clamp(0, 1)


@makes_zeros.register
def _(penalty: _Rows) -> bool:
    return True


@is_separable.register
def _(penalty: _Rows) -> bool:
    return False
