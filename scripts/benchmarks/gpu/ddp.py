"""DDP on one card: whether processes that share it come to the same, exact zeros."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from l1prune import Pruning, Sparsity

STEPS = 120
SPARSITY = 0.9


def train(rank: int, processes: int, device: str, folder: str) -> None:
    """One of several processes, whose batches differ; the first leaves what they have come to."""
    # NCCL wants a card for each process; Gloo does not, and goes by way of the CPU.
    alone = device.startswith("cuda") and processes == 1
    store = Path(folder, "store").as_uri()
    dist.init_process_group("nccl" if alone else "gloo", store, rank=rank, world_size=processes)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    spread = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(spread.parameters(), lr=2e-3, fused=True)
    torch.manual_seed(1 + rank)
    pruning = Pruning(threshold=Sparsity(SPARSITY))
    with pruning.attached(model, optimizer, STEPS, steps_per_pass=STEPS // 4):
        for _ in range(STEPS):
            optimizer.zero_grad()
            x = torch.randn(32, 64, device=device)
            nn.functional.cross_entropy(spread(x), x[:, :10].argmax(1)).backward()
            optimizer.step()
    weights = torch.cat([w.detach().flatten() for w in model.parameters() if w.ndim > 1])
    weights = weights if alone else weights.cpu()
    all_ = [torch.empty_like(weights) for _ in range(processes)]
    dist.all_gather(all_, weights)
    if rank == 0:
        found = {
            "backend": dist.get_backend(),
            "processes": processes,
            "agreed": all(torch.equal(one, all_[0]) for one in all_),
            "zeros": int((weights == 0).sum()),
            "weights": weights.numel(),
        }
        Path(folder, "found.json").write_text(json.dumps(found), "utf-8")
    dist.destroy_process_group()


def together(device: str, processes: int) -> dict[str, Any]:
    """What so many processes have come to."""
    with tempfile.TemporaryDirectory() as folder:
        if processes == 1:
            train(0, processes, device, folder)
        else:
            mp.start_processes(
                train, (processes, device, folder), nprocs=processes, start_method="spawn"
            )
        found: dict[str, Any] = json.loads(Path(folder, "found.json").read_text("utf-8"))
    return found


def main() -> None:
    """Train on a device with so many processes; exit with what is wrong, if anything is."""
    torch.set_num_threads(1)
    found = together(sys.argv[1], int(sys.argv[2]))
    print(json.dumps(found))
    if not found["agreed"] or found["zeros"] != round(SPARSITY * found["weights"]):
        sys.exit("the processes differ, or hold another number of zeros than was asked for")


if __name__ == "__main__":
    main()
