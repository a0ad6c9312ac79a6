"""A sparse file is read by torch, numpy and safetensors alone as it is by l1prune."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import torch
from storage_samples import ENCODINGS, network, same_bits

from l1prune.deploy import load_sparse, save_sparse
from l1prune.deploy.encodings import Encoding
from l1prune.runs import reader
from l1prune.runs.reader import read_sparse


def test_it_needs_nothing_of_l1prune() -> None:
    tree = ast.parse(inspect.getsource(reader))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    roots = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
        for node in imports
        for alias in node.names
    }
    assert roots == {"json", "math", "zlib", "numpy", "torch", "safetensors"}


@pytest.mark.parametrize("values", ENCODINGS, ids=repr)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95, 1.0])
def test_every_tensor_is_what_load_sparse_reads(
    tmp_path: Path, values: Encoding, sparsity: float
) -> None:
    file = tmp_path / "w.safetensors"
    model = network(sparsity)
    model[1].bias = model[0].bias  # tied
    save_sparse(model, file, values)
    assert same_bits(read_sparse(str(file)), load_sparse(file))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int16, torch.complex64])
def test_every_dtype_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    file = tmp_path / "w.safetensors"
    state = {"w": (torch.randn(40, 30) * (torch.rand(40, 30) < 0.03) * 9).to(dtype)}
    save_sparse(state, file)
    assert same_bits(read_sparse(str(file)), state)
