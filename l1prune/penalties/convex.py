"""Convex penalties that treat each weight by itself: `L1`, `L2` and their mixture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.checks import is_number
from l1prune.penalties.steps import checked_step
from l1prune.weights.pieces import pieces, precise


@dataclass(frozen=True)
class L1:
    """The lasso: Σ|w|. Its step subtracts ``t`` from every size and stops at exact zero.

    value(w) = Σ|w|;  prox(w, t) = sign(w) · max(|w| − t, 0), *soft thresholding*.

    With one ``t`` the step is a single pass over memory, without temporaries: as fast as
    ``w.mul_(1.0)``. The zeros it makes of negative weights then carry a sign (``-0.0 == 0``).

    Source: Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 58, 1996;
    Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009.

    >>> w = torch.tensor([-3.0, -0.5, 0.0, 2.0])
    >>> L1().value(w)
    tensor(5.5000)
    >>> L1().prox_(w, 1.0)
    tensor([-2., -0.,  0.,  1.])
    """

    def score(self, w: Tensor) -> Tensor:
        """|w|, of the shape of ``w``."""
        return w.abs()

    def value(self, w: Tensor) -> Tensor:
        """Σ|w|, 0-d."""
        total: Tensor = torch.linalg.vector_norm(w, ord=1, dtype=precise(w.dtype))
        return total

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Soft-threshold ``w`` by ``t`` in place; see `Penalty.prox_`.

        t = inf sends every finite weight to zero; NaN stays NaN.
        """
        t = checked_step(t)
        if isinstance(t, float):
            if t == 0:
                return w
            # Larger numbers overflow the dtype, and this one already exceeds every finite weight.
            t = min(t, torch.finfo(w.dtype).max)
            if not torch.compiler.is_compiling():
                # In place, one pass, no temporary, which F.softshrink, without `out=`, is not.
                torch._C._nn.softshrink(w, t, out=w)  # type: ignore[call-arg]
                return w
            return w.sub_(w.clamp(-t, t))
        for piece, step in pieces(w, t):
            piece.sub_(torch.clamp(piece, -step, step))
        return w


def soft_thresholds(penalty: object) -> bool:
    """Whether a penalty's proximal map is soft thresholding by t, as one pass can do it.

    >>> soft_thresholds(L1()), soft_thresholds(L2())
    (True, False)
    """
    return getattr(type(penalty), "prox_", None) is L1.prox_  # also of one that inherits it


@dataclass(frozen=True)
class L2:
    """Weight decay: ½‖w‖². Its step divides by 1 + t: weights shrink and never reach zero.

    value(w) = ½ Σ w²;  prox(w, t) = w / (1 + t).

    Source: Hoerl and Kennard, "Ridge regression", Technometrics 12, 1970.

    >>> L2().prox_(torch.tensor([-3.0, 1.0]), 1.0)
    tensor([-1.5000,  0.5000])
    """

    def score(self, w: Tensor) -> Tensor:
        """|w|, of the shape of ``w``."""
        return w.abs()

    def value(self, w: Tensor) -> Tensor:
        """½ Σ w², 0-d."""
        norm: Tensor = torch.linalg.vector_norm(w, dtype=precise(w.dtype))
        return norm.square() / 2

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Divide ``w`` by 1 + t in place; see `Penalty.prox_`."""
        return w.div_(1 + checked_step(t))


@dataclass(frozen=True)
class ElasticNet:
    """A mixture of `L1` and `L2`, which lets correlated weights stay together.

    value(w) = r · Σ|w| + (1 − r) · ½ Σ w²;
    prox(w, t) = sign(w) · max(|w| − r·t, 0) / (1 + (1 − r)·t): `L1`'s step, then `L2`'s.

    Args:
        l1_ratio: The share r of `L1`, in [0, 1].

    Raises:
        ValueError: ``l1_ratio`` lies outside [0, 1].

    Source: Zou and Hastie, "Regularization and variable selection via the elastic net",
    JRSS B 67, 2005; the parameter is scikit-learn's.

    >>> ElasticNet(l1_ratio=0.5).prox_(torch.tensor([3.0, 1.0]), 2.0)
    tensor([1., 0.])
    """

    l1_ratio: float = 0.5

    def __post_init__(self) -> None:
        if not is_number(self.l1_ratio, 0, 1):
            raise ValueError(
                f"ElasticNet(l1_ratio={self.l1_ratio}): the share of L1 must lie in [0, 1], "
                "from 0 (only L2) to 1 (only L1)."
            )

    def score(self, w: Tensor) -> Tensor:
        """|w|, of the shape of ``w``."""
        return w.abs()

    def value(self, w: Tensor) -> Tensor:
        """The mixture r · Σ|w| + (1 − r) · ½ Σ w², 0-d."""
        return self.l1_ratio * L1().value(w) + (1 - self.l1_ratio) * L2().value(w)

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """`L1`'s step by r·t, then `L2`'s by (1 − r)·t, in place; see `Penalty.prox_`."""
        t = checked_step(t)
        if self.l1_ratio > 0:  # an absent part must not see t = inf: 0·inf is NaN
            L1().prox_(w, self.l1_ratio * t)
        if self.l1_ratio < 1:
            L2().prox_(w, (1 - self.l1_ratio) * t)
        return w
