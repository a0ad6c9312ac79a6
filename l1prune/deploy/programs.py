"""Programs: a model's forward for batches of every size, and how it is compared with the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import SymInt, Tensor, nn
from torch.export import Dim, ExportedProgram, ShapesCollection

from l1prune.deploy.graph import export, first_line, quiet
from l1prune.deploy.inputs import Arguments, batched, in_batches, tensors, variations
from l1prune.deploy.proof import TOLERANCE, difference, gap, outputs

SIZES = (1, 3, 17)
"""The batches that are tried besides the example's own."""


@dataclass(frozen=True, eq=False)
class Batched:
    """An exported forward.

    Attributes:
        program: what torch.export made of it.
        call: the example that it was exported with.
        batch: the name that torch.export gave to the size of the batch; None where that is fixed.
        fixed: why it is fixed.
    """

    program: ExportedProgram
    call: Arguments
    batch: str | None
    fixed: str | None


def batched_program(model: nn.Module, call: Arguments) -> Batched:
    """Export a forward that takes batches of any size; failing that, of the example's.

    Args:
        model: in eval mode.
        call: an example.

    Raises:
        ValueError: it cannot be exported, or changes buffers or inputs.
    """
    kind = type(model).__name__
    try:
        found = _free(model, call)
    except Exception as error:  # the model's own, or one of the many of torch.export
        found = _fixed(model, call, first_line(error))
    with quiet():
        signature = found.program.run_decompositions({}).graph_signature  # nothing is in place
    if changed := {**signature.buffers_to_mutate, **signature.user_inputs_to_mutate}:
        raise ValueError(
            f"model: the forward of {kind} changes {', '.join(sorted(changed.values()))}; "
            "only a forward that changes nothing can be run elsewhere"
        )
    return found


def _free(model: nn.Module, call: Arguments) -> Batched:
    """The forward for batches of every size, by an example of two: one is never free."""
    along = batched(call)
    call = in_batches(call, max(2, len(tensors(call)[along[0]]))) if along else call
    sizes = ShapesCollection()  # type: ignore[no-untyped-call]
    for number in along:
        sizes[tensors(call)[number]] = {0: Dim.AUTO}
    with quiet():
        program = export(model, call, sizes)
    size = _batch(program, along)
    if size is None:
        raise ValueError("the forward is written for this size")
    if conditions := _conditions(size):
        raise ValueError(f"the forward is the same only where {' and '.join(conditions[:3])}")
    return Batched(program, call, str(size), None)


def _fixed(model: nn.Module, call: Arguments, reason: str) -> Batched:
    try:
        with quiet():
            return Batched(export(model, call), call, None, reason)
    except Exception as error:
        raise ValueError(
            f"model: the forward of {type(model).__name__} cannot be exported by torch.export: "
            f"{first_line(error)}"
        ) from error


def _batch(program: ExportedProgram, along: list[int]) -> SymInt | None:
    """The size of the batch, where it is free."""
    inputs = program.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    found = [v for name in inputs if isinstance(v := values.get(str(name)), Tensor)]
    sizes: list[Any] = [found[number].shape[0] for number in along if number < len(found)]
    return next((size for size in sizes if not str(size).isdigit()), None)


def _conditions(size: SymInt) -> list[str]:
    """What torch.export took as given of a free size: an ONNX file would not look at it.

    Bounds are in the program's `range_constraints` too; that it is no multiple of three, or not
    five, is among the guards alone.
    """
    environment = size.node.shape_env
    guards = [environment.simplify(guard.expr) for guard in environment.guards]
    told = [
        f"{guard.lhs} {guard.rel_op} {guard.rhs}" if hasattr(guard, "rel_op") else str(guard)
        for guard in guards
    ]
    return [re.sub(rf"\b{size}\b", "batch", one) for one in told if one != "True"]


@dataclass(frozen=True)
class Agreement:
    """How far two executions of a model are from each other.

    Attributes:
        inputs: on how many inputs they were compared.
        absolute: the largest difference of two numbers.
        relative: the same over the largest number of the tensor.
        refused: batches that the model takes and the other does not, with the reason.
    """

    inputs: int
    absolute: float
    relative: float
    refused: dict[int, str]


def agreement(
    model: nn.Module, other: Callable[[Arguments], list[Any]], call: Arguments, free: bool
) -> Agreement:
    """Run a model and another form of it on the same random inputs.

    Args:
        model: in eval mode.
        other: inputs → all tensors that the other form returns.
        call: an example of the inputs.
        free: whether other batches than the example's are tried.

    Raises:
        ValueError: the model returns something else each time; or the other form fails on the
            example's own batch.
    """
    inputs, absolute, relative = 0, 0.0, 0.0
    refused: dict[int, str] = {}
    for size, one in compared(call, SIZES if free else ()):
        try:
            expected = answers(model, one)
        except ValueError:
            if size is None:
                raise
            continue  # it does not take batches of this size
        if not inputs and difference(expected, answers(model, one)) > TOLERANCE:
            raise ValueError(
                f"model: {type(model).__name__} returns something else each time that it gets the "
                "same input, so that nothing can be compared with it"
            )
        try:
            found = other(one)
        except Exception as error:
            if size is None:
                raise
            refused[size] = first_line(error)
            continue
        inputs += 1
        relative = max(relative, difference(expected, found))
        absolute = max(absolute, gap(expected, found))
    return Agreement(inputs, absolute, relative, refused)


def compared(call: Arguments, sizes: tuple[int, ...]) -> Iterator[tuple[int | None, Arguments]]:
    """The example, random inputs like it, and such of other batches; with their sizes, if other."""
    yield None, call
    yield from ((None, one) for one in variations(call, None))
    for size in sizes:
        yield from ((size, one) for one in variations(in_batches(call, size), None, seed=size))


def answers(model: nn.Module, call: Arguments) -> list[Tensor]:
    """All tensors that a model returns, in order, on the CPU.

    Raises:
        ValueError: it fails on these inputs.
    """
    try:
        outs = outputs(model, call)
    except Exception as error:
        raise ValueError(
            f"model: {type(model).__name__} fails on the example: {first_line(error)}"
        ) from error
    return [out.detach().cpu() for out in outs if isinstance(out, Tensor)]
