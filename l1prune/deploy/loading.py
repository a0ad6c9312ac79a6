"""Loading: the weights of a compact model, in a fresh one of full size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from l1prune.deploy.attributes import Attribute, assign
from l1prune.deploy.compact import compact
from l1prune.deploy.copies import copied
from l1prune.deploy.graph import trace
from l1prune.deploy.inputs import arguments
from l1prune.deploy.liveness import Liveness, analyse
from l1prune.deploy.numbers import State, check_numbers, tensors_of
from l1prune.deploy.shapes import resize
from l1prune.deploy.widths import widths


def load_compact(model: nn.Module, state_dict: State, example_input: Any = None) -> nn.Module:
    """Shrink a fresh model of full size to the shapes in a state dict, and load it.

    A module may also hold a size as a whole number, like its number of heads, which shapes do not
    tell. With an example, a copy of the model is made compact to the same shapes, and these numbers
    become what they were proved to be there.

    Args:
        model: built like the one that was made compact; it is changed in place.
        state_dict: of the compact model.
        example_input: what `compact` was given; needed where heads of attention went.

    Returns:
        the same model.

    Raises:
        ValueError: what is given is no state dict; a tensor in it is not a shorter one of the
            model's, or is empty; or a module has a
            number that may count what was removed, and there is no example.
        RuntimeError: names are missing or unknown, from `load_state_dict`.

    >>> small = nn.Linear(4, 2)
    >>> load_compact(nn.Linear(8, 2), small.state_dict())
    Linear(in_features=4, out_features=2, bias=True)
    """
    _check_kind(state_dict)
    for _, name, tensor in tensors_of(model):
        _check(name, tensor, state_dict)
    attributes: tuple[Attribute, ...] = ()
    if example_input is not None:
        attributes = _attributes(model, state_dict, example_input)
    else:
        check_numbers(model, state_dict)
    _shrink(model, state_dict)
    assign(model, attributes)
    model.load_state_dict(state_dict)
    return model


def _shrink(model: nn.Module, state: State) -> None:
    """Replace tensors by empty ones of the shapes in a state dict."""
    before: dict[nn.Module, dict[str, torch.Size]] = {}
    shorter: dict[int, Tensor] = {}
    for module, name, tensor in list(tensors_of(model)):
        own = name.rpartition(".")[2]
        before.setdefault(module, {})[own] = tensor.shape
        if name in state and state[name].shape != tensor.shape:
            setattr(module, own, shorter.setdefault(id(tensor), _empty(tensor, state[name].shape)))
    for module, shapes in before.items():
        resize(module, shapes)


def _empty(tensor: Tensor, shape: torch.Size) -> Tensor:
    part = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    return nn.Parameter(part, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else part


def _check_kind(state: object) -> None:
    """See to it that a state dict is one: tensors by name, and extra states of modules."""
    if not isinstance(state, Mapping):
        raise ValueError(
            f"state_dict: one of type {type(state).__name__} is none; give tensors by name, as "
            "model.state_dict() returns them"
        )
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) and not str(name).endswith("_extra_state"):
            raise ValueError(
                f"state_dict: {name} is of type {type(tensor).__name__}, no tensor; give "
                "tensors by name, as model.state_dict() returns them"
            )


def _check(name: str, tensor: Tensor, state: State) -> None:
    saved = state.get(name)
    if saved is None:
        return
    if saved.ndim != tensor.ndim or any(
        new > old for new, old in zip(saved.shape, tensor.shape, strict=True)
    ):
        raise ValueError(
            f"state_dict: {name} is {tuple(saved.shape)}, which is not a smaller form of the "
            f"model's {tuple(tensor.shape)}; build the model as it was before it was made compact"
        )
    if not saved.numel() and tensor.numel():
        raise ValueError(
            f"state_dict: nothing is left of {name}, {tuple(saved.shape)} of "
            f"{tuple(tensor.shape)}; compact keeps a unit at least of each width"
        )


def _attributes(model: nn.Module, state: State, example_input: Any) -> tuple[Attribute, ...]:
    """What the numbers in modules become, as proved on a copy with random weights.

    Raises:
        ValueError: the copy cannot be made compact to the shapes of the state dict.
    """
    stand_in = copied(model).eval()
    _randomise(stand_in)
    liveness = analyse(trace(stand_in, arguments(example_input)))
    _clear(liveness, _surplus(liveness, state))
    compaction = compact(stand_in, example_input)
    for _, name, tensor in tensors_of(compaction.model):
        if name in state and state[name].shape != tensor.shape:
            raise ValueError(
                f"state_dict: {name} is {tuple(state[name].shape)}, but {type(model).__name__} can "
                f"only be shown to work with {tuple(tensor.shape)} beside the other sizes; give "
                "the state dict of a compact model of the same architecture"
            )
    return compaction.report.attributes


@torch.no_grad()
def _randomise(model: nn.Module) -> None:
    """Weights none of which is zero, of the size of a fresh model's."""
    source = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel():
            noise = torch.randn(parameter.shape, generator=source, dtype=torch.double)
            fan_in = parameter.numel() / parameter.shape[0] if parameter.ndim > 1 else 1
            parameter.copy_(noise / fan_in**0.5)


def _surplus(liveness: Liveness, state: State) -> Tensor:
    """As many units as a state dict lacks, the last of each width; booleans of all numbers."""
    units, root = liveness.scene.units, liveness.couplings.root
    gone = torch.zeros(units.count, dtype=torch.bool)
    for part in widths(liveness, liveness.free):
        members = {
            (name, dim): root[units.of(name, dim)] for name, dim in part.dims if name in state
        }
        for (name, dim), mine in sorted(members.items(), key=lambda one: len(torch.unique(one[1]))):
            if not torch.isin(mine, part.units).all():
                continue  # shared with another width: checked when all is done
            for unit in torch.unique(mine).flip(0):
                if int((~gone[mine]).sum()) > state[name].shape[dim]:
                    gone[unit] = True
    return gone[root]


@torch.no_grad()
def _clear(liveness: Liveness, gone: Tensor) -> None:
    """Set all that belongs to some units to zero."""
    units = liveness.scene.units
    for name, dim in units.starts:
        if (lost := gone[units.of(name, dim)]).any():
            tensor = units.tensors[name]
            tensor.index_fill_(dim, lost.nonzero().flatten().to(tensor.device), 0)
