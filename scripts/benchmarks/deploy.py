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
    batches = (1, 16, 64)
    for size in (64,) if scale.quick else (64, 128, 256, 512, 1024, 2048, 4096):
        for zeros in (0.95,) if scale.quick else (0.8, 0.9, 0.95, 0.99):
            layer = thinned(nn.Linear(size, size), zeros, scale)
            execution = sparse(layer, torch.randn(1, size, device=scale.device), batches)
            for batch in batches:
                x = torch.randn(batch, size, device=scale.device)
                work = f"Linear {size} × {size}, {100 * zeros:g} % zeros, batch {batch}: sparse"
                goal = WANTED.get((size, zeros, batch), NOT_SLOWER)
                yield over_dense(work, goal, layer, execution, x, scale)


def sparse_convolution(scale: Scale) -> Iterator[Row]:
    """A convolution of 3 × 3 run sparse, over dense."""
    shapes = ((4, 6, (1,)),) if scale.quick else ((64, 32, (1, 16)), (256, 14, (1, 16)))
    for channels, size, batches in shapes:
        for zeros in (0.98,) if scale.quick else (0.9, 0.98, 0.995):
            layer = thinned(nn.Conv2d(channels, channels, 3, padding=1), zeros, scale)
            images = torch.randn(1, channels, size, size, device=scale.device)
            execution = sparse(layer, images, batches)
            for batch in batches:
                x = torch.randn(batch, channels, size, size, device=scale.device)
                work = (
                    f"Conv2d of {channels} channels, {size} × {size}, {100 * zeros:g} % zeros, "
                    f"batch {batch}: sparse"
                )
                yield over_dense(work, NOT_SLOWER, layer, execution, x, scale)


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


WORKS: tuple[Callable[[Scale], Iterator[Row]], ...] = (
    sparse_linear,
    sparse_convolution,
    trained_lenet,
)


def thinned(layer: nn.Module, zeros: float, scale: Scale) -> nn.Module:
    """A layer of random weights, without a share of them."""
    torch.manual_seed(0)
    with torch.no_grad():
        weight = torch.randn_like(layer.weight)
        layer.weight.copy_(weight * (torch.rand_like(weight) >= zeros))
    return layer.to(scale.device).eval()


def over_dense(
    work: str,
    goal: float,
    layer: nn.Module,
    execution: SparseExecution,
    x: torch.Tensor,
    scale: Scale,
) -> Row:
    figures = speeds({"dense": layer, "sparse": execution.model}, x, scale)["sparse"]
    rows = x.numel() // (x.shape[1] if x.ndim > 2 else x.shape[-1])
    return row_of(f"{work} over dense", "×", goal, figures, AtLeast, kernel(execution, rows))


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


def kernel(execution: SparseExecution, rows: int) -> str:
    """Which kernels run at a number of rows."""
    layers = execution.report.layers
    return ", ".join(layer.kernels[rows] for layer in layers) or "all dense"
