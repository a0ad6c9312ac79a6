"""Export: networks as files that run elsewhere, compared with the model before they are there."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.utils._pytree import tree_leaves

from l1prune.checks import is_number
from l1prune.deploy.export_report import ExportReport
from l1prune.deploy.graph import first_line, quiet
from l1prune.deploy.initializers import sparsified
from l1prune.deploy.inputs import Arguments, arguments
from l1prune.deploy.programs import Agreement, Batched, agreement, answers, batched_program
from l1prune.deploy.proof import precision
from l1prune.deploy.refusals import check_plain
from l1prune.deploy.sessions import Session, needed
from l1prune.weights.files import write_whole

OPSET = 20
"""The version of ONNX's operators: of 2023, which runtimes have caught up with."""
BATCH = "batch"
"""What the size that may change is called in an ONNX file."""
LARGEST = 2**31 - 1
"""The most bytes of an ONNX file that has its weights inside: a limit of protobuf."""


def export_onnx(
    model: nn.Module,
    example_input: Any,
    path: str | Path,
    tolerance: float | None = None,
    sparse: bool = True,
) -> ExportReport:
    """Write a network as an ONNX file, which has run in onnxruntime before it is there.

    The batch, the first dimension of the inputs, may have any size, unless the model does something
    else for some: then it is the example's, and the report says why. Weights of which a third or
    less is left are stored as `sparse_initializer`: smaller in the file, dense again in memory.
    Then onnxruntime runs the file on random inputs in batches of several sizes, and what comes out
    is compared with what the model returns. Needs the extra `deploy`.

    Args:
        model: in eval mode; it is left as it is.
        example_input: a tensor, a tuple of what the model takes, or a mapping of it by name.
        path: of the file, which ends in ``.onnx``; one that was there is replaced.
        tolerance: the largest difference that is accepted, over the largest number of the output;
            by default the root of the weights' precision, 3e-4 in float32.
        sparse: False for runtimes that do not know `sparse_initializer`, as TensorRT; onnx's own
            strict shape inference does not either.

    Raises:
        ImportError: onnx, onnxscript or onnxruntime is missing.
        ValueError: the model is in training mode, under masks, hooks, quantised, sharded, random or
            too large, cannot be exported, or onnxruntime cannot run it.
        RuntimeError: onnxruntime returns something else than the model.

    Source: the ONNX specification; `torch.onnx.export(dynamo=True)`.

    >>> import tempfile
    >>> model = nn.Linear(100, 10).eval()
    >>> _ = nn.init.sparse_(model.weight, 0.9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = export_onnx(model, torch.ones(2, 100), f"{folder}/model.onnx")
    >>> report.sparse, report.nbytes < report.dense_nbytes
    (['weight'], True)
    """
    path = checked_path(path, ".onnx")
    needed("onnx", "onnxscript", "onnxruntime")
    example = _prepared(model, example_input, tolerance)
    if (nbytes := _nbytes(model)) > LARGEST:
        raise ValueError(
            f"model: {type(model).__name__} has {nbytes:,} bytes, and an ONNX file has room for "
            f"{LARGEST:,}: export_program has no such limit"
        )
    found = batched_program(model, example)
    call = found.call
    answers(model, call)  # what it refuses itself is no fault of onnxruntime's
    dense = _plain_onnx(model, found)
    session = Session(dense.SerializeToString())
    sample = session.outputs(*call[0], **call[1])
    proto, few, stayed = (
        sparsified(dense, lambda form: _unlike(form, call, sample)) if sparse else (dense, [], {})
    )
    content = proto.SerializeToString()
    session = Session(content)
    same = _compared(model, lambda one: session.outputs(*one[0], **one[1]), found, tolerance)
    write_whole(path, lambda part: part.write_bytes(content))
    zeros = sum(int((w.signbit() & (w == 0)).sum()) for w in _floats(model))
    return ExportReport(len(content), nbytes, same, found.fixed, few, stayed, zeros)


def export_program(
    model: nn.Module, example_input: Any, path: str | Path, tolerance: float | None = None
) -> ExportReport:
    """Write a network as a program of torch.export, for torch without the network's own code.

    `torch.export.load(path).module()` runs it, in batches of any size. The file has been read again
    and compared with the model, as by `export_onnx`.

    Args:
        model: in eval mode; it is left as it is.
        example_input: a tensor, a tuple of what the model takes, or a mapping of it by name.
        path: of the file, which ends in ``.pt2``; one that was there is replaced.
        tolerance: the largest difference that is accepted, over the largest number of the output;
            by default the root of the weights' precision, 3e-4 in float32.

    Raises:
        ValueError: the model is in training mode, under masks, hooks, quantised, sharded or random,
            or cannot be exported.
        RuntimeError: the program returns something else than the model.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = export_program(nn.Linear(4, 2).eval(), torch.ones(2, 4), f"{folder}/a.pt2")
    >>> report.agreement.relative
    0.0
    """
    path = checked_path(path, ".pt2")
    found = batched_program(model, _prepared(model, example_input, tolerance))
    content = io.BytesIO()
    with quiet():
        torch.export.save(_anonymous(found.program), content)
        content.seek(0)
        program = torch.export.load(content).module()
    same = _compared(model, lambda one: _run(program, one), found, tolerance)
    write_whole(path, lambda part: part.write_bytes(content.getvalue()))
    return ExportReport(len(content.getvalue()), _nbytes(model), same, found.fixed)


def checked_path(path: str | Path, suffix: str) -> Path:
    """The path of a file that is to be written.

    Raises:
        ValueError: it ends in something else, or is a folder.
        FileNotFoundError: its folder is not there.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"path={str(path)!r}: give a name that ends in {suffix}")
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {path.parent}")
    return path


def _prepared(model: nn.Module, example_input: Any, tolerance: float | None) -> Arguments:
    """How the model is called, once it is known that it can be exported as it is."""
    if tolerance is not None and not is_number(tolerance, 0):
        raise ValueError(f"tolerance={tolerance!r}: give a relative difference, such as 1e-4")
    check_plain(model)
    return arguments(example_input)


def _compared(
    model: nn.Module,
    run: Callable[[Arguments], list[Tensor]],
    found: Batched,
    tolerance: float | None,
) -> Agreement:
    same = agreement(model, run, found.call, found.batch is not None)
    most = precision(model) ** 0.5 if tolerance is None else tolerance
    if not same.relative <= most:
        raise RuntimeError(
            f"model: what became of {type(model).__name__} differs from it by {same.relative:.1e} "
            f"of the largest output, more than tolerance={most:.1e}; nothing was written"
        )
    return same


def _plain_onnx(model: nn.Module, found: Batched) -> Any:
    """The program as an `onnx.ModelProto`, without notes on where in which files it came from."""
    for spec in found.program.graph_signature.output_specs:
        if not isinstance(spec.arg, TensorArgument) and getattr(spec.arg, "value", 0) is not None:
            returned = getattr(spec.arg, "value", "a size")
            raise ValueError(
                f"model: {type(model).__name__} returns {returned!r} among its outputs; an ONNX "
                "file returns tensors only"
            )
    try:
        with quiet():
            made = torch.onnx.export(found.program, dynamo=True, opset_version=OPSET, verbose=False)
    except Exception as error:
        raise ValueError(
            f"model: {type(model).__name__} cannot be exported to ONNX: {_reason(error)}"
        ) from error
    assert made is not None
    proto: Any = made.model_proto
    graph = proto.graph
    for noted in [proto, graph, *graph.node, *graph.initializer, *graph.value_info]:
        noted.ClearField("metadata_props")
    for value in [*graph.input, *graph.output, *graph.value_info]:
        value.ClearField("metadata_props")
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param.isdigit():
                size.dim_value = int(size.dim_param)
            elif found.batch is not None and size.HasField("dim_param"):
                size.dim_param = re.sub(rf"\b{found.batch}\b", BATCH, size.dim_param)
    return proto


def _reason(error: BaseException) -> str:
    """The first line of what went wrong first, without colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\x1b\[\d+m", "", first_line(error)) if isinstance(error, Exception) else ""


def _unlike(form: Any, call: Arguments, sample: list[Tensor]) -> str | None:
    """Why the sparse form of an ONNX model cannot be used, if it cannot."""
    try:
        outputs = Session(form.SerializeToString()).outputs(*call[0], **call[1])
    except ValueError as error:
        return str(error)
    same = all(map(torch.equal, map(_bits, outputs), map(_bits, sample)))
    return None if same else "onnxruntime reads something else"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _anonymous(program: ExportedProgram) -> ExportedProgram:
    """A program without the example, which may be private, and without the files' names."""
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _run(program: nn.Module, call: Arguments) -> list[Tensor]:
    args, kwargs = call
    with torch.no_grad(), quiet():
        leaves = tree_leaves(program(*args, **kwargs))
    return [leaf.detach().cpu() for leaf in leaves if isinstance(leaf, Tensor)]


def _floats(model: nn.Module) -> list[Tensor]:
    return [w.detach() for w in model.parameters() if w.is_floating_point()]


def _nbytes(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
