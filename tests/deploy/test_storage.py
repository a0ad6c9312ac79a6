"""Files of sparse weights: every bit comes back, and no file can do harm."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file as save_streams
from safetensors.torch import save
from torch import Tensor, nn

from l1prune.deploy import Exact, Half, PlainZeros, RowInt8, load_sparse, save_sparse
from l1prune.deploy.encodings import Code, bits
from l1prune.deploy.index import DTYPES, Entry, read, written
from l1prune.deploy.streams import deflated, inflated

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


def network(sparsity: float = 0.95) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(800, 60))
    for layer in (model[0], model[3]):
        layer.weight.data[torch.rand(layer.weight.shape) < sparsity] = 0.0
    return model


@given(state=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), tensors()))
@within_a_folder
def test_every_bit_comes_back(file: Path, state: dict[str, Tensor]) -> None:
    report = save_sparse(state, file)
    loaded = load_sparse(file)
    assert same_bits({name: loaded[name] for name in state}, state)
    assert loaded.keys() == state.keys()
    assert report.nbytes == file.stat().st_size
    assert not any(change.absolute for change in report.changes.values())


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


def forge(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A file whose index says something else; all that is written of it fits together."""
    with safe_open(str(file), framework="np") as handle:
        streams = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        metadata = handle.metadata()
    text = inflated(streams["index"], int(metadata["index"])).tobytes()
    rows = [change(json.loads(line)) for line in text.splitlines()]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    streams["index"] = deflated(np.frombuffer(text, np.uint8))
    save_streams(streams, str(file), metadata | {"index": str(len(text))})


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a million million weights": ({"shape": [10**6, 10**6]}, "more than the limit"),
    "2**64 and one weight": ({"shape": [2**32, 2**32 + 1]}, "impossible shape"),
    "no weights of huge sizes": ({"shape": [0, 2**40, 2**40]}, "impossible shape"),
    "a negative size": ({"shape": [-60, -800]}, "impossible shape"),
    "sizes that are no numbers": ({"shape": ["60", 800.0]}, "impossible shape"),
    "many dimensions": ({"shape": [1] * 1000}, "impossible shape"),
    "fewer weights": ({"shape": [60, 700]}, "positions"),
    "more values": ({"kept": 2500}, "positions"),
    "fewer values": ({"kept": 1}, "positions"),
    "values without number": ({"kept": 10**12}, "counts"),
    "negative counts": ({"kept": -1}, "counts"),
    "more positions": ({"positions": 2500}, "positions"),
    "positions without number": ({"positions": 10**12}, "counts"),
    "another layout": ({"layout": "mask"}, "positions"),
    "dense": ({"layout": "dense"}, "positions"),
    "an unknown layout": ({"layout": "os.system"}, "unknown layout"),
    "another dtype": ({"stored": "float16"}, "inflate"),
    "an unknown dtype": ({"dtype": "object"}, "dtype 'object'"),
    "a dtype that is none": ({"dtype": ["float32"]}, "not of this format"),
    "scales that are not there": ({"scaled": True}, "float32"),
    "a tie to nothing": ({"tied": "nothing"}, "not of this format"),
    "a name twice": ({"name": "0.weight"}, "twice"),
    "no name": ({"name": None}, "not of this format"),
    "a field more": ({"eval": "1"}, "not of this format"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_before_memory_is_taken(file: Path, lie: str) -> None:
    changes, reason = LIES[lie]
    save_sparse(network(), file)
    forge(file, lambda row: row | changes if row["name"] == "3.weight" else row)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"weights.safetensors cannot be loaded: .*{reason}"):
            load_sparse(file)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_stream_that_inflates_without_end_is_cut_off(file: Path) -> None:
    save_sparse(network(), file)
    with safe_open(str(file), framework="np") as handle:
        streams = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        metadata = handle.metadata()
    bomb = deflated(np.zeros(50_000_000, np.uint8))
    for name in streams:
        save_streams(streams | {name: bomb}, str(file), metadata)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=f"its '{name}' should inflate to"):
                load_sparse(file)
            assert tracemalloc.get_traced_memory()[1] < 3_000_000
        finally:
            tracemalloc.stop()


def test_an_index_of_something_else_ends_at_its_first_line(file: Path) -> None:
    for text in (b"[" * 10**6, b"[]\n" * 10**6, b'{"name":"' + b"a" * 10**7 + b'"}\n', b"\xff\n"):
        data = deflated(np.frombuffer(text, np.uint8))
        save_streams({"index": data}, str(file), {"l1prune": "1", "index": str(len(text))})
        with pytest.raises(ValueError, match="line of the index"):
            load_sparse(file)


@pytest.mark.parametrize(
    "metadata, reason",
    [
        ({"l1prune": "2", "index": "5"}, "version '2'"),
        ({"l1prune": "1"}, "length"),
        ({"l1prune": "1", "index": "-5"}, "length"),
        ({"l1prune": "1", "index": "9" * 5000}, "length"),
        ({"l1prune": "1", "index": "99999999"}, "length"),
        ({"l1prune": "1", "index": "5"}, "it has no 'index'"),
    ],
)
def test_metadata_are_checked(file: Path, metadata: dict[str, str], reason: str) -> None:
    save_streams({"other": np.zeros(3, np.float32)}, str(file), metadata)
    with pytest.raises(ValueError, match=reason):
        load_sparse(file)


@pytest.mark.parametrize("dtype, shape", [("uint8", (2, 3)), ("float32", (6,))])
def test_streams_are_bytes(file: Path, dtype: str, shape: tuple[int, ...]) -> None:
    save_streams({"index": np.zeros(shape, dtype)}, str(file), {"l1prune": "1", "index": "5"})
    with pytest.raises(ValueError, match="no stream of bytes"):
        load_sparse(file)


FOREIGN = {
    "empty": b"",
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00",
    "a zip": b"PK\x03\x04" + bytes(100),
    "a header without end": (2**63).to_bytes(8, "little") + b"{}",
    "offsets that overlap": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
    b'"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
    "negative offsets": b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[-2,0]}}',
    "more than the file has": b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":'
    b"[0,4000000000000]}}",
    "a nested header": b'{"a":' * 10**5 + b"1" + b"}" * 10**5,
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_is_no_such_file_is_refused(file: Path, foreign: str) -> None:
    content = FOREIGN[foreign]
    header = len(content).to_bytes(8, "little") if content.startswith(b'{"') else b""
    file.write_bytes(header + content + bytes(3) * bool(header))
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        load_sparse(file)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ValueError, match="no regular file"):
            load_sparse(path)
    with pytest.raises(FileNotFoundError):
        load_sparse(tmp_path / "missing")


def test_a_limit_is_kept_and_can_be_lifted(file: Path) -> None:
    large = {"w": torch.zeros(2**10, 2**10, dtype=torch.int8)}
    save_sparse(large, file)
    with pytest.raises(ValueError, match=r"limit=1048576"):
        load_sparse(file, limit=2**20 - 1)
    assert load_sparse(file)["w"].shape == large["w"].shape
    with pytest.raises(ValueError, match="limit must be"):
        load_sparse(file, limit=-1)
    with pytest.raises(ValueError, match="more than the limit of 0"):
        load_sparse(file, limit=0)


@given(data=st.data(), encoding=st.sampled_from(ENCODINGS))
@within_a_folder
def test_a_damaged_file_is_refused_or_read(file: Path, data: st.DataObject, encoding: Any) -> None:
    """Most damage is found; a changed name in the header is another name."""
    save_sparse(network(), file, encoding)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 200))
        content[at] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    try:
        load_sparse(file)
    except ValueError as error:
        assert "weights.safetensors" in str(error)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_damaged_weights_are_found(file: Path, encoding: Any) -> None:
    """All streams have a checksum."""
    save_sparse(network(), file, encoding)
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for at in range(start, len(content), 97):
        file.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(ValueError, match="cannot be loaded"):
            load_sparse(file)


@given(share=st.floats(0, 0.9999))
@within_a_folder
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    save_sparse(network(), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        load_sparse(file)


def test_a_file_is_whole_or_not_there(file: Path) -> None:
    save_sparse(network(), file)
    before = file.read_bytes()
    with pytest.raises(ValueError):
        save_sparse({"w": torch.ones(2), "odd": 3}, file)  # type: ignore[dict-item]
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_an_index_is_read_as_it_was_written() -> None:
    entry = Entry("ä\n", "float32", (2, 3), "int8", "mask", 5, 1, True)
    index = {"ä\n": entry, "b": replace(entry, name="b"), "tied": entry}
    assert read(written(index)) == index
