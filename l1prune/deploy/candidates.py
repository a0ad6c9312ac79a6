"""Candidates: the layers of a model that may run sparse, and why the others do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from l1prune.deploy.inputs import Arguments
from l1prune.deploy.kernels import CONVS, Kernel

FEWEST_ZEROS = 0.5  # a weight costs a sparse kernel more than twice what it costs a dense one

Inputs = dict[int, Tensor]
"""What a layer is called with, by the number of rows."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A layer that some kernels can run.

    Args:
        layer: as it is, dense.
        zeros: the share of its weights that are zero.
        kernels: those that do not refuse it.
    """

    layer: nn.Module
    zeros: float
    kernels: tuple[Kernel, ...]

    @property
    def channels(self) -> int:
        """Which dimension of its inputs has the channels, from the end; the others are rows."""
        if isinstance(self.layer, CONVS):
            return -1 - len(self.layer.kernel_size)
        return -1


def candidates(
    model: nn.Module, kernels: Sequence[Kernel]
) -> tuple[dict[str, Candidate], dict[str, str]]:
    """The layers that may run sparse, and for the others with matrices of weights why they do not.

    >>> from l1prune.deploy.kernels import KERNELS
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    >>> _ = model[0].weight.data.fill_diagonal_(1.0).triu_().tril_()
    >>> found, left = candidates(model, KERNELS)
    >>> list(found), left
    (['0'], {'1': '0 % of its weights are zero, too few'})
    """
    names = defaultdict(list)
    owners = defaultdict(list)
    for name, module in model.named_modules(remove_duplicate=False):
        names[module].append(name)
        for parameter in module.parameters(recurse=False):
            owners[parameter].append(name)
    found, left = {}, {}
    for module, (name, *others) in names.items():
        weights = [p for p in module.parameters(recurse=False) if p.ndim > 1]
        if isinstance(module, ParametrizationList) or not (weights or is_parametrized(module)):
            continue
        elsewhere = {one for p in weights for one in owners[p]} - {name, *others}
        zeros = _zeros(weights)
        able = tuple(kernel for kernel in kernels if kernel.refusal(module) is None)
        if is_parametrized(module):
            left[name] = "it is parametrized: what its weight is changes"
        elif others:
            left[name] = f"it is at another place of the model, too: {others[0]}"
        elif elsewhere:
            left[name] = f"its weight is that of {min(elsewhere)}, too"
        elif zeros < FEWEST_ZEROS:
            left[name] = f"{zeros:.0%} of its weights are zero, too few".replace("%", " %")
        elif not able:
            left[name] = "; ".join(dict.fromkeys(str(k.refusal(module)) for k in kernels))
        else:
            found[name] = Candidate(module, zeros, able)
    return found, left


def recorded(
    run: Callable[[Arguments], object], found: Mapping[str, Candidate], call: Arguments
) -> tuple[dict[str, Inputs], set[str]]:
    """What the layers are called with while a model runs, and those called in another way.

    Args:
        run: runs the model.
        found: the layers.
        call: what the model is called with.
    """
    seen: dict[str, Inputs] = {name: {} for name in found}
    otherwise = set[str]()

    def remember(name: str, candidate: Candidate) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
                otherwise.add(name)
            elif args[0].numel():
                rows = args[0].numel() // args[0].shape[candidate.channels]
                seen[name].setdefault(rows, args[0].detach())

        return hook

    handles = [
        one.layer.register_forward_pre_hook(remember(name, one), with_kwargs=True)
        for name, one in found.items()
    ]
    try:
        with torch.no_grad():
            run(call)
    finally:
        for handle in handles:
            handle.remove()
    return seen, otherwise


def _zeros(weights: Sequence[Tensor]) -> float:
    count = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / count if count else 0.0
