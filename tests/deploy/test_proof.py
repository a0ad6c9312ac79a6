"""Proof: all is computed in float64, whatever a model says, and nothing that differs is missed."""

from __future__ import annotations

import math

import pytest
import torch
from dead_units import Apply
from torch import Tensor, nn

from l1prune.deploy.proof import difference, exact_outputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_asks_for_less_is_run_in_float64(dtype: torch.dtype) -> None:
    def call(m: nn.Module, x: Tensor) -> Tensor:
        square = m.layer(x).to(torch.float32).square().mean(-1, keepdim=True)
        scale = torch.zeros(1, dtype=torch.float32)
        scale += 3
        return (x.float() * torch.rsqrt(square) * scale).type(dtype)

    torch.manual_seed(0)
    model = Apply(call, layer=nn.Linear(5, 5)).to(dtype)
    x = torch.randn(3, 5).to(dtype)
    before = torch.get_default_dtype()
    (found,) = exact_outputs(model, ((x,), {}))
    weight, bias = model.layer.weight.double(), model.layer.bias.double()
    y = x.double() @ weight.T + bias
    expected = 3 * x.double() / y.square().mean(-1, keepdim=True).sqrt()
    assert found.dtype == torch.double
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    assert torch.get_default_dtype() == before and model.layer.weight.dtype == dtype


def test_recurrent_and_attention_layers_run_in_float64() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4)
    for layer in (
        *(nn.LSTM(4, 5, batch_first=True), nn.GRU(4, 5)),
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval(),
    ):
        outputs = exact_outputs(layer, ((x,), {}))
        exact = layer.double()(x.double())
        exact = exact[0] if isinstance(exact, tuple) else exact
        torch.testing.assert_close(outputs[0], exact, rtol=1e-12, atol=1e-14)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 2.5], 0.25),
        ([0.0, 0.0], [0.0, 0.1], INF),
        ([1.0, NAN, INF], [1.0, NAN, INF], 0.0),
        ([1.0, NAN], [1.0, 1.0], INF),
        ([1.0, 1.0], [1.0, NAN], INF),
        ([1.0, INF], [1.0, -INF], INF),
        ([1.0, 1.0], [1.0], INF),
    ],
)
def test_the_difference_of_two_outputs(one: list[float], other: list[float], gap: float) -> None:
    assert difference([torch.tensor(one)], [torch.tensor(other)]) == gap


def test_outputs_that_are_no_tensors_have_to_be_equal() -> None:
    assert difference([1, "a", None], [1, "a", None]) == 0
    assert difference([1], [2]) == difference([1], [1, 1]) == difference([True], [None]) == INF
    assert difference([torch.tensor([1, 2])], [torch.tensor([1, 3])]) == INF
