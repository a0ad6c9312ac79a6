"""A small network and the steps of an optimizer on it, without a Trainer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


def loss(net: nn.Module, seed: int) -> Tensor:
    data = torch.randn(8, 12, generator=torch.Generator().manual_seed(seed))
    return (net(data) - 1).square().mean()


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for seed in range(steps):
        optimizer.zero_grad()
        loss(net, seed).backward()
        optimizer.step()


def zeros(net: nn.Module) -> int:
    return sum(int((p == 0).sum()) for p in net.parameters())


def largest_move(before: nn.Module, after: nn.Module) -> float:
    return (before.weight - after.weight).abs().max().item()
