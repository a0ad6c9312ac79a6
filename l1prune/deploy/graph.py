"""Graph: what a model's forward does, operation by operation, as torch.export sees it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from l1prune.deploy.inputs import Arguments


@dataclass(frozen=True, eq=False)
class Graph:
    """One model's forward.

    Args:
        nodes: the operations in the order in which they run, placeholders first.
        stored: the parameter or buffer behind a placeholder, by its first name in the model.
        tensors: parameters and buffers by that name.
        constants: the tensor behind a placeholder that is no parameter or buffer.
        passing: those of them that the forward makes anew, and perhaps otherwise for other inputs.
        outputs: what the forward returns.
    """

    nodes: tuple[Node, ...]
    stored: Mapping[Node, str]
    tensors: Mapping[str, Tensor]
    constants: Mapping[Node, Tensor]
    passing: frozenset[Node]
    outputs: frozenset[Node]
    program: ExportedProgram = field(repr=False)


def trace(model: nn.Module, call: Arguments) -> Graph:
    """Export the forward of a model in eval mode.

    Raises:
        ValueError: it cannot be exported, or changes buffers or inputs.
    """
    kind = type(model).__name__
    try:
        with quiet():
            program = export(model, call).run_decompositions({})  # nothing in place any more
    except Exception as error:
        raise ValueError(
            f"model: the forward of {kind} cannot be exported by torch.export, so nothing can be "
            f"proved about it: {first_line(error)}"
        ) from error
    signature = program.graph_signature
    if changed := {**signature.buffers_to_mutate, **signature.user_inputs_to_mutate}:
        raise ValueError(
            f"model: the forward of {kind} changes {', '.join(sorted(changed.values()))}; "
            "only a forward that changes nothing can be made smaller"
        )
    if any(not _has_fixed_shape(node) for node in program.graph.nodes):
        raise ValueError(
            f"model: the forward of {kind} makes tensors whose sizes depend on values; only one "
            "whose sizes depend on sizes can be made smaller"
        )
    return _graph(model, program)


def _has_fixed_shape(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or all(str(size).isdigit() for size in value.shape)


def export(model: nn.Module, call: Arguments, sizes: Any = None) -> ExportedProgram:
    """Export the forward of a model.

    Args:
        model: in eval mode.
        call: what its forward is given.
        sizes: which sizes of the inputs may change, as torch.export wants it.
    """
    args, kwargs = call
    with torch.no_grad():
        return torch.export.export(model, args, kwargs, dynamic_shapes=sizes, strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch.export warns of and logs: its errors say what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _graph(model: nn.Module, program: ExportedProgram) -> Graph:
    signature = program.graph_signature
    tensors = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    first = {id(tensor): name for name, tensor in tensors.items()}
    every = {
        **dict(model.named_buffers(remove_duplicate=False)),
        **dict(model.named_parameters(remove_duplicate=False)),
    }
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    lifted = signature.inputs_to_lifted_tensor_constants
    nodes = tuple(program.graph.nodes)
    places = [node for node in nodes if node.op == "placeholder"]
    return Graph(
        nodes=nodes,
        stored={node: first[id(every[names[node.name]])] for node in places if node.name in names},
        tensors=tensors,
        constants={n: _constant(program, lifted[n.name]) for n in places if n.name in lifted},
        passing=frozenset(n for n in places if not _is_attribute(model, lifted.get(n.name, ""))),
        outputs=frozenset(nodes[-1].all_input_nodes),
        program=program,
    )


def _is_attribute(model: nn.Module, name: str) -> bool:
    path, _, attribute = name.rpartition(".")
    modules = dict(model.named_modules())
    return path in modules and isinstance(getattr(modules[path], attribute, None), Tensor)


def _constant(program: ExportedProgram, name: str) -> Tensor:
    value = program.constants[name]
    assert isinstance(value, Tensor)
    return value


def first_line(error: Exception) -> str:
    """What an error says, without its details."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def modules_of(node: Node) -> list[tuple[str, str]]:
    """The modules in which an operation is done, outermost first: their paths and classes."""
    stack = node.meta.get("nn_module_stack") or {}
    return [(path, str(kind)) for path, kind in stack.values()]


def place(node: Node) -> str:
    """Where in the model an operation is, for people: the module's name and the operation's."""
    if node.op == "output":
        return "the caller"
    modules = modules_of(node)
    path = modules[-1][0] if modules else ""
    operation = str(node.target).removeprefix("aten.").partition(".")[0]
    return f"{operation} in {path}" if path else operation
