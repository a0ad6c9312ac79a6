"""Reference networks have the published number of weights and fit the images they are built for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from l1prune.zoo import lenet5, lenet300, mlp, resnet20

Build = Callable[[Sequence[int], int], nn.Module]


def weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.ndim > 1)


@pytest.mark.parametrize(
    ("build", "shape", "count"),
    [
        (mlp, (1, 8, 8), 50_432),
        (lenet300, (1, 28, 28), 266_200),  # Han et al., 2015
        (lenet5, (1, 28, 28), 430_500),  # Han et al., 2015
    ],
)
def test_counts_are_the_published_ones(build: Build, shape: Sequence[int], count: int) -> None:
    assert weights(build(shape, 10)) == count


def test_resnet20_has_the_published_parameters_and_its_shortcuts() -> None:
    network = resnet20((3, 32, 32), 10)
    shortcuts = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)  # 1 × 1 convolutions with BatchNorm
    assert sum(p.numel() for p in network.parameters()) - shortcuts == 269_722  # option A: 0.27M
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 19 + 2


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        *(
            (build, shape)
            for build in (mlp, lenet300, resnet20)
            for shape in ((1, 8, 8), (1, 28, 28))
        ),
        *((build, (3, 32, 32)) for build in (mlp, lenet5, resnet20)),
        (lenet5, (1, 28, 28)),
    ],
)
def test_logits_for_each_image_and_class(build: Build, shape: Sequence[int]) -> None:
    assert build(shape, 7)(torch.rand(2, *shape)).shape == (2, 7)


def test_too_small_an_image_is_refused_with_its_size() -> None:
    lenet5((1, 16, 16), 10)
    with pytest.raises(ValueError, match=r"at least 16 × 16, these are 15 × 16"):
        lenet5((1, 15, 16), 10)
