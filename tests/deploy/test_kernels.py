"""Kernels say which layers they run, and why not the others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from l1prune import SemiStructured
from l1prune.deploy.kernels import (
    KERNELS,
    Bag,
    Csr,
    Kernel,
    SemiStructured24,
    ShiftedBag,
    is_two_of_four,
    matrix_of,
)


@pytest.mark.parametrize(
    ("kernel", "layer", "reason"),
    [
        (Csr(), nn.Linear(4, 4), None),
        (Csr(), nn.Linear(4, 4).double(), None),
        (Csr(), nn.Linear(4, 4).half(), "torch.float16 has no CSR kernel"),
        (Csr(), nn.Conv1d(4, 4, 1), "no linear layer"),
        (Csr(), nn.Embedding(4, 4), "no linear layer"),
        (Bag(), nn.Linear(4, 4).bfloat16(), None),
        (Bag(), nn.Linear(4, 4, dtype=torch.complex64), "torch.complex64 has no embedding bags"),
        (ShiftedBag(), nn.Conv3d(4, 4, 1), None),
        (ShiftedBag(), nn.Conv2d(4, 4, 1, groups=2), "a convolution in 2 groups"),
        (
            ShiftedBag(),
            nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
            "padded by 'reflect', not with zeros",
        ),
        (ShiftedBag(), nn.ConvTranspose2d(4, 4, 1), "no convolution"),
        (SemiStructured24(), nn.Linear(4, 4), "cpu has no 2:4 units"),
        (SemiStructured24(), nn.Conv1d(4, 4, 1), "no linear layer"),
    ],
)
def test_what_each_runs(kernel: Kernel, layer: nn.Module, reason: str | None) -> None:
    assert kernel.refusal(layer) == reason


def test_subclasses_may_compute_otherwise() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    assert all(kernel.refusal(Scaled(4, 4)) is not None for kernel in KERNELS)


def test_subclasses_that_compute_alike_are_linear_layers() -> None:
    assert Csr().refusal(nn.MultiheadAttention(4, 1).out_proj) is None


def test_transformers_store_the_inputs_first() -> None:
    pytest.importorskip("transformers")
    from transformers.pytorch_utils import Conv1D

    layer, x = Conv1D(3, 5), torch.ones(2, 5)
    nn.init.ones_(layer.bias)
    matrix = matrix_of(layer)
    assert matrix is not None and matrix.shape == (3, 5)
    for kernel in (Csr(), Bag()):
        assert kernel.refusal(layer) is None
        torch.testing.assert_close(kernel.build(layer)(x), layer(x))


def test_building_leaves_the_layer_as_it_is() -> None:
    layer = nn.Linear(4, 4)
    before = layer.weight.clone()
    for kernel in (Csr(), Bag()):
        for tensor in kernel.build(layer).state_dict().values():
            if tensor.is_floating_point() and tensor is not layer.bias:
                assert tensor.data_ptr() != layer.weight.data_ptr()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("seed", range(3))
def test_what_semi_structured_cuts_has_the_pattern(seed: int) -> None:
    weight = torch.randn(6, 16, generator=torch.Generator().manual_seed(seed))
    (keep,) = SemiStructured(2, 4).keep([weight.abs()], [1])
    assert is_two_of_four(weight * keep)
    assert is_two_of_four(weight * keep * (torch.arange(16) > 3))  # fewer are as good
    assert not is_two_of_four((weight * keep).T)
    (one_more,) = SemiStructured(3, 4).keep([weight.abs()], [1])
    assert not is_two_of_four(weight * one_more)


def test_no_pattern_without_whole_blocks() -> None:
    assert not is_two_of_four(torch.zeros(4, 6))
    assert not is_two_of_four(torch.zeros(4, 4, 3, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="2:4 units are those of GPUs")
def test_gpus_with_units_take_16_bit_floats_in_the_pattern() -> None:
    layer = nn.Linear(64, 64).cuda()
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no 2:4 units")
    kernel = SemiStructured24()
    assert "16-bit" in str(kernel.refusal(layer))
    assert "more than two" in str(kernel.refusal(layer.half()))
    with torch.no_grad():
        layer.weight *= torch.tensor([1, 0, 0, 1], device="cuda").repeat(16)
    assert kernel.refusal(layer) is None
