"""Pruning under Accelerate: accumulated gradients, clipping, and a checkpoint that goes on.

python examples/accelerate_loop.py
python examples/accelerate_loop.py --precision bf16
accelerate launch examples/accelerate_loop.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune import Pruning, Sparsity, SparsityReport

ACCUMULATED = 2


def examples(count: int) -> TensorDataset:
    """Points with forty coordinates, of which five say on which side of a bent surface they lie."""
    x = torch.randn(count, 40, generator=torch.Generator().manual_seed(0))
    side = x[:, 0] * x[:, 1] + x[:, 2].sin() + x[:, 3] - x[:, 4].square() + 1
    return TensorDataset(x, (side > 0).long())


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune a small network under Accelerate.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--sparsity", type=float, default=0.95, help="share of zeros")
    parser.add_argument("--limit", type=int, default=4096, help="points to train on")
    parser.add_argument("--precision", default="no")
    parser.add_argument("--folder", type=Path, default=Path("runs/accelerate"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> tuple[SparsityReport, list[float]]:
    options = arguments(given)
    set_seed(0)
    accelerator = Accelerator(
        cpu=True, mixed_precision=options.precision, gradient_accumulation_steps=ACCUMULATED
    )
    plain = nn.Sequential(
        *(nn.Linear(40, 128), nn.ReLU()), *(nn.Linear(128, 128), nn.ReLU()), nn.Linear(128, 2)
    )
    loader = DataLoader(examples(options.limit), batch_size=64, shuffle=True)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=2e-3)
    network, optimizer, loader = accelerator.prepare(plain, optimizer, loader)

    pruning = Pruning(threshold=Sparsity(options.sparsity))
    per_pass = -(-len(loader) // ACCUMULATED)  # the last batch of an epoch steps in any case
    steps = options.epochs * per_pass
    # The network as it was before it was wrapped: its weights keep their names.
    with pruning.attached(plain, optimizer, steps, per_pass, clips=True) as run:
        accelerator.register_for_checkpointing(run)
        losses: list[float] = []
        for _ in range(options.epochs):
            for x, y in loader:
                with accelerator.accumulate(network):
                    loss = nn.functional.cross_entropy(network(x), y)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(network.parameters(), 1.0)
                    optimizer.step()
                    optimizer.zero_grad()
                    losses.append(loss.item())
        accelerator.save_state(str(options.folder))  # and load_state(folder) goes on

    accelerator.print(run.report)
    return run.report, losses


if __name__ == "__main__":
    main()
