"""Wanda: a weight is worth its size, times the size of what comes in through it.

Source: Sun, Liu, Bair & Kolter, "A simple and effective pruning approach for large language
models", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from l1prune.cuts.criteria import Criterion
from l1prune.cuts.scopes import PerOutput, Scope
from l1prune.weights.pieces import widest
from l1prune.weights.shards import local, spread
from l1prune.weights.targets import Target

KEPT = 0.5
"""What inputs before a cut count after it, beside those since."""


class Wanda(Criterion):
    """A weight is worth |w|·‖x‖, with ‖x‖ the root mean square of the input that it multiplies.

    Inputs are seen in the forward passes of training, those before a cut counting half as much
    after it. Layers do not compare: each output loses the same share of its weights. Linear layers
    and convolutions are known; in other layers, as in an LSTM, a weight is worth its size.

    >>> layer = nn.Linear(2, 1, bias=False); _ = nn.init.ones_(layer.weight)
    >>> targets = [Target("weight", layer.weight)]
    >>> wanda = Wanda()
    >>> with wanda.watch(layer, targets):
    ...     _ = layer(torch.tensor([[1.0, 3.0], [1.0, -3.0]]))
    >>> wanda.weigh(targets, [])[0]
    tensor([[1., 3.]])
    """

    def __init__(self) -> None:
        self._inputs: dict[str, Tensor] = {}  # of each feature Σx², and behind them how many x

    def __repr__(self) -> str:
        return "Wanda()"

    @property
    def scope(self) -> Scope:
        return PerOutput()

    def watch(self, model: nn.Module, targets: Sequence[Target]) -> AbstractContextManager[Any]:
        return self._hooks(model, targets)

    @contextmanager
    def _hooks(self, model: nn.Module, targets: Sequence[Target]) -> Iterator[None]:
        names = {id(target.parameter): target.name for target in targets}
        handles = [
            module.register_forward_pre_hook(partial(self._see, names[id(weight)], features))
            for module in model.modules()
            if (features := features_of(module)) is not None
            and (weight := module._parameters.get("weight")) is not None
            and id(weight) in names
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _see(self, name: str, features: Features, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not (module.training and args):
            return
        inputs = features(args[0].detach())
        squares = inputs.to(widest(inputs.device)).square()
        seen = torch.cat([squares.sum(0), squares.new_tensor([len(squares)])])
        self._inputs[name] = self._inputs[name].to(seen) + seen if name in self._inputs else seen

    @torch.no_grad()
    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        worth = []
        for target in targets:
            w, seen = local(target.parameter), self._inputs.get(target.name)
            if seen is None:
                worth.append(w)
                continue
            everywhere = seen.clone()
            if dist.is_available() and dist.is_initialized():
                dist.all_reduce(everywhere)
            norms = (everywhere[:-1] / everywhere[-1].clamp(min=1)).sqrt()
            worth.append(w * local(spread(_by_weight(norms, target), target.parameter)).to(w))
            self._inputs[target.name] = seen * KEPT
        return worth

    def state_dict(self) -> dict[str, Any]:
        own = {name: seen.cpu() for name, seen in self._inputs.items()}
        if not (dist.is_available() and dist.is_initialized()):
            return {"inputs": [own]}
        everywhere: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everywhere, own)
        return {"inputs": everywhere}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        inputs = state["inputs"]
        distributed = dist.is_available() and dist.is_initialized()
        rank, processes = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
        if len(inputs) == processes:
            self._inputs = dict(inputs[rank])
        elif rank == 0:  # on another number of processes the first takes what all had seen
            names = {name for one in inputs for name in one}
            self._inputs = {n: sum(one[n] for one in inputs if n in one) for n in names}


Features = Callable[[Tensor], Tensor]
"""From a layer's input to its features: ``(N, features)``."""


def features_of(module: nn.Module) -> Features | None:
    """How the input of a layer is told apart by what its weights multiply; None: not known.

    >>> features_of(nn.Conv2d(3, 8, 5))(torch.ones(2, 3, 7, 7)).shape
    torch.Size([98, 3])
    """
    if isinstance(module, nn.Linear):
        return lambda x: x.reshape(-1, x.shape[-1])
    if isinstance(module, _ConvNd):
        channels = -1 - len(module.kernel_size)
        return lambda x: x.movedim(channels, -1).reshape(-1, x.shape[channels])
    return None


def _by_weight(norms: Tensor, target: Target) -> Tensor:
    """The norm of the input that each weight multiplies, of the weight's shape, without a copy.

    A convolution in groups has fewer inputs to a filter than channels: each group its own.
    """
    w = target.parameter
    if target.inputs == 0:  # a transposed convolution: (in, out, …)
        return norms.view(-1, *[1] * (w.ndim - 1)).expand(w.shape)
    groups = len(norms) // w.shape[1]
    rows = norms.view(groups, w.shape[1]).repeat_interleave(w.shape[0] // groups, 0)
    return rows.view(*rows.shape, *[1] * (w.ndim - 2)).expand(w.shape)
