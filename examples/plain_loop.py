"""Pruning in a loop of one's own: no Trainer, no callback, four more lines.

python examples/plain_loop.py
python examples/plain_loop.py --steps 600 --sparsity 0.98
python examples/plain_loop.py --resume
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from l1prune import Pruning, Sparsity, SparsityReport


def examples(count: int, seed: int = 0) -> TensorDataset:
    """Points with forty coordinates, of which five say on which side of a bent surface they lie."""
    x = torch.randn(count, 40, generator=torch.Generator().manual_seed(seed))
    side = x[:, 0] * x[:, 1] + x[:, 2].sin() + x[:, 3] - x[:, 4].square() + 1
    return TensorDataset(x, (side > 0).long())


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        found = (network(x).argmax(1) == y).float().mean().item()
    network.train()
    return found


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune a small network in a plain loop.")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--sparsity", type=float, default=0.95, help="share of zeros")
    parser.add_argument("--limit", type=int, default=4096, help="points to train on")
    parser.add_argument("--folder", type=Path, default=Path("runs/plain"))
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> tuple[SparsityReport, list[float]]:
    options = arguments(given)
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Linear(40, 128), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(128, 128), nn.ReLU()),
        nn.Linear(128, 2),
    )
    loader = DataLoader(examples(options.limit), batch_size=64, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters())
    scheduler = OneCycleLR(optimizer, max_lr=5e-3, total_steps=options.steps)

    pruning = Pruning(threshold=Sparsity(options.sparsity))
    with pruning.attached(network, optimizer, options.steps, steps_per_pass=len(loader)) as run:
        checkpoint = options.folder / "last.pt"
        kept = {"network": network, "optimizer": optimizer, "scheduler": scheduler, "run": run}
        if options.resume:
            for name, state in torch.load(checkpoint, weights_only=True).items():
                kept[name].load_state_dict(state)
        losses: list[float] = []
        while run.steps < options.steps:
            for x, y in loader:
                loss = nn.functional.cross_entropy(network(x), y)
                loss.backward()
                optimizer.step()  # pressed, and followed by the zeros and by what is due to be cut
                optimizer.zero_grad()
                scheduler.step()
                losses.append(loss.item())
                if run.steps == options.steps:
                    break
            options.folder.mkdir(parents=True, exist_ok=True)
            torch.save({name: one.state_dict() for name, one in kept.items()}, checkpoint)

    torch.save(network.state_dict(), options.folder / "pruned.pt")
    print(run.report)
    print(f"accuracy on other points: {accuracy(network, *examples(4096, seed=1).tensors):.3f}")
    return run.report, losses


if __name__ == "__main__":
    main()
