"""What deployment makes of pruned networks: how small, how fast, how exact, over what they were.

The rows are independent of each other: a function for each piece of work, in `PARTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.large import compaction, loading
from benchmarks.measure import AtLeast, Row, over, row_of, take_turns
from benchmarks.scale import Scale
from l1prune.deploy import SparseExecution, compact, sparse
from l1prune.deploy.sparse_layers import SemiStructuredLinear

NOT_SLOWER = 0.95  # the ratio of two timings of the same layer on a busy machine is off by that
WANTED = {(1024, 0.95, 1): 1.8, (1024, 0.95, 64): 6.0}  # by size, zeros and batch


@dataclass(frozen=True)
class RunScale(Scale):
    """How much to measure, and of which trained runs.

    Attributes:
        runs: the folder in which those of `benchmarks.deployed.RUNS` were trained, by their names.
    """

    runs: Path | None = None


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


def two_of_four(scale: Scale) -> Iterator[Row]:
    """A linear layer with two of four weights, in 16 bits, by units that GPUs have for it."""
    for size in (128,) if scale.quick else (1024, 4096):
        for batch in (64,) if scale.quick else (64, 1024):
            work = f"2:4 linear layer {size} × {size}, float16, batch {batch}: packed over dense"
            if scale.device.type != "cuda":
                yield AtLeast(work, "×", NOT_SLOWER, None, note="the units are those of GPUs")
                continue
            layer = thinned(nn.Linear(size, size), 0.0, scale)
            with torch.no_grad():
                pattern = torch.tensor([1.0, 0.0, 0.0, 1.0], device=scale.device)
                layer.weight.mul_(pattern.repeat(size // 4))
            x = torch.randn(batch, size, device=scale.device).half()
            packed = SemiStructuredLinear(layer.half().weight, layer.bias)
            figures = speeds({"dense": layer, "packed": packed}, x, scale)["packed"]
            yield row_of(work, "×", NOT_SLOWER, figures, AtLeast)


def compacted(scale: Scale) -> Iterator[Row]:
    """A network of which half the neurons are dead, without them."""
    size = 64 if scale.quick else 2048
    network = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
    with torch.no_grad():
        network[0].weight[::2] = 0
        network[0].bias[::2] = 0
    network = network.eval()
    small = compact(network, torch.randn(2, size)).model
    x = torch.randn(256, size, device=scale.device)
    models = {"dense": network.to(scale.device), "compact": small.to(scale.device)}
    work = f"two layers of {size}, half the neurons dead, batch 256: compact over dense"
    yield row_of(work, "×", 1.2, speeds(models, x, scale)["compact"], AtLeast)


def trained(scale: RunScale) -> Iterator[Row]:
    """Trained runs in all forms, on the CPU."""
    from benchmarks.deployed import trained_runs  # needs what the command line needs

    return trained_runs(scale.runs or Path("runs"))


def large(scale: Scale) -> Iterator[Row]:
    """Large networks made compact, and loaded, on the CPU."""
    yield from compaction(scale.quick)
    yield from loading(scale.quick, scale.rounds)


PARTS: Mapping[str, Callable[[RunScale], Iterator[Row]]] = {
    "large": large,
    "trained": trained,
    "linear": sparse_linear,
    "convolution": sparse_convolution,
    "two_of_four": two_of_four,
    "compacted": compacted,
}


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
