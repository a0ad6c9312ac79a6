"""L1 between units, L2 within them: whole rows, columns, filters, channels or heads become zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.checks import is_whole
from l1prune.penalties.penalty import is_separable, makes_zeros
from l1prune.penalties.steps import as_tensor, checked_step
from l1prune.weights.pieces import piece_length, precise

# Newton's method below is monotone and quadratic. Thresholds that differ by ten orders of magnitude
# within a unit took five steps to the precision of float64.
_NEWTON_STEPS = 6

LARGE = 64
"""More dimensions than a tensor has."""


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
        ValueError: ``dim`` is no whole number, ``block`` or ``parts`` are below 1; at a call,
            weights that this grouping does not fit: no such dimension, or a length that is no
            multiple of ``block·parts``.

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
        if not is_whole(self.dim, -LARGE) or self.dim > LARGE:
            raise ValueError(f"GroupL1(dim={self.dim!r}): must be a dimension, as 0 or -1.")
        for name in ("block", "parts"):
            if not is_whole(getattr(self, name), 1):
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
        rms = _norms(units) / max(_root(units), 1)
        shape = [1] * w.ndim
        shape[self.dim] = w.shape[self.dim]
        return rms.repeat_interleave(self.block).repeat(self.parts).reshape(shape)

    def value(self, w: Tensor) -> Tensor:
        """Σ_g √|g|·‖w_g‖, 0-d."""
        units = self._units(w)
        return _root(units) * _norms(units).sum()

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Shrink each unit towards zero in place; see `Penalty.prox_`.

        Exact for every ``t``: one formula where it is constant in a unit, else Newton's method. A
        unit that holds a NaN or an infinity becomes NaN.
        """
        t = checked_step(t)
        units = self._units(w)
        if w.numel() == 0 or (isinstance(t, float) and t == 0):
            return w
        step = t.to(precise(w.dtype)) if isinstance(t, Tensor) else as_tensor(t, w)
        steps = self._units(step.expand_as(w))
        uneven = any(steps.size(i) > 1 and steps.stride(i) > 0 for i in range(1, steps.ndim))
        shrink_ = _shrink_unevenly_ if uneven else _shrink_evenly_
        at_once = max(1, piece_length(w) * len(units) // w.numel())
        for some, their_steps in zip(
            torch.split(units, at_once), torch.split(steps, at_once), strict=True
        ):
            shrink_(some, their_steps)
        return w

    def _units(self, w: Tensor) -> Tensor:
        """A view of ``w`` with its units along dimension 0, and their weights along the others."""
        if not -w.ndim <= self.dim < w.ndim:
            raise ValueError(
                f"{self} on a weight of shape {tuple(w.shape)}: there is no dimension {self.dim}. "
                "Choose dim among its dimensions, or leave this weight out of the targets."
            )
        dim, length, share = self.dim % w.ndim, w.shape[self.dim], self.parts * self.block
        if length % share:
            raise ValueError(
                f"{self} on a weight of shape {tuple(w.shape)}: its {length} indices along dim "
                f"{self.dim} do not divide into units of {share}. Choose block·parts so that it "
                f"divides {length}."
            )
        split = torch.unflatten(w, dim, (self.parts, length // share, self.block))
        return split.movedim(dim + 1, 0)


def _root(units: Tensor) -> float:
    """√|g|."""
    return math.sqrt(math.prod(units.shape[1:]))


def _norms(units: Tensor) -> Tensor:
    """‖w_g‖, one per unit."""
    # Flat first: reducing along strides is 40 times slower than this copy, for columns.
    norms: Tensor = torch.linalg.vector_norm(units.flatten(1), dim=1, dtype=precise(units.dtype))
    return norms


def _shrink_evenly_(units: Tensor, steps: Tensor) -> None:
    """Set each unit w to (1 − √|g|·t/‖w‖)₊·w, for steps t that are constant within it."""
    first = (slice(None), *[slice(1)] * (units.ndim - 1))  # of a unit's equal steps
    norms = _norms(units).clamp(min=torch.finfo(steps.dtype).tiny).view_as(steps[first])
    lost = (_root(units) * steps[first] / norms).clamp(max=1)
    units.addcmul_(units, lost, value=-1)


def _shrink_unevenly_(units: Tensor, steps: Tensor) -> None:
    """Set each unit w to argmin_x √|g|·‖x‖ + Σᵢ (xᵢ − wᵢ)²/2tᵢ, for steps t that differ within it.

    With s = √|g|·t the minimiser is xᵢ = wᵢ·r/(r + sᵢ). Its norm r solves φ(r) = 1, where φ(r) is
    1/‖w/(r + s)‖, or is zero if φ(0) ≥ 1. φ is increasing and concave, so that Newton's method
    started left of the root stays there and rises to it; no |wᵢ| exceeds r + sᵢ at the root, hence
    the start.
    """
    w, s = units.flatten(1).to(steps.dtype), _root(units) * steps.flatten(1)
    tiny = torch.finfo(w.dtype).tiny
    r = (w.abs() - s).amax(1, keepdim=True).clamp(min=0)
    for _ in range(_NEWTON_STEPS):
        reach = (r + s).clamp_(min=tiny)
        ratio = w / reach
        norm = torch.linalg.vector_norm(ratio, dim=1, keepdim=True)
        curve = ratio.square_().div_(reach).sum(1, keepdim=True).clamp(min=tiny)
        r = (r + norm.square() * (norm - 1) / curve).clamp(min=0)
    units.copy_((w / (1 + s / r)).masked_fill(r == 0, 0).view_as(units))


@makes_zeros.register
def _(penalty: GroupL1) -> bool:
    return True


@is_separable.register
def _(penalty: GroupL1) -> bool:
    return False
