"""Initializers: the weights in an ONNX model, as pairs of place and value where few are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from l1prune.deploy.sessions import needed

Refuse = Callable[[Any], str | None]
"""Why a model cannot be used, None if it can."""


def sparsified(model: Any, refuse: Refuse) -> tuple[Any, list[str], dict[str, str]]:
    """Store the initializers that get smaller by it as `sparse_initializer`.

    Those hold the values that are not zero and the place of each, as one whole number: 12 bytes a
    weight in float32, so that a third must be left at most. All bits come back, −0.0 too.

    Args:
        model: an `onnx.ModelProto`; it is left as it is.
        refuse: what a runtime says of a model. If it refuses the whole, each initializer is
            offered by itself, and stays dense where it is refused.

    Returns:
        the model, the names of the initializers that are sparse in it, and of those that stayed
        dense although they would be smaller, with the reason.
    """
    smaller = {}
    for tensor in model.graph.initializer:
        if (sparse := sparse_tensor(tensor)) is not None and sparse.ByteSize() < tensor.ByteSize():
            smaller[tensor.name] = sparse
    returned = {output.name for output in model.graph.output}
    names = [name for name in smaller if name not in returned]
    whole = _with_sparse(model, [smaller[name] for name in names])
    if not names or refuse(whole) is None:
        return whole, names, {}
    accepted: list[str] = []
    refused: dict[str, str] = {}
    for name in names:
        reason = refuse(_with_sparse(model, [smaller[one] for one in [*accepted, name]]))
        if reason is None:
            accepted.append(name)
        else:
            refused[name] = reason
    return _with_sparse(model, [smaller[name] for name in accepted]), accepted, refused


def sparse_tensor(tensor: Any) -> Any:
    """An `onnx.TensorProto` as an `onnx.SparseTensorProto`; None if its numbers are of a rare kind.

    Source: the ONNX specification (IR), SparseTensorProto, with linearised indices.
    """
    onnx, helper = needed("onnx", "onnx.numpy_helper")
    array = helper.to_array(tensor)
    if array.dtype.kind not in "fiub" or not array.ndim:
        return None
    flat = np.ascontiguousarray(array).reshape(-1)
    places = np.flatnonzero(_bits(flat)).astype(np.int64)
    return onnx.SparseTensorProto(
        values=helper.from_array(flat[places], tensor.name),
        indices=helper.from_array(places),
        dims=array.shape,
    )


def _bits(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The numbers' bits: in them −0.0 is not 0."""
    return array.view(f"u{array.itemsize}")


def _with_sparse(model: Any, tensors: Sequence[Any]) -> Any:
    changed = type(model)()
    changed.CopyFrom(model)
    names = {sparse.values.name for sparse in tensors}
    others = [tensor for tensor in changed.graph.initializer if tensor.name not in names]
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(others)
    changed.graph.sparse_initializer.extend(tensors)
    return changed
