"""Units: whole rows, columns, filters, channels or heads become zero, by a penalty of their size.

A unit of m weights whose root mean square is ρ costs m·p(ρ), with p what a single weight costs:
`L1`, or one that leaves large weights alone. It shrinks towards zero along a straight line, as far
as a single weight of size ρ does, so that strengths compare between units and between penalties.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.checks import is_whole
from l1prune.penalties.convex import L1
from l1prune.penalties.penalty import Penalty, is_separable, makes_zeros
from l1prune.penalties.steps import as_tensor, checked_step
from l1prune.penalties.uneven import Rows, lasso_norms, nearest
from l1prune.weights.pieces import piece_length, precise, widest

LARGE = 64
"""More dimensions than a tensor has."""


@dataclass(frozen=True)
class GroupPenalty(Penalty):
    """A penalty of the sizes of units, which a subclass names.

    Unit k is ``block`` consecutive indices along ``dim``, with all there is along the other
    dimensions (and, if ``parts`` > 1, the k-th block of each of as many stacked matrices):
    `GroupL1` has a table of what to write.

    Args:
        dim: The dimension that counts the units; negative counts from the last.
        block: Consecutive indices in a unit.
        parts: Matrices stacked along ``dim``, each of which holds one block of every unit.

    Raises:
        ValueError: ``dim`` is no whole number, ``block`` or ``parts`` are below 1; at a call,
            weights that this grouping does not fit: no such dimension, or a length that is no
            multiple of ``block·parts``.
    """

    dim: int = 0
    block: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not is_whole(self.dim, -LARGE) or self.dim > LARGE:
            raise ValueError(f"{name}(dim={self.dim!r}): must be a dimension, as 0 or -1.")
        for field in ("block", "parts"):
            if not is_whole(getattr(self, field), 1):
                raise ValueError(
                    f"{name}({field}={getattr(self, field)}): must be a whole number ≥ 1; "
                    "1 makes each index along dim a unit of its own."
                )
        self.single  # noqa: B018  # refuses what it cannot be made of

    @property
    @abstractmethod
    def single(self) -> Penalty:
        """The penalty of a unit of one weight: separable, symmetric and of slope 1 at zero."""

    def score(self, w: Tensor) -> Tensor:
        """Root mean square of a unit, at each of its indices along ``dim``.

        Returns:
            Shape of ``w``, but 1 in every dimension other than ``dim``.
        """
        rms = _sizes(self._units(w))
        shape = [1] * w.ndim
        shape[self.dim] = w.shape[self.dim]
        return rms.repeat_interleave(self.block).repeat(self.parts).reshape(shape)

    def value(self, w: Tensor) -> Tensor:
        """Σ_g m·p(ρ_g), 0-d."""
        units = self._units(w)
        return self.single.value(_sizes(units)) * math.prod(units.shape[1:])

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Shrink each unit towards zero in place; see `Penalty.prox_`.

        Exact for every ``t``: one formula where it is constant in a unit, else a search for one
        number a unit. A unit that holds a NaN or an infinity becomes NaN.
        """
        t = checked_step(t)
        units = self._units(w)
        if w.numel() == 0 or (isinstance(t, float) and t == 0):
            return w
        step = t.to(precise(w.dtype)) if isinstance(t, Tensor) else as_tensor(t, w)
        steps = self._units(step.expand_as(w))
        uneven = any(steps.size(i) > 1 and steps.stride(i) > 0 for i in range(1, steps.ndim))
        shrink_ = self._shrink_unevenly_ if uneven else self._shrink_evenly_
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

    def _shrink_evenly_(self, units: Tensor, steps: Tensor) -> None:
        """Give each unit the size that a weight of its size comes to, for steps constant in it."""
        first = (slice(None), *[slice(1)] * (units.ndim - 1))  # of a unit's equal steps
        sizes = _sizes(units)
        kept = share_kept(sizes, steps[first].reshape(-1), self.single)
        units.mul_(kept.view_as(steps[first])).add_(0.0)  # -0.0 + 0.0 = 0.0

    def _shrink_unevenly_(self, units: Tensor, steps: Tensor) -> None:
        """The same for steps that differ within a unit."""
        t = steps.flatten(1).clamp(max=torch.finfo(steps.dtype).max)
        exact = widest(units.device)  # minima are compared, whose costs differ by little
        x = nearest(units.flatten(1).to(exact), t.to(exact), Rows(), self.single)
        units.copy_(x.view_as(units))


@dataclass(frozen=True)
class GroupL1(GroupPenalty):
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

    @property
    def single(self) -> L1:
        """Of a unit of one weight."""
        return L1()

    def _shrink_unevenly_(self, units: Tensor, steps: Tensor) -> None:
        w = units.flatten(1).to(steps.dtype)
        s = _root(units) * steps.flatten(1)
        r = lasso_norms(w, s, Rows())
        units.copy_((w / (1 + s / r)).masked_fill(r == 0, 0).view_as(units))


def share_kept(sizes: Tensor, t: Tensor, single: Penalty) -> Tensor:
    """Which share of its size each unit keeps: prox(ρ, t)/ρ, in [0, 1].

    Args:
        sizes: ρ, the root mean square of each.
        t: the step, of each or of all.
        single: the penalty of a unit of one weight.

    >>> share_kept(torch.tensor([4.0, 1.0]), torch.tensor(2.0), L1())
    tensor([0.5000, 0.0000])
    """
    new = single.prox_(sizes.clone(), t)
    return torch.where(sizes == 0, 0.0, new / sizes)


def _root(units: Tensor) -> float:
    """√m."""
    return math.sqrt(math.prod(units.shape[1:]))


def _sizes(units: Tensor) -> Tensor:
    """The root mean square of each unit."""
    # Flat first: reducing along strides is 40 times slower than this copy, for columns.
    flat = units.flatten(1)
    norms: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=precise(units.dtype))
    return norms / max(_root(units), 1)


@makes_zeros.register
def _(penalty: GroupPenalty) -> bool:
    return makes_zeros(penalty.single)


@is_separable.register
def _(penalty: GroupPenalty) -> bool:
    return False
