"""Penalties of each kind, and weights to press, for the tests of them all."""

from __future__ import annotations

import pytest
import torch

from l1prune.penalties import (
    L1,
    L2,
    MCP,
    SCAD,
    ElasticNet,
    GroupL1,
    GroupLogSum,
    GroupMCP,
    GroupSCAD,
    LogSum,
    Penalty,
    TransformedL1,
)

SEPARABLE: list[Penalty] = [
    L1(),
    L2(),
    ElasticNet(0.3),
    LogSum(),
    TransformedL1(),
    MCP(),
    SCAD(),
]
GROUPED: list[Penalty] = [
    GroupL1(),
    GroupL1(dim=-1, block=2),
    GroupL1(dim=1, block=2, parts=2),
    GroupLogSum(dim=1, eps=10.0),
    GroupLogSum(eps=1.0),
    GroupMCP(dim=1, block=2, gamma=5.0),
    GroupSCAD(knee=0.5),
]
PENALTIES = SEPARABLE + GROUPED
STEPS = [1e-3, 0.1, 0.7, 30.0]  # below, around and beyond every penalty's own scale

every_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
every_separable = pytest.mark.parametrize("penalty", SEPARABLE, ids=repr)


def weights(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Weights of sizes from 1e-4 to 10, both signs."""
    generator = torch.Generator().manual_seed(seed)
    sizes = 10 ** torch.empty(shape, dtype=torch.float64).uniform_(-4, 1, generator=generator)
    signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
    return (sizes * signs).to(dtype)
