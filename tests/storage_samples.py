"""What files of sparse weights are tried on."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings
from torch import Tensor, nn

from l1prune.deploy import Exact, Half, PlainZeros, RowInt8
from l1prune.deploy.encodings import bits

ENCODINGS = (Exact(), PlainZeros(), Half(), RowInt8())
within_a_folder = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def raw(w: Tensor) -> bytes:
    """All bits of a tensor."""
    return bits(w.contiguous()).numpy().tobytes()


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(
        (w.dtype, w.shape, raw(w)) == (other[name].dtype, other[name].shape, raw(other[name]))
        for name, w in one.items()
    )


def network(sparsity: float = 0.95) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(800, 60))
    for layer in (model[0], model[3]):
        layer.weight.data[torch.rand(layer.weight.shape) < sparsity] = 0.0
    return model
