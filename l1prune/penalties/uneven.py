"""Uneven steps: the proximal map of a unit whose weights move by steps t of different lengths.

In an adaptive optimizer's metric each weight has its own t. With m weights in a unit, their root
mean square ρ, and a cost m·p(ρ), the minimiser of m·p(ρ(x)) + Σ (xᵢ − wᵢ)²/2tᵢ is xᵢ = wᵢ/(1 + μtᵢ)
with μ = p′(ρ)/ρ, or zero. What is left to find is one number μ for each unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from l1prune.penalties.penalty import Penalty

# Newton's method below is monotone and quadratic. Thresholds that differ by ten orders of magnitude
# within a unit took five steps to the precision of float64.
_NEWTON_STEPS = 6

# A concave cost can have several minima, which lie far apart: a grid finds the lowest of them, and
# a search within two of its steps, over which all is nearly linear, the last digit.
_GRID = 24
_SEARCH_STEPS = 14
_SMALLEST = 1e-4  # of a unit's size, below which a minimum beside zero is zero


class Grouping(Protocol):
    """How weights divide into units."""

    def sums(self, x: Tensor) -> Tensor:
        """The sum over each unit."""
        ...

    def largest(self, x: Tensor) -> Tensor:
        """The largest of each unit."""
        ...

    def spread(self, units: Tensor) -> Tensor:
        """What is said of units, as it is of their weights."""
        ...


@dataclass(frozen=True)
class Rows(Grouping):
    """Each row of a matrix is a unit."""

    def sums(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True)

    def largest(self, x: Tensor) -> Tensor:
        return x.amax(1, keepdim=True)

    def spread(self, units: Tensor) -> Tensor:
        return units


@dataclass(frozen=True, eq=False)
class Members(Grouping):
    """Units of any sizes.

    Args:
        units: for each weight, whose it is.
        count: of units.
    """

    units: Tensor
    count: int

    def sums(self, x: Tensor) -> Tensor:
        return x.new_zeros(self.count).index_add_(0, self.units, x)

    def largest(self, x: Tensor) -> Tensor:
        return x.new_zeros(self.count).scatter_reduce_(0, self.units, x, "amax", include_self=False)

    def spread(self, units: Tensor) -> Tensor:
        return units[self.units]


def lasso_norms(w: Tensor, s: Tensor, by: Grouping) -> Tensor:
    """‖x‖ of each unit, for x = argmin_x ‖x‖ + Σ (xᵢ − wᵢ)²/2sᵢ.

    The minimiser is xᵢ = wᵢ·r/(r + sᵢ). Its norm r solves φ(r) = 1, where φ(r) is 1/‖w/(r + s)‖,
    or is zero if φ(0) ≥ 1. φ is increasing and concave, so that Newton's method started left of the
    root stays there and rises to it; no |wᵢ| exceeds r + sᵢ at the root, hence the start.

    >>> lasso_norms(torch.tensor([[3.0, 4.0]]), torch.ones(1, 2), Rows())
    tensor([[4.]])
    """
    tiny = torch.finfo(w.dtype).tiny
    r = by.largest(w.abs() - s).clamp(min=0)
    for _ in range(_NEWTON_STEPS):
        reach = (by.spread(r) + s).clamp_(min=tiny)
        ratio = w / reach
        norm = by.sums(ratio.square()).sqrt()
        curve = by.sums(ratio.square_().div_(reach)).clamp(min=tiny)
        r = (r + norm.square() * (norm - 1) / curve).clamp(min=0)
    return r


def nearest(w: Tensor, t: Tensor, by: Grouping, single: Penalty) -> Tensor:
    """The global minimiser x of Σ_g m·p(ρ_g(x)) + Σ (xᵢ − wᵢ)²/2tᵢ over units g of m weights.

    Args:
        w: weights, in the widest type there is: costs are compared that differ by little.
        t: their steps, of the same shape and type.
        by: how they divide into units.
        single: p, symmetric, of slope 1 at zero and concave in the size.

    >>> from l1prune.penalties import L1
    >>> nearest(torch.tensor([[3.0, 4.0]]), torch.full((1, 2), 0.5**0.5), Rows(), L1())
    tensor([[2.4000, 3.2000]])
    """
    search = _Search(w, t, by, single)
    sizes = search.sizes(w)
    tiny = torch.finfo(w.dtype).tiny
    still = sizes.clamp(min=tiny)
    least = lasso_norms(w, t * by.spread(search.counts.sqrt()), by) / search.counts.sqrt()
    # The slope p′ lies between those at the size so far and at zero, and so does μ = p′/ρ.
    low = (_slopes(single, sizes) / still).clamp(min=1e-8)
    high = torch.where(least > 0, 1 / least.clamp(min=tiny), 1 / (still * _SMALLEST))
    low = torch.minimum(low, high).log()
    high = high.clamp(max=torch.finfo(w.dtype).max).log()
    width = (high - low) / (_GRID - 1)
    costs = torch.stack([search.cost((low + k * width).exp()) for k in range(_GRID)])
    at = low + costs.argmin(0) * width
    mu = search.balanced(torch.maximum(at - width, low), torch.minimum(at + width, high)).exp()
    # Where the slope at the size so far is zero, w is a minimum itself.
    mu = torch.where(search.cost(torch.zeros_like(mu)) <= search.cost(mu), 0, mu)
    squares = torch.where(w == 0, 0, w.square() / t)
    dead = (sizes == 0) | (search.cost(mu) >= by.sums(squares) / 2)
    return search.moved(mu).masked_fill(by.spread(dead), 0.0)


class _Search:
    """What becomes of units as their μ grows: smaller sizes, further from where they were."""

    def __init__(self, w: Tensor, t: Tensor, by: Grouping, single: Penalty) -> None:
        self._w, self._t, self._by, self._single = w, t, by, single
        self.counts = by.sums(torch.ones_like(w))

    def moved(self, mu: Tensor) -> Tensor:
        """Weights x = w/(1 + μt)."""
        return self._w / (1 + self._by.spread(mu) * self._t)

    def sizes(self, x: Tensor) -> Tensor:
        """ρ."""
        return (self._by.sums(x.square()) / self.counts).sqrt()

    def cost(self, mu: Tensor) -> Tensor:
        """m·p(ρ) + Σ (x − w)²/2t, in which (w − x)/t is μx."""
        x = self.moved(mu)
        each = torch.func.vmap(self._single.value)(self.sizes(x).flatten()).view_as(mu)
        return self.counts * each + mu / 2 * self._by.sums((self._w - x) * x)

    def excess(self, mu: Tensor) -> Tensor:
        """p′(ρ) − μρ: positive where a larger μ costs less."""
        sizes = self.sizes(self.moved(mu))
        return _slopes(self._single, sizes) - mu * sizes

    def balanced(self, low: Tensor, high: Tensor) -> Tensor:
        """The log μ at which the excess is zero, between two: regula falsi, as of Illinois."""
        under, over = self.excess(low.exp()).clamp(min=0), self.excess(high.exp()).clamp(max=0)
        tiny = torch.finfo(low.dtype).tiny
        last = torch.zeros_like(low)
        for _ in range(_SEARCH_STEPS):
            share = under / (under - over).clamp(min=tiny)
            middle = low + share * (high - low)
            excess = self.excess(middle.exp())
            left = excess > 0
            # An end that stays twice pulls half as much from then on.
            over = torch.where(left, torch.where(last > 0, over / 2, over), excess)
            under = torch.where(left, excess, torch.where(last < 0, under / 2, under))
            low, high = torch.where(left, middle, low), torch.where(left, high, middle)
            last = torch.where(left, 1.0, -1.0).to(low.dtype)
        return torch.where(under.abs() < over.abs(), low, high)


def _slopes(single: Penalty, sizes: Tensor) -> Tensor:
    """p′ of each size."""
    with torch.enable_grad():
        sizes = sizes.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(single.value(sizes), sizes)
    return slopes.detach()
