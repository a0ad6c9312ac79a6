"""Shapes: modules say the sizes that they have, and small files fit into full-size models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from l1prune.deploy import load_compact

PAIRS: dict[str, Callable[[int], nn.Module]] = {
    "linear": lambda n: nn.Sequential(nn.Linear(4, n), nn.Linear(n, 3, bias=False)),
    "convolutions": lambda n: nn.Sequential(nn.Conv2d(3, n, 3), nn.Conv2d(n, 2, 1)),
    "transposed": lambda n: nn.Sequential(nn.ConvTranspose1d(3, n, 3), nn.ConvTranspose1d(n, 2, 1)),
    "depthwise": lambda n: nn.Sequential(nn.Conv2d(n, 2 * n, 3, groups=n)),
    "batch norm": lambda n: nn.Sequential(nn.BatchNorm2d(n), nn.BatchNorm1d(n, affine=False)),
    "slopes": lambda n: nn.Sequential(nn.PReLU(n)),
    "embedding": lambda n: nn.Sequential(nn.Embedding(9, n)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_full_size_model_becomes_the_small_one(name: str) -> None:
    make = PAIRS[name]
    small, full = make(6), make(8)
    assert load_compact(full, small.state_dict()) is full
    assert str(full) == str(small)
    for one, other in zip(full.state_dict().values(), small.state_dict().values()):
        assert torch.equal(one, other) and one.data_ptr() != other.data_ptr()


def test_tied_weights_stay_tied() -> None:
    def make(width: int) -> nn.Sequential:
        model = nn.Sequential(nn.Embedding(9, width), nn.Linear(width, 9, bias=False))
        model[1].weight = model[0].weight
        return model

    full = load_compact(make(8), make(5).state_dict())
    assert full[0].weight is full[1].weight and full[1].in_features == 5  # type: ignore[index]


def test_frozen_weights_stay_frozen() -> None:
    full = nn.Linear(4, 8).requires_grad_(False)
    assert not load_compact(full, nn.Linear(4, 2).state_dict()).weight.requires_grad


@pytest.mark.parametrize(
    "state",
    [{"weight": torch.ones(9, 4), "bias": torch.ones(8)}, {"weight": torch.ones(4)}],
    ids=["larger", "of other dimensions"],
)
def test_a_file_of_another_model_is_refused_and_nothing_is_touched(
    state: dict[str, torch.Tensor],
) -> None:
    model = nn.Linear(4, 8)
    with pytest.raises(ValueError, match=r"weight is .* build the model as it was"):
        load_compact(model, state)
    assert str(model) == str(nn.Linear(4, 8))


def test_a_name_that_is_missing_is_named() -> None:
    with pytest.raises(RuntimeError, match="bias"):
        load_compact(nn.Linear(4, 8), {"weight": torch.ones(2, 4)})
