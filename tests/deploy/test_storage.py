"""Files of sparse weights: every bit comes back, or what is said to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from storage_samples import ENCODINGS, network, raw, same_bits, within_a_folder
from torch import Tensor, nn

from l1prune.deploy import Exact, Half, PlainZeros, RowInt8, load_sparse, save_sparse
from l1prune.deploy.encodings import Code
from l1prune.deploy.index import DTYPES


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any bits at all, in any dtype and shape, a share of them zero; not always contiguous."""
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    shape = draw(st.lists(st.integers(0, 7), max_size=3).map(tuple) | st.just((3, 700)))
    total = torch.Size(shape).numel()
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    numbers = random.integers(0, 256, (total, dtype.itemsize), dtype=np.uint8)
    numbers[random.random(total) < draw(st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0]))] = 0
    if dtype == torch.bool:
        numbers &= 1
    w = torch.from_numpy(numbers.reshape(-1)).view(dtype).view(shape)
    return w.transpose(0, -1) if w.ndim > 1 and draw(st.booleans()) else w


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


@given(state=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), tensors()))
@within_a_folder
def test_every_bit_comes_back(file: Path, state: dict[str, Tensor]) -> None:
    report = save_sparse(state, file)
    loaded = load_sparse(file)
    assert same_bits({name: loaded[name] for name in state}, state)
    assert loaded.keys() == state.keys()
    assert report.nbytes == file.stat().st_size
    assert not any(change.absolute for change in report.changes.values())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_others_may_read_it_as_any_file_that_one_writes(file: Path, tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    save_sparse(network(), file)
    assert file.stat().st_mode == usual.stat().st_mode


@given(state=st.dictionaries(st.text("abc_.", min_size=1, max_size=5), tensors(), max_size=4))
@within_a_folder
def test_no_file_is_larger_than_a_dense_one(file: Path, state: dict[str, Tensor]) -> None:
    save_sparse(state, file)
    dense = save({name: w.contiguous() for name, w in state.items()})
    assert file.stat().st_size <= 1.01 * len(dense)


@pytest.mark.parametrize("special", [float("nan"), -0.0, float("inf"), 1e-45, -1e38])
def test_special_values_are_values(file: Path, special: float) -> None:
    w = torch.zeros(50, 50)
    w[3, 4] = w[49, 49] = special
    payload = torch.tensor([0x7FC12345, -0x3EDCC]).to(torch.int32).view(torch.float32)
    save_sparse({"w": w, "nan": torch.cat([payload, torch.zeros(500)])}, file)
    loaded = load_sparse(file)
    assert raw(loaded["w"]) == raw(w)
    assert raw(loaded["nan"][:2]) == raw(payload)


@pytest.mark.parametrize("zeros", [0, 1, 254, 255, 256, 509, 510, 511, 300_000])
def test_gaps_of_any_length_come_back(file: Path, zeros: int) -> None:
    w = torch.zeros(2 * zeros + 5)
    w[zeros], w[2 * zeros + 1], w[-1] = 1.0, 2.0, 3.0
    save_sparse({"w": w}, file)
    assert torch.equal(load_sparse(file)["w"], w)


def test_tied_tensors_are_written_once_and_are_one_again(file: Path) -> None:
    model = nn.Sequential(nn.Embedding(100, 20), nn.Linear(20, 100, bias=False))
    model[1].weight = model[0].weight
    report = save_sparse(model, file)
    loaded = load_sparse(file)
    assert report.dense_nbytes == 100 * 20 * 4
    assert list(loaded) == ["0.weight", "1.weight"] and loaded["0.weight"] is loaded["1.weight"]


def test_any_name_will_do(file: Path) -> None:
    state = {
        name: torch.ones(1) for name in ("__metadata__", "index", "l1prune", "", "a\n", "\ud800")
    }
    save_sparse(state, file)
    assert same_bits(load_sparse(file), state)


def test_the_order_of_a_state_dict_is_kept(file: Path) -> None:
    model = network()
    save_sparse(model, file)
    assert same_bits(load_sparse(file), model.state_dict())


@pytest.mark.parametrize(
    "encoding, times", [(Exact(), 16), (Half(), 25), (RowInt8(), 30)], ids=repr
)
def test_a_sparse_network_takes_little(file: Path, encoding: Any, times: float) -> None:
    """At 95 % zeros, 4 bytes in 20 weights and a byte of gap would be 16 times less."""
    assert save_sparse(network(), file, encoding).compression > times


def test_a_mask_by_product_costs_nothing_without_the_signs_of_zeros(file: Path) -> None:
    torch.manual_seed(0)
    w = torch.randn(300, 300) * (torch.rand(300, 300) < 0.05)  # negative · 0 = −0.0
    exact = save_sparse({"w": w}, file)
    assert raw(load_sparse(file)["w"]) == raw(w)
    assert "PlainZeros()" in str(exact) and exact.signed_zeros > 30_000
    plain = save_sparse({"w": w}, file, PlainZeros())
    assert torch.equal(load_sparse(file)["w"], w)
    assert plain.nbytes < 0.6 * exact.nbytes and plain.signed_zeros == 0


@given(w=tensors(), encoding=st.sampled_from(ENCODINGS))
@within_a_folder
def test_what_an_encoding_changes_is_what_it_says(file: Path, w: Tensor, encoding: Any) -> None:
    report = save_sparse({"w": w}, file, encoding)
    loaded = load_sparse(file)["w"]
    if not w.dtype.is_floating_point or w.itemsize == 1:
        assert raw(loaded) == raw(w)
        return
    was, now = w.double(), loaded.double()
    assert torch.equal(was.isfinite(), now.isfinite())
    assert torch.equal(was.isnan(), now.isnan())
    apart = (was - now).abs().nan_to_num(0.0)
    assert report.changes["w"].absolute == (float(apart.max()) if apart.numel() else 0.0)


def test_float16_rounds_by_half_a_unit_at_most(file: Path) -> None:
    torch.manual_seed(0)
    w = torch.randn(100, 100)
    change = save_sparse({"w": w}, file, Half()).changes["w"]
    assert 0 < change.relative <= 2**-11
    assert torch.equal(load_sparse(file)["w"], w.half().float())


def test_int8_rounds_by_half_a_step_of_its_row(file: Path) -> None:
    torch.manual_seed(0)
    w = torch.randn(20, 30, 3) * torch.logspace(-8, 8, 20).view(-1, 1, 1)
    w[4] = 0.0
    save_sparse({"w": w}, file, RowInt8())
    step = w.abs().amax((1, 2), keepdim=True) / 127
    assert ((load_sparse(file)["w"] - w).abs() <= 0.5001 * step).all()


@pytest.mark.parametrize("encoding", [Half(), RowInt8()], ids=repr)
def test_what_cannot_be_rounded_stays_exact(file: Path, encoding: Any) -> None:
    state = {
        "indices": torch.arange(5),
        "large": torch.tensor([[1e30, 1.0], [0.0, -2.1]], dtype=torch.float64) * 1e200,
        "nan": torch.tensor([[float("nan"), 70000.1]]),
    }
    save_sparse(state, file, encoding)
    assert same_bits(load_sparse(file), state)


def test_an_encoding_of_ones_own_is_read_without_its_class(file: Path) -> None:
    @dataclass(frozen=True)
    class Signs:
        def code(self, w: Tensor) -> Code:
            return Code(w.sign().to(torch.int8), w.abs().flatten(1).mean(1))

    w = torch.tensor([[3.0, -3.0, 0.0], [1.0, 1.0, 1.0]]).repeat(1, 200)
    save_sparse({"w": w}, file, Signs())
    signs = torch.tensor([[2.0, -2.0, 0.0], [1.0, 1.0, 1.0]]).repeat(1, 200)
    assert torch.equal(load_sparse(file)["w"], signs)


def test_an_encoding_that_changes_the_shape_is_refused(file: Path) -> None:
    class Flat:
        def code(self, w: Tensor) -> Code:
            return Code(w.flatten())

    with pytest.raises(ValueError, match="another shape"):
        save_sparse(network(), file, Flat())
    with pytest.raises(ValueError, match=r"object as Half\(\)"):
        save_sparse(network(), file, "half")  # type: ignore[arg-type]
    assert not any(file.parent.iterdir())


@pytest.mark.parametrize(
    "value, reason",
    [
        (3.0, "float"),
        (torch.eye(3).to_sparse(), "plain"),
        (torch.empty(3, device="meta"), "plain"),
        (torch.zeros(3, dtype=torch.complex128), "complex128"),
    ],
    ids=str,
)
def test_what_is_no_plain_tensor_is_refused_by_name(file: Path, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"'odd'.*{reason}"):
        save_sparse({"w": torch.ones(3), "odd": value}, file)


def test_a_model_is_filled_in_place(file: Path) -> None:
    source, target = network(), network(0.0)
    parameters = list(target.parameters())
    save_sparse(source, file)
    load_sparse(file, target)
    assert same_bits(target.state_dict(), source.state_dict())
    assert all(one is other for one, other in zip(parameters, target.parameters()))


OTHERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "fewer": (lambda: network()[:3], "the model lacks 3.bias, 3.weight"),
    "more": (lambda: network().append(nn.Linear(60, 2)), "it lacks 4.bias, 4.weight"),
    "dtype": (lambda: network().double(), r"'0.weight' is float32 \[8, 3, 3, 3\] in the file"),
    "shape": (
        lambda: nn.Sequential(*network()[:3], nn.Linear(801, 60)),
        r"float32 \[60, 801\] in the model",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_model_is_refused_and_left_alone(file: Path, other: str) -> None:
    build, reason = OTHERS[other]
    save_sparse(network(), file)
    model = build()
    before = {name: w.clone() for name, w in model.state_dict().items()}
    with pytest.raises(ValueError, match=reason):
        load_sparse(file, model)
    assert same_bits(model.state_dict(), before)


def test_weights_that_differ_do_not_fill_tied_ones(file: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    save_sparse(model, file)
    tied = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="one tensor in the model and two in the file"):
        load_sparse(file, tied)


def test_a_plain_file_is_read_too(file: Path) -> None:
    state = dict(sorted(network().state_dict().items()))
    file.write_bytes(save(state))
    assert same_bits(dict(sorted(load_sparse(file).items())), state)


def test_a_file_is_whole_or_not_there(file: Path) -> None:
    save_sparse(network(), file)
    before = file.read_bytes()
    with pytest.raises(ValueError):
        save_sparse({"w": torch.ones(2), "odd": 3}, file)  # type: ignore[dict-item]
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]
