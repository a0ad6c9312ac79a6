"""Initializers: every bit of them comes back from the sparse form, in onnxruntime too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from l1prune.deploy.initializers import sparse_tensor, sparsified
from l1prune.deploy.sessions import Session

onnx = pytest.importorskip("onnx", reason="needs the extra deploy")
runtime = pytest.importorskip("onnxruntime", reason="needs the extra deploy")


def model(**arrays: Any) -> Any:
    """Takes nothing, and returns what it has stored."""
    helper, numbers = onnx.helper, onnx.numpy_helper
    stored = [numbers.from_array(array, name) for name, array in arrays.items()]
    outputs = [
        helper.make_tensor_value_info(f"{one.name}_out", one.data_type, one.dims) for one in stored
    ]
    nodes = [helper.make_node("Identity", [one.name], [f"{one.name}_out"]) for one in stored]
    graph = helper.make_graph(nodes, "stored", [], outputs, stored)
    opset = helper.make_opsetid("", 20)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


def returned(proto: Any) -> list[Any]:
    onnx.checker.check_model(proto)
    return [out.numpy() for out in Session(proto.SerializeToString()).outputs()]


def accept(proto: Any) -> str | None:
    return None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "bool"])
@pytest.mark.parametrize("shape", [(600,), (20, 30), (3, 5, 4, 10)])
def test_all_bits_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(600, dtype)
    array[[0, 7, 599]] = 1
    if array.dtype.kind == "f":
        array[[1, 2, 3]] = -0.0, np.nan, -np.inf
    array = array.reshape(shape)
    proto, sparse, stayed = sparsified(model(w=array), accept)
    assert (sparse, stayed, len(proto.graph.initializer)) == (["w"], {}, 0)
    [found] = returned(proto)
    assert found.tobytes() == array.tobytes()
    assert len(proto.SerializeToString()) < array.nbytes or dtype in ("int8", "bool")


def test_only_what_gets_smaller_is_sparse() -> None:
    dense, zeros = np.ones((20, 30), "float32"), np.zeros((20, 30), "float32")
    half = np.where(np.arange(600) % 2, 0, 1).astype("float32")
    original = model(dense=dense, half=half, zeros=zeros, one=np.float32(0))
    before = original.SerializeToString()
    proto, sparse, _ = sparsified(original, accept)
    assert sparse == ["zeros"]
    assert [one.name for one in proto.graph.initializer] == ["dense", "half", "one"]
    assert original.SerializeToString() == before
    for found, array in zip(returned(proto), (dense, half, zeros, np.float32(0)), strict=True):
        assert found.tobytes() == array.tobytes()


def test_what_a_runtime_refuses_stays_dense_by_itself() -> None:
    arrays = {name: np.eye(50, dtype="float32") for name in ("a", "b", "c")}

    def refuse(proto: Any) -> str | None:
        names = [one.values.name for one in proto.graph.sparse_initializer]
        return "b is not for me" if "b" in names else None

    proto, sparse, stayed = sparsified(model(**arrays), refuse)
    assert (sparse, stayed) == (["a", "c"], {"b": "b is not for me"})
    assert [one.name for one in proto.graph.initializer] == ["b"]
    assert all((found == np.eye(50)).all() for found in returned(proto))


def test_complex_numbers_are_left_alone() -> None:
    tensor = onnx.numpy_helper.from_array(np.zeros(9, "complex64"), "w")
    assert sparse_tensor(tensor) is None
