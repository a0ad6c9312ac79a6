"""Launches: how often a step and a cut ask something of a GPU, and how often they wait for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import Row
from benchmarks.pressure.cuts import Cut, Layers
from benchmarks.pressure.tasks import RATE, STRENGTH
from benchmarks.scale import Scale
from l1prune import Pressure, find_targets

LAYERS = Layers(48, (64, 64))

ASKING = ("LaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync")
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def launches(scale: Scale) -> Iterator[Row]:
    """Of a step, and of a cut, of 48 layers."""
    goals = {
        f"launches of a step for pressure and masks, {LAYERS.count} layers": 4.0,
        f"waits of a step, {LAYERS.count} layers": 0.0,
        f"waits of a cut, {LAYERS.count} layers": 3.0,
    }
    if scale.device.type != "cuda":
        for work, goal in goals.items():
            yield Row(work, "", goal, None, note="there is no GPU to ask")
        return
    with torch.device(scale.device):
        network = LAYERS.make()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, fused=True)
    for weight in network.parameters():
        weight.grad = torch.randn_like(weight)
    bare = counted(optimizer.step)
    counts = (*_of_a_step(network, optimizer, bare), _of_a_cut(network, optimizer))
    for (work, goal), count in zip(goals.items(), counts, strict=True):
        yield Row(work, "", goal, float(count))


def _of_a_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, bare: Counter[str]
) -> tuple[int, int]:
    """Launches of pressure and masks, and waits, over what a step has without them."""
    masks = {name: torch.rand_like(w) > 0.5 for name, w in network.named_parameters()}
    pressure = Pressure(optimizer, find_targets(network), strength=STRENGTH, masks=masks)
    found = counted(optimizer.step)
    pressure.remove()
    return found["asked"] - bare["asked"], found["waited"] - bare["waited"]


def _of_a_cut(network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    cut = Cut(network, optimizer)
    for _ in range(2):  # the first one differs
        optimizer.step()
        cut()
    optimizer.step()
    return counted(cut, warm_up=False)["waited"]


def counted(work: Callable[[], object], warm_up: bool = True) -> Counter[str]:
    """How often a work asks something of the GPU, and waits for it."""
    for _ in range(2 if warm_up else 0):
        work()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.current_stream().synchronize()
    names = [event.name for event in profiler.events()]
    asked = sum(any(word in name for word in ASKING) for name in names)
    waited = sum(any(word in name for word in WAITING) for name in names)
    return Counter(asked=asked, waited=waited - 1)  # the last one is ours
