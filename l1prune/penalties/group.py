"""L1 between units, L2 within them: whole rows, columns, filters, channels or heads become zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.penalties.elementwise import checked_step, precise
from l1prune.penalties.penalty import makes_zeros

# Newton's method below is monotone and quadratic. Thresholds that differ by ten orders of magnitude
# within a unit took five steps to the precision of float64.
_NEWTON_STEPS = 6


@dataclass(frozen=True)
class GroupL1:
    """The group lasso: Σ_g √|g|·‖w_g‖₂ over the units g of a layer, |g| weights each.

    Unit k is ``block`` consecutive indices along ``dim``, with all there is along the other
    dimensions (and, if ``parts`` > 1, the k-th block of each of as many stacked matrices):

    ===============================================  ==============================================
    units                                            write
    ===============================================  ==============================================
    rows: output features of a Linear (out, in)      ``GroupL1()``
    columns: its input features                      ``GroupL1(dim=1)``
    … behind a flattened (C, H, W) feature map       ``GroupL1(dim=1, block=H * W)``
    filters of a convolution (out, in, kh, kw)       ``GroupL1()``
    its input channels                               ``GroupL1(dim=1)``
    filters of a transposed one (in, out, kh, kw)    ``GroupL1(dim=1)``
    heads in a query, key or value projection        ``GroupL1(block=head_size)``
    heads in a fused one (q, k, v stacked)           ``GroupL1(block=head_size, parts=3)``
    heads in the output projection                   ``GroupL1(dim=1, block=head_size)``
    ===============================================  ==============================================

    prox(w_g, t) = (1 − t·√|g| / ‖w_g‖)₊ · w_g. The factor √|g| and the root mean square as score
    make units of different size comparable: a unit becomes zero when its score is at most ``t``.

    Args:
        dim: The dimension that counts the units; negative counts from the last.
        block: Consecutive indices in a unit.
        parts: Matrices stacked along ``dim``, each of which holds one block of every unit.

    Raises:
        ValueError: ``block`` or ``parts`` below 1; at a call, weights that this grouping does not
            fit: no such dimension, or a length that is no multiple of ``block·parts``.

    Source: Yuan and Lin, "Model selection and estimation in regression with grouped variables",
    JRSS B 68, 2006; Wen et al., "Learning structured sparsity in deep neural networks", 2016.

    >>> w = torch.tensor([[3.0, 3.0], [1.0, -1.0]])
    >>> GroupL1().score(w)
    tensor([[3.],
            [1.]])
    >>> GroupL1().prox_(w, 1.5)
    tensor([[1.5000, 1.5000],
            [0.0000, 0.0000]])
    """

    dim: int = 0
    block: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        for name in ("block", "parts"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"GroupL1({name}={getattr(self, name)}): must be a whole number ≥ 1; "
                    "1 makes each index along dim a unit of its own."
                )

    def score(self, w: Tensor) -> Tensor:
        """Root mean square of a unit, at each of its indices along ``dim``.

        Returns:
            Shape of ``w``, but 1 in every dimension other than ``dim``.
        """
        units = self._units(w)
        rms = _norms(units, self._within(w)) / max(_root(units, self._within(w)), 1)
        shape = [1] * w.ndim
        shape[self.dim] = w.shape[self.dim]
        return rms.flatten().repeat_interleave(self.block).repeat(self.parts).reshape(shape)

    def value(self, w: Tensor) -> Tensor:
        """Σ_g √|g|·‖w_g‖, 0-d."""
        units = self._units(w)
        return _root(units, self._within(w)) * _norms(units, self._within(w)).sum()

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Shrink each unit towards zero in place; see `Penalty.prox_`.

        Exact for every ``t``: one formula where it is constant in a unit, else Newton's method. A
        unit that holds a NaN becomes NaN.
        """
        t = checked_step(t)
        units, within = self._units(w), self._within(w)
        if w.numel() == 0 or (isinstance(t, float) and t == 0):
            return w
        root = _root(units, within)
        if isinstance(t, Tensor):
            steps = self._units(t.expand_as(w))
            if any(steps.size(i) > 1 and steps.stride(i) > 0 for i in within):
                _shrink_unevenly_(units, root * steps, within)
                return w
            for i in within:
                steps = steps.narrow(i, 0, 1)
            t = steps
        norms = _norms(units, within)
        kept = (1 - root * t / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(min=0)
        units.mul_(kept).masked_fill_(kept == 0, 0)  # the fill: -w·0 is -0.0, inf·0 is NaN
        return w

    def _units(self, w: Tensor) -> Tensor:
        """A view of ``w`` with ``dim`` split in three: (…, parts, units, block, …)."""
        if not -w.ndim <= self.dim < w.ndim:
            raise ValueError(
                f"{self} on a weight of shape {tuple(w.shape)}: there is no dimension {self.dim}. "
                "Choose dim among its dimensions, or leave this weight out of the targets."
            )
        length, unit = w.shape[self.dim], self.parts * self.block
        if length % unit:
            raise ValueError(
                f"{self} on a weight of shape {tuple(w.shape)}: {length} indices along dim "
                f"{self.dim} cannot be shared out in units of {unit}. Choose block·parts so that "
                f"it divides {length}."
            )
        return w.unflatten(self.dim, (self.parts, length // unit, self.block))

    def _within(self, w: Tensor) -> list[int]:
        """The dimensions of `_units` that run within a unit: all but the one that counts them."""
        counting = self.dim % w.ndim + 1
        return [i for i in range(w.ndim + 2) if i != counting]


def _root(units: Tensor, within: list[int]) -> float:
    """√|g|."""
    return math.sqrt(math.prod(units.shape[i] for i in within))


def _norms(units: Tensor, within: list[int]) -> Tensor:
    """‖w_g‖, of size 1 along ``within``."""
    return torch.linalg.vector_norm(units, dim=within, keepdim=True, dtype=precise(units.dtype))


def _shrink_unevenly_(units: Tensor, steps: Tensor, within: list[int]) -> None:
    """Set each unit w to argmin_x ‖x‖ + Σᵢ (xᵢ − wᵢ)²/2sᵢ, for steps s that differ within it.

    The minimiser is xᵢ = wᵢ·r/(r + sᵢ), whose norm r solves φ(r) = 1 for φ(r) = 1/‖w/(r + s)‖; it
    is zero if φ(0) ≥ 1. φ is increasing and concave, so that Newton's method started left of the
    root stays there and rises to it; no |wᵢ| exceeds r + sᵢ at the root, hence the start.
    """
    w = units.to(precise(units.dtype))
    tiny = torch.finfo(w.dtype).tiny
    r = (w.abs() - steps).amax(within, keepdim=True).clamp(min=0)
    for _ in range(_NEWTON_STEPS):
        room = (r + steps).clamp(min=tiny)
        scaled = w / room
        norm = torch.linalg.vector_norm(scaled, dim=within, keepdim=True)
        curve = (scaled.square() / room).sum(within, keepdim=True).clamp(min=tiny)
        r = (r + norm.square() * (norm - 1) / curve).clamp(min=0)
    units.copy_((w / (1 + steps / r)).masked_fill(r == 0, 0))


@makes_zeros.register
def _(penalty: GroupL1) -> bool:
    return True
