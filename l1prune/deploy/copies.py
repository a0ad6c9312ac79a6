"""Copies: of whole models, and of all but their weights, to run without leaving traces."""

from __future__ import annotations

import copy

from torch import nn

from l1prune.deploy.graph import first_line


def copied(model: nn.Module, instead: dict[int, object] | None = None) -> nn.Module:
    """A deep copy of a model.

    Args:
        model: it is left as it is.
        instead: what takes the place of some of its parts, by the part's ``id``.

    Raises:
        ValueError: something in it cannot be copied.

    >>> copied(nn.ReLU())
    ReLU()
    """
    try:
        return copy.deepcopy(model, instead)
    except Exception as error:
        raise ValueError(
            f"model: {type(model).__name__} cannot be copied by copy.deepcopy, and the original is "
            f"not to be changed: {first_line(error)}; its attributes may hold modules, weights and "
            "plain values, but no locks, generators or results of other tensors"
        ) from error


def shell(model: nn.Module) -> nn.Module:
    """A copy that has the same parameters, and all else of its own.

    What a forward keeps in it, as tables of positions in some type, is gone with it.

    >>> layer = nn.Linear(2, 1)
    >>> shell(layer) is layer, shell(layer).weight is layer.weight
    (False, True)
    """
    return copied(model, {id(parameter): parameter for parameter in model.parameters()})
