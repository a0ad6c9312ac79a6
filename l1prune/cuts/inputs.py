"""Inputs: what layers see in the forward passes of training, summed up for a criterion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from l1prune.weights.targets import Target

KEPT = 0.5
"""What inputs before a cut count after it, beside those since."""

Summary = Callable[[Tensor], tuple[Tensor, int]]
"""From a layer's input to a sum over its examples and places, and how many these are."""


class InputSums:
    """Sums over the inputs of layers, those before a cut counting half as much after it.

    Each process has its own: they are added up where a mean is asked for.

    Args:
        summary: how the inputs of a layer are summed up; None: they are not.

    >>> layer = nn.Linear(2, 1)
    >>> sums = InputSums(lambda module: lambda x: (x.sum(0), len(x)))
    >>> with sums.watch(layer, [Target("weight", layer.weight)]):
    ...     _ = layer(torch.tensor([[1.0, 3.0], [1.0, 5.0]]))
    >>> sums.mean("weight")
    tensor([1., 4.])
    """

    def __init__(self, summary: Callable[[nn.Module], Summary | None]) -> None:
        self._summary = summary
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, float] = {}

    @contextmanager
    def watch(self, model: nn.Module, targets: Sequence[Target]) -> Iterator[None]:
        """See the inputs of the layers of a model that have these weights, in training."""
        names = {id(target.parameter): target.name for target in targets}
        handles = [
            module.register_forward_pre_hook(partial(self._see, names[id(weight)], summary))
            for module in model.modules()
            if (weight := module._parameters.get("weight")) is not None
            and id(weight) in names
            and (summary := self._summary(module)) is not None
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _see(self, name: str, summary: Summary, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not (module.training and args):
            return
        total, count = summary(args[0].detach())
        if name in self._sums:
            total = self._sums[name].to(total).add_(total)
        self._sums[name], self._counts[name] = total, self._counts.get(name, 0.0) + count

    def mean(self, name: str) -> Tensor | None:
        """The mean over all that was seen; None: nothing was. Processes call it together."""
        if name not in self._sums:
            return None
        total, count = self._sums[name], self._counts[name]
        if dist.is_available() and dist.is_initialized():
            everywhere, counted = total.clone(), total.new_tensor(count)
            dist.all_reduce(everywhere)
            dist.all_reduce(counted)
            return everywhere / counted.clamp(min=1)
        return total / max(count, 1.0)

    def forget_half(self) -> None:
        """A cut was made: what was seen before counts half from now on."""
        for name, total in self._sums.items():
            total.mul_(KEPT)
            self._counts[name] *= KEPT

    def state_dict(self) -> dict[str, Any]:
        """What each process has seen, on the CPU. Processes call it together."""
        # A copy: what was saved must not go on with the run.
        sums = {name: total.to("cpu", copy=True) for name, total in self._sums.items()}
        own = {name: (total, self._counts[name]) for name, total in sums.items()}
        if not (dist.is_available() and dist.is_initialized()):
            return {"inputs": [own]}
        everywhere: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everywhere, own)
        return {"inputs": everywhere}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        inputs = state["inputs"]
        distributed = dist.is_available() and dist.is_initialized()
        rank, processes = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
        # On another number of processes the first takes what all had seen.
        others = inputs if rank == 0 else []
        mine = [inputs[rank]] if len(inputs) == processes else others
        self._sums, self._counts = {}, {}
        for one in mine:
            for name, (total, count) in one.items():
                known = self._sums.get(name)
                self._sums[name] = total.clone() if known is None else known + total
                self._counts[name] = self._counts.get(name, 0.0) + count
