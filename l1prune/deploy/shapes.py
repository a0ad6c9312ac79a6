"""Shapes: the sizes that modules write down beside their weights, kept in step with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Shapes = Mapping[str, torch.Size]


def resize(module: nn.Module, before: Shapes) -> None:
    """Let a module's attributes say the shapes that its own tensors have now.

    Args:
        module: its parameters and buffers have been replaced by shorter ones.
        before: their shapes until then, by name.

    >>> layer = nn.Linear(4, 3)
    >>> layer.weight = nn.Parameter(torch.ones(2, 4))
    >>> resize(layer, {"weight": torch.Size([3, 4])})
    >>> layer
    Linear(in_features=4, out_features=2, bias=True)
    """
    own: dict[str, Tensor | None] = {**module._parameters, **module._buffers}
    now = {name: tensor.shape for name, tensor in own.items() if tensor is not None}
    if now != dict(before):
        _resize(module, before)


def is_known(module: nn.Module) -> bool:
    """Whether it is known what a module's attributes say of its tensors."""
    return _resize.dispatch(type(module)) is not _resize.dispatch(nn.Module)


@singledispatch
def _resize(module: nn.Module, before: Shapes) -> None:
    """Of a module that is not known: whole numbers that equal one size that has changed."""
    sizes: dict[int, set[int]] = {}
    for name, shape in before.items():
        for old, new in zip(shape, getattr(module, name).shape, strict=True):
            sizes.setdefault(old, set()).add(new)
    for name, value in vars(module).items():
        if type(value) is int and len(sizes.get(value, ())) == 1:
            setattr(module, name, *sizes[value])


@_resize.register
def _(module: nn.Linear, before: Shapes) -> None:
    module.out_features, module.in_features = module.weight.shape


@_resize.register
def _(module: nn.Embedding, before: Shapes) -> None:
    module.num_embeddings, module.embedding_dim = module.weight.shape


@_resize.register
def _(module: _BatchNorm, before: Shapes) -> None:
    sizes = [t.shape[0] for t in (module.running_mean, module.weight) if t is not None]
    module.num_features = sizes[0]


@_resize.register
def _(module: nn.PReLU, before: Shapes) -> None:
    (module.num_parameters,) = module.weight.shape


@_resize.register
def _(module: _ConvNd, before: Shapes) -> None:
    outputs, inputs = module.weight.shape[:2]
    # Whole groups go, so that each that is left is as large as it was.
    module.groups = outputs * module.groups // before["weight"][0] if module.groups > 1 else 1
    module.out_channels, module.in_channels = outputs, inputs * module.groups


@_resize.register
def _(module: _ConvTransposeNd, before: Shapes) -> None:
    module.in_channels, outputs = module.weight.shape[:2]
    module.out_channels = outputs * module.groups
