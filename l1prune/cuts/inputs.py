"""Inputs: what layers see in the forward passes of training, summed up for a criterion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

from l1prune.weights.shards import of_each_process, place
from l1prune.weights.targets import Target

KEPT = 0.5
"""What inputs before a cut count after it, beside those since."""

Summary = Callable[[nn.Module, Tensor], tuple[Tensor, int] | None]
"""From a layer and its input to a sum over examples and places, and how many these are.

None: it is nothing to be summed up.
"""


class InputSums:
    """Sums over the inputs of layers, those before a cut counting half as much after it.

    Each process has its own: they are added up where a mean is asked for. A batch that is not
    finite is left out. A copy watches nothing.

    Args:
        summary: sums up the inputs of a layer.
        enough: for each entry of the last dimension of a sum, how many examples and places, those
            before a cut counting as they do, are looked at before the next cut; then no more.

    >>> layer = nn.Linear(2, 1)
    >>> sums = InputSums(lambda module, x: (x.sum(0), len(x)))
    >>> with sums.watch(layer, [Target("weight", layer.weight)]):
    ...     _ = layer(torch.tensor([[1.0, 3.0], [1.0, 5.0]]))
    >>> sums.mean("weight")
    tensor([1., 4.])
    """

    def __init__(self, summary: Summary, enough: float = math.inf) -> None:
        self._summary, self._enough = summary, enough
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        self._looked: dict[str, float] = {}  # the same, known without asking the device
        self._watches = False

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_watches": False}

    @contextmanager
    def watch(self, model: nn.Module, targets: Sequence[Target]) -> Iterator[None]:
        """See the inputs of the layers of a model that have these weights, in training."""
        names = {id(target.parameter): target.name for target in targets}
        handles = [
            module.register_forward_pre_hook(
                partial(self._see, names[id(weight)]), with_kwargs=True
            )
            for module in model.modules()
            if (weight := module._parameters.get("weight")) is not None and id(weight) in names
        ]
        self._watches = True
        try:
            yield
        finally:
            self._watches = False
            for handle in handles:
                handle.remove()

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _see(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        x = args[0] if args else kwargs.get("input")
        if not (self._watches and module.training and _is_plain(x)) or self._has_enough(name):
            return
        with torch.autocast(x.device.type, enabled=False):
            found = self._summary(module, x.detach())
        if found is None or not found[1]:
            return
        looked = float(found[1])
        total, count = found[0], found[0].new_tensor(looked)
        finite = total.isfinite().all()
        total, count = torch.where(finite, total, 0.0), torch.where(finite, count, 0.0)
        known = self._sums.get(name)
        if known is not None and known.shape == total.shape:
            total = known.to(total).add_(total)
            count = self._counts[name].to(count).add_(count)
            looked += self._looked[name]
        self._sums[name], self._counts[name], self._looked[name] = total, count, looked

    def _has_enough(self, name: str) -> bool:
        known = self._sums.get(name)
        return known is not None and self._looked[name] >= self._enough * known.shape[-1]

    def mean(self, name: str) -> Tensor | None:
        """The mean over all that was seen; None: nothing was. Processes call it together."""
        total, count = self._sums.get(name), self._counts.get(name)
        if dist.is_available() and dist.is_initialized():
            total, count = _everywhere(total, count)
        if total is None or count is None or not count:
            return None
        return total / count

    def forget_half(self) -> None:
        """A cut was made: what was seen before counts half from now on."""
        for name, total in self._sums.items():
            total.mul_(KEPT)
            self._counts[name].mul_(KEPT)
            self._looked[name] *= KEPT

    def state_dict(self) -> dict[str, Any]:
        """What each process has seen, on the CPU. Processes call it together."""
        # A copy: what was saved must not go on with the run.
        sums = {name: total.to("cpu", copy=True) for name, total in self._sums.items()}
        own = {
            name: (total, float(self._counts[name]), self._looked[name])
            for name, total in sums.items()
        }
        return {"inputs": of_each_process(own)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""
        inputs = state["inputs"]
        rank, processes = place()
        # On another number of processes the first takes what all had seen.
        others = inputs if rank == 0 else []
        mine = [inputs[rank]] if len(inputs) == processes else others
        self._sums, self._counts, self._looked = {}, {}, {}
        for one in mine:
            for name, (total, count, looked) in one.items():
                known, counted = self._sums.get(name), self._counts.get(name)
                self._sums[name] = total.clone() if known is None else known + total
                more = total.new_tensor(count)
                self._counts[name] = more if counted is None else counted + more
                self._looked[name] = self._looked.get(name, 0.0) + looked


def _is_plain(x: Any) -> TypeGuard[Tensor]:
    """Whether it is a tensor of numbers that can be looked at here and now."""
    return (
        isinstance(x, Tensor)
        and x.is_floating_point()
        and x.layout == torch.strided
        and not x.is_inference()
        and not torch._C._are_functorch_transforms_active()
    )


def _everywhere(total: Tensor | None, count: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Sum and count over all processes, some of which may have seen nothing."""
    shapes = of_each_process(None if total is None else (tuple(total.shape), total.dtype))
    seen = [shape for shape in shapes if shape is not None]
    if not seen:
        return None, None
    if total is None or count is None:
        device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
        total = torch.zeros(seen[0][0], dtype=seen[0][1], device=device)
        count = total.new_zeros(())
    total, count = total.clone(), count.clone()
    dist.all_reduce(total)
    dist.all_reduce(count)
    return total, count
