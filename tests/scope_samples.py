"""Scopes of every kind, and layers that differ in size and scale."""

from __future__ import annotations

import torch
from torch import Tensor

from l1prune.cuts.scopes import LAMP, Global, PerLayer, PerOutput, Relative, Scope

SCOPES: list[Scope] = [Global(), Global(0.1), PerLayer(), PerOutput(), Relative(), LAMP()]


def layers(seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(40, 30).abs(), 0.01 * torch.randn(700).abs(), 5 * torch.randn(10, 10).abs()]
