"""What every penalty offers, and the one question asked of all of them."""

from __future__ import annotations

from functools import singledispatch
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Penalty(Protocol):
    """The size of weights, their cost at unit strength, and the proximal map of that cost.

    Any object with these three methods is a penalty. Make it a frozen dataclass, so that it can
    be compared, hashed and pickled; strength belongs to the caller, never to the penalty.
    """

    def score(self, w: Tensor) -> Tensor:
        """Sizes that a threshold compares, ≥ 0: |w|, or a unit's size, broadcastable to ``w``."""
        ...

    def value(self, w: Tensor) -> Tensor:
        """Cost of ``w`` at unit strength, a 0-d tensor (float32 for half-precision weights)."""
        ...

    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Replace ``w`` by argmin_x value(x) + ‖x − w‖²/2t, in place, and return it.

        Args:
            w: Weights of any floating dtype; a leaf that requires grad is welcome.
            t: Learning rate × strength, ≥ 0: one number, or one per weight (a tensor that
                broadcasts to ``w``), when the metric is the optimizer's own. 0 changes no bit.

        Raises:
            ValueError: ``t`` is a number and is negative or NaN.
        """
        ...


@singledispatch
def makes_zeros(penalty: Penalty) -> bool:
    """Whether a step of this penalty can bring a weight to exactly zero.

    Found by trying: a tiny weight under enormous pressure. A penalty whose ``prox_`` needs weights
    of a particular shape registers its answer instead, with ``makes_zeros.register``.

    >>> from l1prune.penalties import (L1, L2)
    >>> makes_zeros(L1()), makes_zeros(L2())
    (True, False)
    """
    weight = torch.full((1,), 1e-6, dtype=torch.float64)
    return bool(penalty.prox_(weight, 1e6) == 0)


@singledispatch
def is_separable(penalty: Penalty) -> bool:
    """Whether a step treats each weight by itself, so that it may be taken in pieces.

    Found by trying: a penalty of single weights gives a score to each. One whose ``score`` needs
    weights of a particular shape registers its answer instead, with ``is_separable.register``.

    >>> from l1prune.penalties import (L1, GroupL1)
    >>> is_separable(L1()), is_separable(GroupL1())
    (True, False)
    """
    return penalty.score(torch.zeros(2, 2)).shape == (2, 2)
