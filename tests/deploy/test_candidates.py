"""Which layers may run sparse, why others may not, and what they are called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from dead_units import Apply
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from l1prune.deploy.candidates import candidates, recorded
from l1prune.deploy.kernels import KERNELS
from l1prune.deploy.proof import outputs


def halved(layer: Any) -> Any:
    """A layer without more than half of its weights."""
    with torch.no_grad():
        layer.weight.flatten()[: layer.weight.numel() * 3 // 4] = 0
    return layer


def tied() -> nn.Module:
    model = nn.Sequential(nn.Embedding(8, 4), halved(nn.Linear(4, 8)))
    model[1].weight = model[0].weight
    return halved(model[0]) and model


def at_two_places() -> nn.Module:
    layer = halved(nn.Linear(4, 4))
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda: nn.Sequential(halved(nn.Linear(4, 4)), halved(nn.Conv2d(4, 4, 3))), {}),
        (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.ReLU()), {}),
        (lambda: nn.Sequential(nn.Linear(4, 4)), {"0": "0 % of its weights are zero, too few"}),
        (
            tied,
            {
                "0": "its weight is that of 1, too",
                "1": "its weight is that of 0, too",
            },
        ),
        (at_two_places, {"0": "it is at another place of the model, too: 2"}),
        (
            lambda: nn.Sequential(weight_norm(halved(nn.Linear(4, 4)))),
            {"0": "it is parametrized: what its weight is changes"},
        ),
        (
            lambda: nn.Sequential(halved(nn.Conv2d(4, 4, 3, groups=4))),
            {"0": "no linear layer; a convolution in 4 groups"},
        ),
        (
            lambda: nn.Sequential(halved(nn.Embedding(4, 4))),
            {"0": "no linear layer; no convolution"},
        ),
    ],
)
def test_what_stays_dense_is_named_with_the_reason(
    build: Callable[[], nn.Module], left: dict[str, str]
) -> None:
    assert candidates(build(), KERNELS)[1] == left


def test_rows_are_all_dimensions_but_the_channels() -> None:
    model = Apply(
        lambda m, x, y: (m.conv(x), m.conv(x[0]), m.linear(y), m.linear(y[0, 0])),
        conv=halved(nn.Conv2d(4, 4, 3)),
        linear=halved(nn.Linear(8, 3)),
    )
    found, _ = candidates(model, KERNELS)
    call = ((torch.ones(2, 4, 5, 6), torch.ones(2, 7, 8)), {})
    seen, otherwise = recorded(lambda c: outputs(model, c), found, call)
    assert {name: list(inputs) for name, inputs in seen.items()} == {
        "conv": [60, 30],
        "linear": [14, 1],
    }
    assert not otherwise
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_layer_called_by_keyword_is_told_apart() -> None:
    model = Apply(lambda m, x: m.linear(input=x), linear=halved(nn.Linear(8, 3)))
    found, _ = candidates(model, KERNELS)
    call = ((torch.ones(2, 8),), {})
    assert recorded(lambda c: outputs(model, c), found, call)[1] == {"linear"}


def test_hooks_go_when_the_model_fails() -> None:
    model = nn.Sequential(halved(nn.Linear(8, 3)))
    found, _ = candidates(model, KERNELS)
    with pytest.raises(RuntimeError):
        recorded(lambda c: outputs(model, c), found, ((torch.ones(2, 7),), {}))
    assert not model[0]._forward_pre_hooks
