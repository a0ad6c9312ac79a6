"""Surgery: a copy of a model without some of its units, their constants added where they went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from l1prune.deploy.contractions import Constants, contraction, contribution, dispensable
from l1prune.deploy.copies import copied
from l1prune.deploy.liveness import CONTRACT, Liveness
from l1prune.deploy.shapes import resize


@dataclass(frozen=True, eq=False)
class Operation:
    """A smaller copy of a model.

    Args:
        model: the copy; what was changed by constants is in float64.
        folded: each parameter with constants in it, in float64, and its dtype in the original.
    """

    model: nn.Module
    folded: Mapping[str, tuple[Tensor, torch.dtype]]

    @torch.no_grad()
    def round_(self) -> None:
        """Round what is in float64 to the type of the original."""
        for name, (exact, dtype) in self.folded.items():
            _tensor(self.model, name).data = exact.to(dtype)

    @torch.no_grad()
    def unround_(self) -> None:
        """Take back what was rounded."""
        for name, (exact, _) in self.folded.items():
            _tensor(self.model, name).data = exact


def _tensor(model: nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its name."""
    path, _, own = name.rpartition(".")
    tensor: Tensor = getattr(model.get_submodule(path), own)
    return tensor


@torch.no_grad()
def operate(model: nn.Module, liveness: Liveness, gone: Tensor) -> Operation:
    """Copy a model without the units that are gone.

    Args:
        model: the one whose graph was analysed; it is left as it is.
        liveness: what the analysis found.
        gone: whether each unit is.
    """
    tensors = liveness.scene.graph.tensors
    folded = _fold(liveness, gone)
    kept: dict[str, dict[int, Tensor]] = {}
    units = liveness.scene.units
    for name, dim in units.starts:
        if (lost := gone[units.of(name, dim)]).any():
            kept.setdefault(name, {})[dim] = (~lost).nonzero().flatten()
    smaller = {}
    for name in {*folded, *kept}:
        tensor = folded.get(name, tensors[name].detach())
        for dim, index in kept.get(name, {}).items():
            tensor = tensor.index_select(dim, index.to(tensor.device))
        smaller[name] = tensor.clone(memory_format=torch.contiguous_format)
    twin = _copy(model, {name: (tensors[name], part) for name, part in smaller.items()})
    return Operation(twin, {name: (smaller[name], tensors[name].dtype) for name in folded})


def _copy(model: nn.Module, changed: Mapping[str, tuple[Tensor, Tensor]]) -> nn.Module:
    """A deep copy in which some tensors have been replaced, wherever they occur."""
    memo: dict[int, object] = {}
    for before, after in changed.values():
        is_parameter = isinstance(before, nn.Parameter)
        memo[id(before)] = nn.Parameter(after, before.requires_grad) if is_parameter else after
    twin = copied(model, memo)
    for module, original in zip(twin.modules(), model.modules(), strict=True):
        resize(module, _shapes(original))
    return twin


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    own = {**module._parameters, **module._buffers}
    return {name: tensor.shape for name, tensor in own.items() if tensor is not None}


def _fold(liveness: Liveness, gone: Tensor) -> dict[str, Tensor]:
    """Biases and weights with the constants of lost channels in them, whole, in float64."""
    scene = liveness.scene
    folded: dict[str, Tensor] = {}
    for node, rule in liveness.rules.items():
        found = contraction(node, scene) if rule is CONTRACT else None
        if found is None or not found.folds(scene):
            continue
        constants = Constants.of(scene.signal(found.source), found.channel)
        without, carrier = dispensable(node, scene)
        lost = gone[scene.units_of(found.weight, 1)] & without
        value = constants.value.masked_fill(~lost, 0)
        if not value.any():
            continue
        weight = scene.tensor(found.weight)
        if carrier is None and found.bias is not None:
            added = contribution(found, weight, value)
            if found.folds_into_bias(scene) and added.any():
                bias = scene.graph.tensors[found.bias.name]
                folded[found.bias.name] = bias.double() + added.to(bias.device)
        elif carrier is not None:
            (at,) = value.nonzero(as_tuple=True)
            share = value[at] / constants.value[carrier]
            columns = weight.index_select(1, at).double().movedim(1, -1) @ share
            whole = scene.graph.tensors[found.weight.name].detach().double().clone()
            whole.permute(found.weight.order)[:, carrier] += columns.to(whole.device)
            folded[found.weight.name] = whole
    return folded
