"""Files of weights that are broken, foreign or hostile: refused in a sentence, whole, early."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file as save_streams
from storage_samples import ENCODINGS, network, within_a_folder

from l1prune.deploy import load_sparse, save_sparse
from l1prune.deploy.streams import deflated, inflated


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


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
