"""Passes: what is done to one weight after a step, as all kernels take it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from l1prune.weights.pieces import widest


class Correction(NamedTuple):
    """Of a root of squares that forget, √(1 − βⁿ), where an accelerator alone knows n.

    Args:
        memory: β.
        steps: n, 0-d.
    """

    memory: float
    steps: Tensor

    def value(self) -> Tensor:
        """It, computed where n is.

        >>> import torch
        >>> Correction(0.75, torch.tensor(1.0)).value()
        tensor(0.5000, dtype=torch.float64)
        """
        wide = self.steps.to(widest(self.steps.device))
        return (1 - self.memory**wide) ** 0.5


class Threshold(NamedTuple):
    """By how much a weight is soft-thresholded: t, or tᵢ = min(t/(√vᵢ/correction + ε), most).

    Args:
        amount: t, ≥ 0; a 0-d tensor where it is known to an accelerator alone. 0: by nothing.
        second: v, of the shape of the weight; None: t for all.
        correction: of √v.
        eps: ε.
        most: of any tᵢ; a 0-d tensor where `amount` is one.
    """

    amount: float | Tensor
    second: Tensor | None = None
    correction: float | Correction = 1.0
    eps: float = 0.0
    most: float | Tensor = math.inf


NOTHING = Threshold(0.0)


class Pass(NamedTuple):
    """One weight: soft-thresholded first, then zero where it was removed.

    Args:
        w: the weight; of a sharded one, the local part.
        threshold: by how much.
        mask: booleans of its shape, False where +0.0 is written, whatever stands there; None: all
            stays.
        seed: of the chance by which 16-bit weights are rounded.
    """

    w: Tensor
    threshold: Threshold = NOTHING
    mask: Tensor | None = None
    seed: int = 0


class Kernel(Protocol):
    """Does passes, as eager torch does them, on tensors of its kind."""

    name: str
    """What a report and a checkpoint call it."""

    def run(self, passes: Sequence[Pass]) -> Sequence[Pass]:
        """Do those that it can, in place, without waiting for a device; the others are returned."""
        ...
