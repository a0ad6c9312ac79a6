"""Graph: what a model's forward does, operation by operation, as torch.export sees it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def arguments(example_input: Any) -> Arguments:
    """How `model` is called with an example: a mapping by keyword, a tuple by position.

    >>> arguments(1), arguments((1, 2)), arguments({"x": 1})
    (((1,), {}), ((1, 2), {}), ((), {'x': 1}))
    """
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    return (tuple(example_input) if isinstance(example_input, tuple | list) else (example_input,)), {}


@dataclass(frozen=True, eq=False)
class Graph:
    """One model's forward.

    Args:
        nodes: the operations in the order in which they run, placeholders first.
        stored: the parameter or buffer behind a placeholder, by its first name in the model.
        tensors: parameters and buffers by that name.
        constants: the tensor behind a placeholder that the forward itself brings.
        outputs: what the forward returns.
    """

    nodes: tuple[Node, ...]
    stored: Mapping[Node, str]
    tensors: Mapping[str, Tensor]
    constants: Mapping[Node, Tensor]
    outputs: frozenset[Node]
    program: ExportedProgram = field(repr=False)

    def uses(self, name: str) -> int:
        """How many operations read a parameter or buffer, tied names together."""
        return sum(len(node.users) for node, stored in self.stored.items() if stored == name)


def trace(model: nn.Module, call: Arguments) -> Graph:
    """Export the forward of a model in eval mode.

    Raises:
        ValueError: it cannot be exported, or changes buffers or inputs.
    """
    kind = type(model).__name__
    args, kwargs = call
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about itself
            program = torch.export.export(model, args, kwargs, strict=False).run_decompositions({})
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"model: the forward of {kind} cannot be exported by torch.export, so nothing can be "
            f"proved about it: {reason}"
        ) from error
    signature = program.graph_signature
    if changed := {**signature.buffers_to_mutate, **signature.user_inputs_to_mutate}:
        raise ValueError(
            f"model: the forward of {kind} changes {', '.join(sorted(changed.values()))}; "
            "only a forward that changes nothing can be made smaller"
        )
    return _graph(model, program)


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
        outputs=frozenset(nodes[-1].all_input_nodes),
        program=program,
    )


def _constant(program: ExportedProgram, name: str) -> Tensor:
    value = program.constants[name]
    assert isinstance(value, Tensor)
    return value


def place(node: Node) -> str:
    """Where in the model an operation is, for people: the module's name and the operation's."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    operation = str(node.target).removeprefix("aten.").partition(".")[0]
    return f"{operation} in {path}" if path else operation
