"""Gradients: how large they are, where an optimizer keeps nothing that tells.

Adam and its relatives remember means of gradients and of their squares; SGD, Lion or Muon do not.
Here the same means are kept for them, as Adam would keep them.
Source: Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from l1prune.pressure.optimizers import (
    Group,
    Mean,
    Squares,
    before_steps,
    forgetting,
    tells_scale,
    was_skipped,
)
from l1prune.weights.pieces import pieces, precise
from l1prune.weights.shards import gathered, local, part_of, spread
from l1prune.weights.targets import Target

BETAS = (0.9, 0.999)
"""How much of the means of gradients, and of their squares, a step leaves: Adam's."""

EPS = 1e-8
"""What is added to the root of a mean of squares: Adam's."""

LARGEST = 1e15
"""What a larger gradient counts as: sums of squares stay finite in float32."""


@dataclass(eq=False)
class Moments:
    """What is remembered of the gradients of a weight; of a sharded one, local parts.

    Args:
        mean: m ← β₁·m + (1 − β₁)·g.
        square: v ← β₂·v + (1 − β₂)·g².
        steps: how often.
    """

    mean: Tensor
    square: Tensor
    steps: int = 0


def no_moments(w: Tensor) -> Moments:
    """Those of a weight, or a part of one, before the first step: in float32 at least."""
    zeros = torch.zeros_like(w, dtype=precise(w.dtype), memory_format=torch.contiguous_format)
    return Moments(zeros, zeros.clone())


@torch.no_grad()
def note_(moments: Moments, gradient: Tensor) -> None:
    """Take one more gradient into the moments, but for what of it is not finite.

    >>> moments = no_moments(torch.zeros(2))
    >>> note_(moments, torch.tensor([3.0, torch.nan]))
    >>> moments.square / (1 - BETAS[1])
    tensor([9.0000, 0.0000])
    """
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    exact = dense.to(moments.mean.dtype)
    for g, mean, square in pieces(exact, moments.mean, moments.square):
        finite = g.nan_to_num(0.0, 0.0, 0.0).clamp_(-LARGEST, LARGEST)
        mean.lerp_(finite, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(finite, finite, value=1 - BETAS[1])
    moments.steps += 1


class Gradients:
    """The moments of the gradients of weights, kept where their optimizers keep no squares.

    A step counts if it is a real one: micro-batches are accumulated first, and steps that a
    gradient scaler skips, and weights without a gradient, leave things as they are.

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer, gradients = torch.optim.SGD(layer.parameters(), lr=0.1), Gradients()
    >>> with gradients.follow([Target("weight", layer.weight)], [optimizer]):
    ...     layer(torch.tensor([1.0, 2.0])).sum().backward(); optimizer.step()
    >>> gradients.squares(layer.weight).total
    tensor([[1., 4.]])
    """

    def __init__(self) -> None:
        self._targets: dict[int, Target] = {}
        self._moments: dict[int, Moments] = {}
        self._asked: set[tuple[int, int]] = set()
        self._told: dict[int, set[int]] = {}
        self._packed: dict[str, dict[str, Any]] = {}

    @contextmanager
    def follow(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> Iterator[None]:
        """Note the gradients of all steps of these weights until this is left; they stay noted."""
        self.take(targets)
        handles = [one for optimizer in optimizers for one in before_steps(optimizer, self._note)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def has(self, w: Tensor) -> bool:
        """Whether gradients of a weight were noted."""
        return id(w) in self._moments

    def squares(self, w: Tensor) -> Squares | None:
        """The squares of a weight's gradients, spread as it is; None where none were noted."""
        moments = self._moments.get(id(w))
        if moments is None:
            return None
        return forgetting(part_of(moments.square, w), BETAS[1], moments.steps)

    def mean(self, w: Tensor) -> Mean | None:
        """The mean of a weight's gradients, spread as it is; None where none were noted."""
        moments = self._moments.get(id(w))
        return None if moments is None else Mean(part_of(moments.mean, w), BETAS[0])

    def clear(self) -> None:
        """Forget all that was noted."""
        self._moments, self._packed = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Whole tensors on the CPU, by name. Processes with shards call it together."""
        found = [(self._targets[key], moments) for key, moments in self._moments.items()]
        return {**self._packed, **{t.name: _packed(m, t.parameter) for t, m in found}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self._packed = dict(state)

    def __getstate__(self) -> dict[str, Any]:
        return {"packed": self.state_dict()}  # the weights themselves stay where they are

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Gradients.__init__(self)
        self.load_state_dict(state["packed"])

    def take(self, targets: Sequence[Target]) -> None:
        """Go by these weights; of those that are not among them, nothing stays."""
        # By the weights themselves, whose names may have changed.
        kept = {id(target.parameter): target for target in targets}
        self._moments = {key: m for key, m in self._moments.items() if key in kept}
        self._targets, self._asked, self._told = kept, set(), {}
        for key, target in kept.items():
            if key not in self._moments and (packed := self._packed.pop(target.name, None)):
                self._moments[key] = _unpacked(packed, target.parameter)

    def _note(self, optimizer: Optimizer) -> None:
        if was_skipped(optimizer):
            return
        targets, told = self._targets, self._told.get(id(optimizer), ())
        if len(told) == len(targets):
            return
        for group in optimizer.param_groups:
            for w in group["params"]:
                asked = id(w) in targets and id(w) not in told and w.grad is not None
                if asked and self._is_due(optimizer, group, w):
                    self.note(w, optimizer)

    def note(self, w: Tensor, optimizer: Optimizer) -> None:
        """Note the gradient by which an optimizer is about to move a weight."""
        if not self.has(w):
            self._moments[id(w)] = no_moments(local(w.detach()))
        assert w.grad is not None
        gradient = local(w.grad.detach())
        # A fused optimizer divides by the loss scale inside its step.
        scale = getattr(optimizer, "grad_scale", None)
        note_(self._moments[id(w)], gradient if scale is None else gradient / scale)

    def _is_due(self, optimizer: Optimizer, group: Group, w: Tensor) -> bool:
        """Whether the optimizer does not tell; once it does, it is not asked again."""
        key = id(optimizer), id(w)
        remembers = bool(optimizer.state.get(w))
        forgets = not remembers and (key in self._asked or self.has(w))
        self._asked.add(key)
        if forgets or not tells_scale(optimizer, group, w):
            return True
        if remembers:
            self._told.setdefault(id(optimizer), set()).add(id(w))
        return False


def _packed(moments: Moments, w: Tensor) -> dict[str, Any]:
    def whole(part: Tensor) -> Tensor:
        # A copy: what was saved must not go on with the run.
        return gathered(part_of(part, w)).to("cpu", copy=True)

    return {
        "mean": whole(moments.mean),
        "square": whole(moments.square),
        "steps": moments.steps,
    }


def _unpacked(packed: Mapping[str, Any], w: Tensor) -> Moments:
    def part(whole: Tensor) -> Tensor:
        return local(spread(whole.to(w.device), w)).clone()

    return Moments(part(packed["mean"]), part(packed["square"]), packed["steps"])
