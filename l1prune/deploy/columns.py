"""Columns: the same function, asked with nothing but the inputs that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from l1prune.deploy.copies import copied, shell
from l1prune.deploy.inputs import Arguments
from l1prune.deploy.proof import TOLERANCE, difference, exact_outputs, outputs
from l1prune.deploy.refusals import check_plain

READERS = (nn.Linear, _ConvNd)
THROUGH = (_BatchNorm, nn.Identity, nn.Flatten, nn.Dropout)
"""What leaves each column a column, in eval mode."""
BATCHES = (1, 2, 7)


@dataclass(frozen=True, eq=False)
class InputSelection:
    """A model that is given fewer inputs, and which of the original's they are.

    Attributes:
        model: of the same classes, with the same names, in eval mode.
        kept: the numbers of the inputs that it expects, in this order: columns of a table, pixels
            of a flattened image in all channels, or channels where a convolution comes first.
        inputs: how many the original takes.
        flat: whether these are counted in flattened examples.
        difference: the largest relative difference of the two models, in float64.
    """

    model: nn.Module
    kept: tuple[int, ...]
    inputs: int
    flat: bool
    difference: float

    def columns(self, x: Tensor) -> Tensor:
        """What the smaller model is given in the place of the original's input `(B, …)`."""
        return (x.flatten(1) if self.flat else x)[:, [*self.kept]]

    def __str__(self) -> str:
        told = ", ".join(map(str, self.kept[:20])) + (", …" if len(self.kept) > 20 else "")
        return (
            f"{len(self.kept)} of {self.inputs} inputs: {told}; largest relative difference "
            f"{self.difference:.1e} in float64"
        )


def narrowed(model: nn.Module, example: Any) -> tuple[nn.Module, Any]:
    """The model that `select_inputs` makes of one, and the arguments of the same call of it.

    Args:
        model: in eval mode.
        example: the arguments of a call, of which the only one is its input.

    Raises:
        ValueError: as in `select_inputs`, or there are several.
    """
    if not (isinstance(example, tuple) and len(example) == 1):
        raise ValueError(f"{type(model).__name__} takes more than one input")
    selection = select_inputs(model, example[0])
    return selection.model, (selection.columns(example[0]),)


def select_inputs(model: nn.Module, example_input: Tensor) -> InputSelection:
    """Remove the inputs of a model that none of its layers reads any more.

    Those are the columns that are zero in all layers which see the input: linear ones, also behind
    Flatten, Dropout or BatchNorm, and convolutions, of which input channels go. The smaller model
    has narrower layers there, and computes the same; both are run in float64 on random inputs, in
    which the removed ones are random too: whatever else reads them shows. `compact` removes what
    is dead within.

    Args:
        model: in eval mode; it is left as it is.
        example_input: what the model takes: rows `(B, columns)`, or images `(B, C, H, W)`.

    Raises:
        ValueError: the model is in training mode, or not plain; no layer is known to read its
            input, none reads any of it, or something else does too.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    >>> _ = model[0].weight.data[:, :2].zero_()
    >>> found = select_inputs(model, torch.ones(1, 4))
    >>> found.kept, found.model[0]
    ((2, 3), Linear(in_features=2, out_features=8, bias=True))
    """
    check_plain(model)
    if getattr(example_input, "ndim", 0) < 2:
        raise ValueError("example_input: give one tensor with a batch, as torch.rand(2, columns)")
    sight = _seen(model, example_input)
    kept = [*_read(model, sight)]
    smaller = copied(model)
    for name in (*sight.readers, *sight.passed):
        _narrow(smaller.get_submodule(name), kept, sight.inputs)
    selection = InputSelection(smaller, tuple(kept), sight.inputs, sight.flat, 0.0)
    worst = max(_differences(model, selection, example_input))
    if worst > TOLERANCE:
        raise ValueError(
            f"{type(model).__name__} reads some of its inputs elsewhere than in "
            f"{', '.join(sight.readers)}, so that none can be removed: the relative difference "
            f"would be {worst:.1e}"
        )
    return InputSelection(smaller, tuple(kept), sight.inputs, sight.flat, worst)


@dataclass
class _Sight:
    """Which layers see the input, by name.

    Attributes:
        readers: those that read its columns.
        passed: those through which it comes to them, column by column, and have its width.
        inputs: how many columns there are.
        flat: whether they are those of flattened examples.
    """

    readers: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    inputs: int = 0
    flat: bool = False


def _seen(model: nn.Module, example: Tensor) -> _Sight:
    """Run a model once, and see which layers are given its input.

    Raises:
        ValueError: none is, or they count its columns differently.
    """
    watched, sight = shell(model), _Sight()
    places = {example.untyped_storage().data_ptr()}
    alive = [example]  # a place in memory that is free is taken again

    def look(name: str, module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        x = given[0] if given else None
        if not isinstance(x, Tensor) or x.untyped_storage().data_ptr() not in places:
            return
        if x.shape not in (example.shape, example.flatten(1).shape):
            return  # a part of it: what depends on that shows in the proof
        if isinstance(module, READERS):
            sight.readers.append(name)
            sight.flat |= x.ndim != example.ndim
            widths = {sight.inputs or x.shape[1], x.shape[1]}
            if len(widths) > 1 or (isinstance(module, nn.Linear) and x.ndim != 2):
                raise ValueError(f"{name} counts other columns than {sight.readers[0]}")
            sight.inputs = x.shape[1]
        elif isinstance(module, THROUGH):
            places.add(result.untyped_storage().data_ptr())
            alive.append(result)
            sight.passed += [name] if isinstance(module, _BatchNorm) else []

    for name, module in watched.named_modules():
        if isinstance(module, (*READERS, *THROUGH)):
            hook = lambda m, given, result, name=name: look(name, m, given, result)  # noqa: E731
            module.register_forward_hook(hook)
    outputs(watched, ((example,), {}))
    if not sight.readers:
        raise ValueError(
            f"{type(model).__name__} has no linear layer or convolution that is given its input"
        )
    return sight


def _read(model: nn.Module, sight: _Sight) -> Iterator[int]:
    """The columns that are not zero in all layers that read them."""
    alive = torch.zeros(sight.inputs, dtype=torch.bool)
    for name in sight.readers:
        layer: Any = model.get_submodule(name)
        if isinstance(layer, _ConvTransposeNd) or getattr(layer, "groups", 1) > 1:
            raise ValueError(f"{name} is a convolution in groups, or transposed: left as it is")
        weight: Tensor = layer.weight.detach().cpu()
        alive |= (weight.movedim(1, 0).flatten(1) != 0).any(1)
    if not alive.any():
        raise ValueError(f"{', '.join(sight.readers)}: all weights are zero, no input is read")
    return (int(number) for number in alive.nonzero().flatten())


def _narrow(module: Any, kept: list[int], inputs: int) -> None:
    """Leave the other columns out of a layer."""
    if isinstance(module, _BatchNorm):
        for name in ("weight", "bias", "running_mean", "running_var"):
            whole = getattr(module, name)
            if whole is not None:
                part = whole.detach()[kept].clone()
                is_weight = isinstance(whole, nn.Parameter)
                setattr(module, name, nn.Parameter(part) if is_weight else part)
        module.num_features = len(kept)
        return
    module.weight = nn.Parameter(module.weight.detach()[:, kept].clone())
    setattr(module, "in_features" if isinstance(module, nn.Linear) else "in_channels", len(kept))


def _differences(model: nn.Module, selection: InputSelection, example: Tensor) -> Iterator[float]:
    source = torch.Generator().manual_seed(0)
    for batch in BATCHES:
        shape = (batch, *example.shape[1:])
        x = torch.randn(shape, generator=source, dtype=torch.double).to(example)
        given: Arguments = ((selection.columns(x),), {})
        try:
            found = exact_outputs(shell(selection.model), given)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ValueError(
                f"{type(model).__name__} cannot be given fewer inputs: {str(error).splitlines()[0]}"
            ) from error
        yield difference(exact_outputs(shell(model), ((x,), {})), found)
