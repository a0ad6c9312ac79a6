"""Penalties that press on small weights and leave the large ones alone.

`L1` takes as much from a weight that matters as from one that does not; these take less, the larger
the weight. The price is convexity: a step t beyond a penalty's own scale has two local minima, zero
and one near w, and ``prox_`` returns the lower. All have slope 1 at zero. With the defaults the
pressure on a weight has fallen to about a half at |w| = 0.1.

Each formula gives the *decrease* of a size, |w| − |prox(w)|, since for the tiny steps of a training
run the new size, computed by itself, would drown in rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.checks import is_number
from l1prune.penalties.steps import shrink_
from l1prune.weights.pieces import precise


def _check_scale(owner: object, name: str, value: float) -> None:
    if not is_number(value, 0) or value == 0:
        raise ValueError(
            f"{type(owner).__name__}({name}={value}): must be positive and finite, "
            "of the size of a weight worth keeping, such as 0.1."
        )


def _sizes(w: Tensor) -> Tensor:
    return w.abs().to(precise(w.dtype))


@dataclass(frozen=True)
class LogSum:
    """Reweighted L1: Σ ε·log(1 + |w|/ε), whose pressure on a weight is ε / (ε + |w|).

    prox(w, t) = sign(w)·(|w| − δ), with δ = 2q / (1 + √(1 − 4q/s)), s = |w| + ε, q = t·ε/s, where
    this stationary point exists and costs less than zero does; 0 elsewhere.

    Args:
        eps: The size ε at which the pressure has halved.

    Raises:
        ValueError: ``eps`` is not positive and finite.

    Source: Candès, Wakin and Boyd, "Enhancing sparsity by reweighted ℓ1 minimization", J. Fourier
    Anal. Appl. 14, 2008, there without the factor ε, which makes the slope at zero 1.

    >>> LogSum(eps=0.1).prox_(torch.tensor([-1.0, 0.1, 0.01]), 0.02)
    tensor([-0.9982,  0.0894,  0.0000])
    """

    eps: float = 0.1

    def __post_init__(self) -> None:
        _check_scale(self, "eps", self.eps)

    def score(self, w: Tensor) -> Tensor:
        """|w|, of the shape of ``w``."""
        return w.abs()

    def value(self, w: Tensor) -> Tensor:
        """Σ ε·log(1 + |w|/ε), 0-d."""
        return self.eps * torch.log1p(_sizes(w) / self.eps).sum()

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """The global minimiser, in place; see `Penalty.prox_`."""
        return shrink_(w, t, self._shrunk)

    def _shrunk(self, size: Tensor, t: Tensor) -> Tensor:
        s = size + self.eps
        q = t * self.eps / s
        delta = 2 * q / (1 + (1 - 4 * q / s).clamp_(min=0).sqrt_())
        new = (size - delta).clamp_(min=0)
        cost = t * self.eps * (new / self.eps).log1p_()
        gain = delta.add_(new / 2).mul_(new)  # (|w|² − δ²)/2: what coming closer to w saves, × t
        return new.mul_(gain.ge_(cost))  # of an infinite weight both are, and it stays


@dataclass(frozen=True)
class TransformedL1:
    """Transformed L1: Σ a·|w| / (a + |w|), whose pressure on a weight is (a / (a + |w|))².

    prox(w, t) = sign(w)·(|w| − δ), with δ = (4s/3)·sin²(⅓ asin √k), s = |w| + a,
    k = 27·t·a²/4s³, where |w| exceeds the threshold t (for t ≤ a/2) or √(2at) − a/2 (for larger t);
    0 elsewhere. δ is the paper's (2s/3)·(1 − cos(φ/3)), free of cancellation for small t.

    Args:
        a: The size at which a weight costs half of what the largest costs. As a → ∞ the penalty
            becomes L1; as a → 0, a times a count of the weights.

    Raises:
        ValueError: ``a`` is not positive and finite.

    Source: Zhang and Xin, "Minimization of transformed L1 penalty: theory, difference of convex
    function algorithm, and robust application in compressed sensing", Math. Program. 169, 2018, and
    its thresholding formula in Zhang, Yin and Xin, "Transformed Schatten-1 iterative thresholding
    algorithms", 2017; scaled by a/(a + 1) for slope 1 at zero.

    >>> TransformedL1(a=0.25).prox_(torch.tensor([-1.0, 0.1, 0.01]), 0.02)
    tensor([-0.9992,  0.0891,  0.0000])
    """

    a: float = 0.25

    def __post_init__(self) -> None:
        _check_scale(self, "a", self.a)

    def score(self, w: Tensor) -> Tensor:
        """|w|, of the shape of ``w``."""
        return w.abs()

    def value(self, w: Tensor) -> Tensor:
        """Σ a·|w| / (a + |w|), 0-d."""
        size = _sizes(w)
        return (self.a * size / (self.a + size)).sum()

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """The global minimiser, in place; see `Penalty.prox_`."""
        return shrink_(w, t, self._shrunk)

    def _shrunk(self, size: Tensor, t: Tensor) -> Tensor:
        s = (size + self.a).clamp(max=torch.finfo(size.dtype).max)  # ∞·0 below would be NaN
        k = (6.75 * t / s * (self.a / s).square()).clamp_(max=1)
        delta = (k.sqrt_().asin_() / 3).sin_().square_() * (4 / 3) * s
        knee = self.a / 2
        beyond = (2 * self.a * t.clamp(min=knee)).sqrt() - self.a  # exactly 0 up to the knee
        threshold = t.clamp(max=knee) + beyond
        return (size - delta).clamp_(min=0).mul_(size.gt_(threshold))


@dataclass(frozen=True)
class MCP:
    """The minimax concave penalty: Σ |w| − w²/2γ up to |w| = γ, and γ/2, constant, beyond.

    The pressure 1 − |w|/γ falls in a straight line and is gone at γ.
    prox(w, t) = sign(w)·(|w| − δ), with δ = t·(γ − |w|)₊/(γ − t), where |w| > t, for t < γ: *firm
    thresholding*; w where |w| > √(γt), for t ≥ γ: *hard thresholding*; 0 elsewhere.

    Args:
        gamma: The size γ from which a weight is left alone. In units of a weight, whatever the
            strength λ: the paper's γ is this one over λ.

    Raises:
        ValueError: ``gamma`` is not positive and finite.

    Source: Zhang, "Nearly unbiased variable selection under minimax concave penalty",
    Ann. Statist. 38, 2010.

    >>> MCP(gamma=0.2).prox_(torch.tensor([-1.0, 0.1, 0.01]), 0.02)
    tensor([-1.0000,  0.0889,  0.0000])
    """

    gamma: float = 0.2

    def __post_init__(self) -> None:
        _check_scale(self, "gamma", self.gamma)

    def score(self, w: Tensor) -> Tensor:
        """|w|, of the shape of ``w``."""
        return w.abs()

    def value(self, w: Tensor) -> Tensor:
        """Σ |w| − w²/2γ, each weight counted as at most γ in size; 0-d."""
        size = _sizes(w).clamp(max=self.gamma)
        return (size - size.square() / (2 * self.gamma)).sum()

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """The global minimiser, in place; see `Penalty.prox_`."""
        return shrink_(w, t, self._shrunk)

    def _shrunk(self, size: Tensor, t: Tensor) -> Tensor:
        threshold = (t * t.clamp(max=self.gamma)).sqrt()
        room = (self.gamma - t).clamp(min=torch.finfo(size.dtype).tiny)
        delta = (self.gamma - size).clamp(min=0) / room * t
        return (size - delta).clamp_(min=0).mul_(size.gt_(threshold))


@dataclass(frozen=True)
class SCAD:
    """Smoothly clipped absolute deviation: the pressure is whole up to κ, gone from a·κ on.

    The cost is |w| up to the knee κ; from there its slope falls in a straight line,
    (aκ − |w|)/(aκ − κ), to zero at aκ, beyond which the cost is κ(a + 1)/2 for all.
    prox(w, t) = sign(w)·(|w| − δ), for t < (a − 1)κ with δ = t up to |w| = κ + t, and
    δ = t·(aκ − |w|)₊/((a − 1)κ − t) beyond; for larger t, *soft* thresholding or none, whichever
    costs less.

    Args:
        knee: The size κ up to which a weight is pressed as by `L1`. In units of a weight, whatever
            the strength: in the paper it is the strength itself.
        a: How many times the knee a weight has to be to be left alone, above 1; the paper's 3.7.

    Raises:
        ValueError: ``knee`` is not positive and finite, or ``a`` not a finite number above 1.

    Source: Fan and Li, "Variable selection via nonconcave penalized likelihood and its oracle
    properties", J. Am. Stat. Assoc. 96, 2001.

    >>> SCAD(knee=0.1, a=3.0).prox_(torch.tensor([-1.0, 0.2, 0.1, 0.01]), 0.02)
    tensor([-1.0000,  0.1889,  0.0800,  0.0000])
    """

    knee: float = 0.1
    a: float = 3.7

    def __post_init__(self) -> None:
        _check_scale(self, "knee", self.knee)
        if not is_number(self.a, 1) or self.a == 1:
            raise ValueError(
                f"SCAD(a={self.a}): must be a finite number above 1, such as 3.7: how many times "
                "the knee a weight has to be to be left alone."
            )

    def score(self, w: Tensor) -> Tensor:
        """|w|, of the shape of ``w``."""
        return w.abs()

    def value(self, w: Tensor) -> Tensor:
        """Σ of |w| to the knee, and of a parabola from there to its top; 0-d."""
        return self._cost(_sizes(w)).sum()

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """The global minimiser, in place; see `Penalty.prox_`."""
        return shrink_(w, t, self._shrunk)

    def _cost(self, size: Tensor) -> Tensor:
        over = (size.clamp(max=self.a * self.knee) - self.knee).clamp(min=0)
        return size.clamp(max=self.knee) + over - over.square() / (2 * (self.a - 1) * self.knee)

    def _shrunk(self, size: Tensor, t: Tensor) -> Tensor:
        knee, gone = self.knee, self.a * self.knee
        room = gone - knee - t
        bent = (gone - size).clamp(min=0) / room.clamp(min=torch.finfo(size.dtype).tiny) * t
        convex = (size - torch.where(size <= knee + t, t, bent)).clamp_(min=0)
        soft = (size - t).clamp(0, knee)
        cheaper = t * self._cost(soft) + (size - soft).square() / 2 < t * self._cost(size)
        return torch.where(room > 0, convex, torch.where(cheaper, soft, size))
