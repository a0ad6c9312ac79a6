"""Layers of few weights compute what dense ones do, wherever and however they are taken."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from l1prune.deploy.kernels import Bag, Csr, ShiftedBag
from l1prune.deploy.sparse_layers import SemiStructuredLinear
from l1prune.deploy.switch import Switch, frozen

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
Build = Callable[[nn.Module], nn.Module]
LINEAR: list[Build] = [Csr().build, Bag().build]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def thinned(layer: nn.Module, zeros: float, seed: int = 0) -> nn.Module:
    """A layer with random weights, of which a share is zero."""
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed + number))
        source = torch.Generator().manual_seed(seed)
        layer.weight *= torch.rand(layer.weight.shape, generator=source) >= zeros
    return layer


def assert_same(form: nn.Module, layer: nn.Module, x: Tensor, rel: float = 1e-5) -> None:
    found, expected = form(x), layer(x)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert found.is_contiguous()  # as what a dense layer gives: some models take views of it
    scale = float(expected.detach().abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=rel, atol=rel * (scale + 1))


ZEROS, SEEDS = st.sampled_from([0.0, 0.6, 0.97, 1.0]), st.integers(0, 99)
LINEAR_LAYERS = st.builds(
    thinned,
    st.builds(nn.Linear, st.integers(1, 33), st.integers(1, 17), bias=st.booleans()),
    ZEROS,
    SEEDS,
)
STEPS = {
    "kernel_size": st.integers(1, 4),
    "stride": st.integers(1, 3),
    "padding": st.sampled_from([0, 1, 3, "valid"]),
    "dilation": st.integers(1, 2),
    "bias": st.booleans(),
}
SAME = {  # takes no strides, and warns of even kernels
    **STEPS,
    "kernel_size": st.sampled_from([1, 3]),
    "stride": st.just(1),
    "padding": st.just("same"),
}
CONV_LAYERS = st.builds(
    thinned,
    st.one_of(
        st.builds(kind, st.integers(1, 6), st.integers(1, 5), **how)
        for kind in CONVS
        for how in (STEPS, SAME)
    ),
    ZEROS,
    SEEDS,
)


@QUICK
@given(
    build=st.sampled_from(LINEAR),
    layer=LINEAR_LAYERS,
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_linear_layer_is_the_same_for_inputs_of_all_shapes(
    build: Build, layer: nn.Module, shape: list[int], dtype: torch.dtype
) -> None:
    layer = layer.to(dtype)
    assert_same(build(layer), layer, normal(*shape, layer.in_features).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("inputs", [1, 2])
def test_no_rows_in_are_no_rows_out(inputs: int, dtype: torch.dtype) -> None:
    layer = nn.Linear(inputs, 7).to(dtype)
    for build in LINEAR:
        assert_same(build(layer), layer, torch.ones(0, inputs, dtype=dtype))
    conv = nn.Conv1d(inputs, 7, 1).to(dtype)
    assert_same(ShiftedBag().build(conv), conv, torch.ones(0, inputs, 3, dtype=dtype))


@QUICK
@given(layer=CONV_LAYERS, images=st.sampled_from([None, 1, 3]))
def test_a_convolution_is_the_same_however_it_steps(layer: Any, images: int | None) -> None:
    sizes = [layer.in_channels, 11, 8, 7][: layer.weight.ndim - 1]
    assert_same(ShiftedBag().build(layer), layer, normal(*[images] * bool(images), *sizes))


@QUICK
@given(
    layer=CONV_LAYERS,
    images=st.sampled_from([None, 0, 1, 3]),
    sizes=st.lists(st.integers(0, 5), min_size=3, max_size=3),
)
def test_a_convolution_refuses_the_inputs_that_a_dense_one_does(
    layer: Any, images: int | None, sizes: list[int]
) -> None:
    shape = [layer.in_channels, *sizes[: layer.weight.ndim - 2]]
    x = normal(*shape if images is None else (images, *shape))
    form = ShiftedBag().build(layer)
    try:
        layer(x)
    except RuntimeError:
        with pytest.raises(RuntimeError, match=r"the input has sizes .* the kernel needs"):
            form(x)
    else:
        assert_same(form, layer, x)


def test_more_images_than_fit_the_table_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = thinned(nn.Conv2d(4, 3, 3, padding=1), 0.8)
    form, x = ShiftedBag().build(layer), normal(7, 4, 6, 5)
    at_once = form(x)
    monkeypatch.setattr("l1prune.deploy.sparse_layers._TABLE", 2 * 4 * 9 * 30)
    assert torch.equal(form(x), at_once)
    assert_same(form, layer, x)


def test_places_and_channels_without_weights_are_not_gathered() -> None:
    layer = thinned(nn.Conv2d(8, 4, 3), 0.0)
    with torch.no_grad():
        kept = torch.zeros_like(layer.weight)
        kept[:, 2, 0, 1] = kept[:, 5, 2, 2] = kept[:, 6, 2, 2] = 1
        layer.weight *= kept
    form: Any = ShiftedBag().build(layer)
    assert form.size == (4, 3) and form.shifts == [(0, 1), (2, 2)]
    assert_same(form, layer, normal(2, 8, 5, 5))


def cases() -> list[tuple[nn.Module, nn.Module, Tensor]]:
    linear, conv = thinned(nn.Linear(12, 7), 0.8), thinned(nn.Conv2d(5, 4, 3), 0.8)
    forms = [build(linear) for build in LINEAR]
    switch = Switch([frozen(linear), forms[1]], [24])
    found = [(form, linear, normal(3, 12)) for form in (*forms, switch)]
    found.append((SemiStructuredLinear(linear.weight, linear.bias), linear, normal(3, 12)))
    found.append((frozen(conv), conv, normal(2, 5, 6, 6)))
    return [*found, (ShiftedBag().build(conv), conv, normal(2, 5, 6, 6))]


@pytest.fixture(params=cases(), ids=lambda case: type(case[0]).__name__)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, Tensor]:
    found: tuple[nn.Module, nn.Module, Tensor] = copy.deepcopy(request.param)
    return found


Case = tuple[nn.Module, nn.Module, Tensor]


def test_they_can_be_copied_pickled_and_converted(case: Case) -> None:
    form, layer, x = case
    file = io.BytesIO()
    torch.save(form, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(form),
        pickle.loads(pickle.dumps(form)),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(twin(x), form(x))
    exact = copy.deepcopy(form).double()
    torch.testing.assert_close(exact(x.double()), copy.deepcopy(layer).double()(x.double()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_they_run_in_16_bits(case: Case, dtype: torch.dtype) -> None:
    form, layer, x = case
    assert_same(form.to(dtype), layer.to(dtype), x.to(dtype), rel=0.02)


def test_they_are_restored_by_their_state(case: Case) -> None:
    form, _, x = case
    other, expected = copy.deepcopy(form), form(x)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            if tensor.is_floating_point():
                tensor.zero_()
    assert not torch.equal(other(x), expected)
    other.load_state_dict(form.state_dict())
    assert torch.equal(other(x), expected)


def test_they_run_in_inference_mode_and_after_it(case: Case) -> None:
    form, layer, x = case
    with torch.inference_mode():
        assert_same(form, layer, x)
        assert_same(form, layer, x[:1])
    assert_same(form, layer, x)


@pytest.mark.parametrize("rows", [1, 3])
def test_gradients_reach_the_inputs_and_the_bias(case: Case, rows: int) -> None:
    form, layer, x = case
    x = x[:rows]
    gradients = []
    for module in (form, layer):
        inputs = x.clone().requires_grad_()
        gradients.append(
            torch.autograd.grad(module(inputs).square().sum(), (inputs, layer.bias))
            if module is layer
            else torch.autograd.grad(module(inputs).square().sum(), (inputs, *form.parameters()))
        )
    for found, expected in zip(*gradients):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_weights_are_not_trained(case: Case) -> None:
    assert [name.rpartition(".")[2] for name, _ in case[0].named_parameters()] == ["bias"]


def test_they_export_for_all_batch_sizes(case: Case) -> None:
    form, layer, x = case
    sizes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(form, (torch.cat([x, x]),), dynamic_shapes=sizes)
    for many in (1, 2, 9):
        assert_same(program.module(), layer, x[:1].repeat(many, *[1] * (x.ndim - 1)))


@pytest.mark.parametrize("floats", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3])
def test_autocast_makes_of_them_what_it_makes_of_dense_ones(
    case: Case, floats: torch.dtype, given: torch.dtype, rows: int
) -> None:
    form, layer, x = case
    x = x[:rows].to(given)
    with torch.autocast("cpu", floats):
        assert_same(form, layer, x, rel=0.02)


def test_autocast_leaves_float64_alone(case: Case) -> None:
    form, layer, x = case
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(form.double(), layer.double(), x.double(), rel=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="2:4 units are those of GPUs")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_two_of_four_run_packed_on_gpus(dtype: torch.dtype) -> None:
    layer = nn.Linear(128, 128).cuda().to(dtype)
    with torch.no_grad():
        layer.weight *= torch.tensor([1, 0, 0, 1], device="cuda").repeat(32)
    form = SemiStructuredLinear(layer.weight, layer.bias)
    x = normal(64, 128).cuda().to(dtype)
    for twin in (form, copy.deepcopy(form), pickle.loads(pickle.dumps(form))):
        assert twin._packed is not None
        torch.testing.assert_close(twin(x), layer(x), rtol=0.02, atol=0.02)
    assert form.cpu()._packed is None
