"""Scale: how much of a benchmark to do, and where."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Scale:
    """How much to measure, and where.

    Attributes:
        device: that works.
        rounds: how often all take their turn.
        quick: only to see that it runs, on small sizes; figures are noise.
    """

    device: torch.device
    rounds: int = 21
    quick: bool = False
