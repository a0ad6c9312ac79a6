"""States: what a model or a dict of tensors has to store, and what a model can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from l1prune.deploy.encodings import bits
from l1prune.deploy.index import DTYPES, Entry, Index, dense

State = Mapping[str, Tensor]


def state_of(source: nn.Module | Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of a model, or those given; plain, in the memory that they have.

    Raises:
        ValueError: one is no tensor that can be stored; it is named.
    """
    state: Mapping[Any, Any] = source.state_dict() if isinstance(source, nn.Module) else source
    for name, w in state.items():
        if not (isinstance(name, str) and isinstance(w, Tensor)):
            raise ValueError(
                f"{name!r} is of the type {type(w).__name__}: only tensors with names are stored; "
                "leave it out of the dict"
            )
        if is_lazy(w) or w.is_meta or type(w.detach()) is not Tensor or w.layout != torch.strided:
            raise ValueError(
                f"{name!r} has no plain values (it is lazy, meta, sharded, quantised or sparse by "
                "its layout): give a plain tensor"
            )
        if str(w.dtype).removeprefix("torch.") not in DTYPES:
            raise ValueError(f"{name!r} is {w.dtype}, which safetensors does not store: convert it")
    return {name: w.detach() for name, w in state.items()}


def plain(w: Tensor) -> Tensor:
    """The tensor on the CPU, contiguous, its numbers as they are read."""
    return w.cpu().resolve_conj().resolve_neg().contiguous()


def first_names(state: State) -> dict[str, str]:
    """For each name the first that the same tensor goes by.

    >>> w = torch.ones(2)
    >>> first_names({"encoder": w, "decoder": w, "other": w.clone()})
    {'encoder': 'encoder', 'decoder': 'encoder', 'other': 'other'}
    """
    seen: dict[Any, str] = {}
    return {name: seen.setdefault(_place(w) or name, name) for name, w in state.items()}


def check_fits(model: nn.Module, index: Index) -> None:
    """Refuse tensors that are not those of a model.

    Raises:
        ValueError: with the names that differ.
    """
    expected = {name: dense(name, w) for name, w in state_of(model).items()}
    for names, what in (
        (expected.keys() - index.keys(), "it lacks"),
        (index.keys() - expected.keys(), "the model lacks"),
    ):
        if names:
            some = ", ".join(sorted(names)[:3]) + ", …" * (len(names) > 3)
            raise ValueError(f"it is of another model: {what} {some}")
    for name, entry in index.items():
        if _kind(entry) != _kind(expected[name]):
            raise ValueError(
                f"it is of another model: {name!r} is {_kind(entry)} in the file and "
                f"{_kind(expected[name])} in the model"
            )


def fill_(model: nn.Module, state: State) -> None:
    """Copy tensors into a model that they fit.

    Raises:
        ValueError: two tensors differ that are one in the model.
    """
    for name, first in first_names(state_of(model)).items():
        one, other = state[name], state[first]
        if one is not other and not torch.equal(bits(one), bits(other)):
            raise ValueError(
                f"{first!r} and {name!r} are one tensor in the model and two in the file"
            )
    model.load_state_dict(state)


def _kind(entry: Entry) -> str:
    return f"{entry.dtype} {list(entry.shape)}"


def _place(w: Tensor) -> Any:
    """What is the same for tensors that are one; None for one without memory."""
    if w.numel() == 0:
        return None
    looks = (w.dtype, w.shape, w.stride(), w.is_conj(), w.is_neg())
    return (w.device, w.data_ptr(), looks)
