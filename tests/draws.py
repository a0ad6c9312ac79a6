"""Numbers drawn from every generator there is."""

from __future__ import annotations

import random

import numpy as np
import torch


def drawn() -> tuple[float, ...]:
    """One number from each generator."""
    return (torch.rand(1).item(), random.random(), float(np.random.rand()), random.gauss(0, 1))
