"""What deployment makes of pruned networks: how small, how fast, how exact, over what they were.

The rows are independent of each other: a function for each piece of work, in `WORKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.measure import AtLeast, Row, over, row_of, take_turns
from l1prune.deploy import SparseExecution, compact, sparse
from l1prune.zoo import lenet300

NOT_SLOWER = 0.95  # the ratio of two timings of the same layer on a busy machine is off by that
WANTED = {(1024, 0.95, 1): 1.8, (1024, 0.95, 64): 6.0}  # by size, zeros and batch
LENET = {1: 1.6, 64: 3.0}


@dataclass(frozen=True)
class Scale:
    """How much to measure, and of which trained runs.

    `runs` is the folder in which ``lenet66`` is a run's folder.
    """

    device: torch.device
    rounds: int = 21
    runs: Path | None = None
    quick: bool = False


def measure(scale: Scale) -> Iterator[Row]:
    """All rows, one by one."""
    for work in WORKS:
        yield from work(scale)


def sparse_linear(scale: Scale) -> Iterator[Row]:
    """A linear layer n × n run sparse, over dense."""
    sizes = (64,) if scale.quick else (64, 128, 256, 512, 1024, 2048, 4096)
    for size in sizes:
        for zeros in (0.8, 0.9, 0.95, 0.99):
            torch.manual_seed(0)
            layer = nn.Linear(size, size, device=scale.device).eval()
            nn.init.sparse_(layer.weight, zeros, std=0.1)
            execution = sparse(layer, torch.randn(1, size, device=scale.device), (1, 16, 64))
            for batch in (1, 16, 64):
                x = torch.randn(batch, size, device=scale.device)
                work = (
                    f"Linear {size} × {size}, {zeros:.0%} zeros, batch {batch}: sparse over dense"
                )
                goal = WANTED.get((size, zeros, batch), NOT_SLOWER)
                figures = speeds({"dense": layer, "sparse": execution.model}, x, scale)
                note = kernel(execution, batch)
                yield row_of(work.replace("%", " %"), "×", goal, figures["sparse"], AtLeast, note)


def trained_lenet(scale: Scale) -> Iterator[Row]:
    """LeNet-300-100 after `compact` and `sparse`, over the trained dense network, both in eager."""
    file = (scale.runs or Path("runs")) / "lenet66" / "model.safetensors"
    model = lenet300((1, 28, 28), 10).eval()
    torch.manual_seed(0)
    if file.exists():
        model.load_state_dict(load_file(file))
    model.to(scale.device)
    example = torch.rand(1, 1, 28, 28, device=scale.device)
    small = compact(model, example).model if file.exists() else model
    execution = sparse(small, example, tuple(LENET)) if file.exists() else None
    for batch, goal in LENET.items():
        work = f"LeNet-300-100 at 66 ×, batch {batch}: compact and sparse over dense"
        if execution is None:
            yield AtLeast(work, "×", goal, None, note=f"there is no {file}")
            continue
        x = torch.rand(batch, 1, 28, 28, device=scale.device)
        models = {"dense": model, "compact": small, "both": execution.model}
        figures = speeds(models, x, scale)
        alone = sorted(figures["compact"])[len(figures["compact"]) // 2]
        note = f"{kernel(execution, batch)}; compact alone {alone:.2f} ×"
        yield row_of(work, "×", goal, figures["both"], AtLeast, note)


WORKS: tuple[Callable[[Scale], Iterator[Row]], ...] = (sparse_linear, trained_lenet)


def speeds(
    models: Mapping[str, nn.Module], x: torch.Tensor, scale: Scale
) -> dict[str, list[float]]:
    """How many times faster each model is than the first, round by round."""
    contenders = {
        name: lambda model=model: nullcontext(lambda: model(x)) for name, model in models.items()
    }
    with torch.no_grad():
        seconds = take_turns(contenders, scale.device, scale.rounds)
    first, *others = models
    return {name: over(seconds, first, name) for name in others}


def kernel(execution: SparseExecution, batch: int) -> str:
    """Which kernels run at a batch size; a row for each sample."""
    layers = execution.report.layers
    return ", ".join(layer.kernels[batch] for layer in layers) or "all dense"
