"""Pruning under Lightning Fabric: the optimizer as it wraps it, the checkpoint as it saves it.

python examples/fabric.py
python examples/fabric.py --precision bf16-mixed
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune import Pruning, Sparsity, SparsityReport


def examples(count: int) -> TensorDataset:
    """Points with forty coordinates, of which five say on which side of a bent surface they lie."""
    x = torch.randn(count, 40, generator=torch.Generator().manual_seed(0))
    side = x[:, 0] * x[:, 1] + x[:, 2].sin() + x[:, 3] - x[:, 4].square() + 1
    return TensorDataset(x, (side > 0).long())


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune a small network under Fabric.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--sparsity", type=float, default=0.95, help="share of zeros")
    parser.add_argument("--limit", type=int, default=4096, help="points to train on")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--folder", type=Path, default=Path("runs/fabric"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> tuple[SparsityReport, list[float]]:
    options = arguments(given)
    fabric = Fabric(accelerator="cpu", devices=1, precision=options.precision)
    fabric.seed_everything(0, verbose=False)
    plain = nn.Sequential(
        *(nn.Linear(40, 128), nn.ReLU()), *(nn.Linear(128, 128), nn.ReLU()), nn.Linear(128, 2)
    )
    loader: Any = DataLoader(examples(options.limit), batch_size=64, shuffle=True)
    network, optimizer = fabric.setup(plain, torch.optim.AdamW(plain.parameters(), lr=2e-3))
    loader = fabric.setup_dataloaders(loader)

    pruning = Pruning(threshold=Sparsity(options.sparsity))
    steps = options.epochs * len(loader)
    # The network as it was before it was wrapped: its weights keep their names.
    with pruning.attached(plain, optimizer, steps, len(loader), clips=True) as run:
        losses: list[float] = []
        for _ in range(options.epochs):
            for x, y in loader:
                loss = nn.functional.cross_entropy(network(x), y)
                fabric.backward(loss)
                fabric.clip_gradients(network, optimizer, max_norm=1.0)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
        state = {"network": network, "optimizer": optimizer, "run": run}
        fabric.save(options.folder / "last.ckpt", state)  # and fabric.load(path, state) goes on

    fabric.print(run.report)
    return run.report, losses


if __name__ == "__main__":
    main()
