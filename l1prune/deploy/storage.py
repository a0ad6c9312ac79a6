"""Storage: the weights of a sparse network, in a file that is as small as they are few.

The file is one of safetensors. Its metadata has the version of the format; its tensors are zlib
streams of bytes: ``index``, a line of JSON for each tensor with its dtype, shape and counts;
``positions``, where the kept weights of one tensor after the other lie; and for each dtype its
values, all first bytes before all second ones. Nothing in it is ever executed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save
from torch import Tensor, nn

from l1prune.checks import check_object, is_whole
from l1prune.deploy.archives import FORMAT, VERSION, opened
from l1prune.deploy.encodings import Change, Code, Encoding, Exact, bits, change
from l1prune.deploy.index import Entry, Index, dense, written
from l1prune.deploy.positions import Bytes, smallest
from l1prune.deploy.states import State, check_fits, fill_, first_names, plain, state_of
from l1prune.deploy.storage_report import StorageReport
from l1prune.deploy.streams import deflated, shuffled
from l1prune.weights import files
from l1prune.weights.bits import HALVES

_USUAL = 1 << 30  # bytes that any file may ask for,
_TIMES = 1000  # or so many times its own size: more zeros than 99.9 % are rare


def save_sparse(
    source: nn.Module | Mapping[str, Tensor], file: str | Path, values: Encoding = Exact()
) -> StorageReport:
    """Write weights into one file: the kept ones, and where they are.

    Each tensor takes a byte of gap for each weight that is not zero, or a bit for every weight, or
    is stored dense, whichever is smallest; all is deflated. Where that saves nothing, the file is
    a plain one of safetensors, so that none is larger than that. Tied tensors are written once. A
    file that was there is replaced when the new one is whole.

    Args:
        source: a model, or its state dict; tensors of any dtype that safetensors stores.
        file: where to; the usual suffix is ``.safetensors``.
        values: as what the values are stored: `Exact()`, every bit of them; `PlainZeros()`, with
            −0.0 as 0.0; `Half()`, float16; `RowInt8()`; or an `Encoding` of your own.

    Returns:
        How each tensor is stored, how far its values are from what they were, and the sizes.

    Raises:
        ValueError: something in `source` is no plain tensor.

    >>> import tempfile
    >>> model = nn.Linear(100, 100)
    >>> _ = nn.init.sparse_(model.weight, 0.95)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = save_sparse(model, f"{folder}/weights.safetensors")
    ...     state = load_sparse(f"{folder}/weights.safetensors")
    >>> report.compression > 12, torch.equal(state["weight"], model.weight)
    (True, True)
    """
    check_object("values", values, ("code",), "Half()")
    file = Path(file)
    state = state_of(source)
    names = first_names(state)
    own = {name: plain(state[name]) for name in dict.fromkeys(names.values())}
    part = file.with_name(f"{file.name}.part")
    try:
        report = _write(own, names, values, part)
        if report.nbytes > report.dense_nbytes and len(own) == len(state):
            report = _write_dense(own, part, report)
        files.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return report


def load_sparse(
    file: str | Path, model: nn.Module | None = None, limit: int | None = None
) -> dict[str, Tensor]:
    """Read the weights that `save_sparse` wrote, or a plain file of safetensors.

    All that a file promises is checked before memory is taken for it: counts against each other,
    against the file's real size and against a limit, or against the model.

    Args:
        file: as `save_sparse` wrote it.
        model: filled in place, on its device, if names, shapes and dtypes are those of the file.
            It is changed as a whole or not at all.
        limit: bytes that the tensors may take in memory; by default a gibibyte, or a thousand times
            the size of the file if that is more. A model that fits is a limit of its own.

    Returns:
        The state dict, on the CPU; tied tensors are one tensor again.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, of another format or version, larger than allowed, or of another
            model.
    """
    if limit is not None and not is_whole(limit, 0):
        raise ValueError(f"limit must be a number of bytes, as 2**30, got {limit!r}")
    file = Path(file)
    with opened(file) as archive:
        if model is None:
            usual = max(_USUAL, _TIMES * file.stat().st_size)
            _check_size(archive.index, usual if limit is None else limit)
        else:
            check_fits(model, archive.index)
        tensors = archive.tensors()
        state = {name: tensors[entry.name] for name, entry in archive.index.items()}
        if model is not None:
            fill_(model, state)
    return state


@dataclass(frozen=True)
class _Part:
    """What is written of one tensor; numbers as integers of as many bits."""

    entry: Entry
    positions: Bytes
    values: npt.NDArray[Any]
    scale: npt.NDArray[Any]
    change: Change
    signed_zeros: int


def _part(name: str, w: Tensor, encoding: Encoding) -> _Part:
    code = _code(name, w, encoding)
    stored = code.values.contiguous()
    flat = bits(stored).numpy().reshape(-1)
    layout, positions = smallest(flat)
    kept = flat if layout == "dense" else flat[flat != 0]
    scale = torch.empty(0) if code.scale is None else code.scale
    entry = replace(
        dense(name, w),
        stored=dense(name, stored).dtype,
        layout=layout,
        kept=kept.size,
        positions=positions.size,
        scaled=code.scale is not None,
    )
    entry.check()
    same = stored.data_ptr() == w.data_ptr()
    changed = Change() if same else change(w, code.decoded(w.dtype))
    signed_zeros = _signed_zeros(torch.from_numpy(kept), stored.dtype)
    return _Part(entry, positions, kept, bits(scale).numpy(), changed, signed_zeros)


def _signed_zeros(kept: Tensor, dtype: torch.dtype) -> int:
    if dtype not in (torch.float64, torch.float32, *HALVES):
        return 0
    return int((kept.view(dtype) == 0).sum() - (kept == 0).sum())


def _code(name: str, w: Tensor, encoding: Encoding) -> Code:
    code = encoding.code(w)
    rows = None if code.scale is None else (code.scale.dtype, code.scale.shape)
    if code.values.shape != w.shape or rows not in (None, (torch.float32, w.shape[:1])):
        raise ValueError(
            f"{encoding!r} gives {name!r} values or a scale of another shape: values need that of "
            "the tensor, a scale is float32 and has a number for each row"
        )
    return code


def _write(own: State, names: Mapping[str, str], encoding: Encoding, file: Path) -> StorageReport:
    parts = {name: _part(name, w, encoding) for name, w in own.items()}
    text = written({name: parts[first].entry for name, first in names.items()})
    numbers = defaultdict[str, list[npt.NDArray[Any]]](list)
    for part in parts.values():
        if part.entry.scaled:
            numbers["float32"].append(part.scale)
        numbers[part.entry.stored].append(part.values)
    streams = {name: shuffled(arrays) for name, arrays in numbers.items()}
    streams["positions"] = np.concatenate(
        [np.empty(0, np.uint8), *(p.positions for p in parts.values())]
    )
    streams["index"] = np.frombuffer(text, np.uint8)
    deflated_streams = {name: deflated(stream) for name, stream in streams.items() if stream.size}
    # Not by `save_file`, which lets nobody else read what it writes.
    file.write_bytes(save_arrays(deflated_streams, {FORMAT: VERSION, "index": str(len(text))}))
    return StorageReport(
        entries=tuple(part.entry for part in parts.values()),
        changes={name: part.change for name, part in parts.items()},
        signed_zeros=sum(part.signed_zeros for part in parts.values()),
        nbytes=file.stat().st_size,
        dense_nbytes=sum(w.nbytes for w in own.values()),
    )


def _write_dense(own: State, file: Path, report: StorageReport) -> StorageReport:
    """Write the plain file instead, if there is one and it is smaller than the sparse one."""
    entries = tuple(dense(name, w) for name, w in own.items())
    if "__metadata__" in own:
        return report  # a name that safetensors has taken
    content = save({name: w.clone() for name, w in own.items()})
    if len(content) >= report.nbytes:
        return report
    file.write_bytes(content)
    unchanged = {entry.name: Change() for entry in entries}
    return StorageReport(entries, unchanged, 0, len(content), report.dense_nbytes)


def _check_size(index: Index, limit: int) -> None:
    nbytes = sum({entry.name: entry.nbytes for entry in index.values()}.values())
    if nbytes > limit:
        raise ValueError(
            f"its tensors would take {nbytes:,} bytes, more than the limit of {limit:,}: give "
            f"limit={nbytes} if you trust it, or the model that it is of"
        )
