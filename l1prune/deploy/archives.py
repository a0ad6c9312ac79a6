"""Archives: files of weights, open for reading, whose promises are checked before they are kept."""

from __future__ import annotations

import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from l1prune.deploy.encodings import bits, rescaled_
from l1prune.deploy.index import DTYPES, Entry, Index, dense, read
from l1prune.deploy.positions import LAYOUTS, Bytes, scatter_
from l1prune.deploy.streams import inflated, unshuffled

FORMAT = "l1prune"
"""What the metadata of a sparse file is known by."""

VERSION = "1"

_LONGEST_INDEX = 1 << 24  # bytes; a network of a hundred thousand tensors needs as many


class Archive(Protocol):
    """A file of weights."""

    @property
    def index(self) -> Index:
        """What is in it."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the index, by their first names, in memory of their own."""
        ...


@contextmanager
def opened(file: Path) -> Iterator[Archive]:
    """A file of weights; whatever is found to be wrong with it is said of it by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not one that `save_sparse` or safetensors wrote, with the reason.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError(f"{file} is no regular file: give one that save_sparse wrote")
    try:
        with safe_open(str(file), framework="pt") as handle:
            sparse = FORMAT in (handle.metadata() or {})
            yield SparseArchive(handle) if sparse else DenseArchive(handle)
    except SafetensorError as error:
        raise ValueError(f"{file} is broken, or no file of weights ({error})") from error
    except ValueError as error:
        raise ValueError(f"{file} cannot be loaded: {error}") from error


class DenseArchive:
    """A file of tensors as safetensors writes it."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.index = {name: dense(name, handle.get_tensor(name)) for name in handle.keys()}  # noqa: SIM118

    def tensors(self) -> dict[str, Tensor]:
        return {name: self._handle.get_tensor(name).clone() for name in self.index}


class SparseArchive:
    """A file of streams, with an index that says how to read them."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._names = set(handle.keys())
        metadata = handle.metadata()
        if metadata[FORMAT] != VERSION:
            raise ValueError(
                f"its format is version {metadata[FORMAT][:20]!r}, and this l1prune reads version "
                f"{VERSION}: use the l1prune that wrote it"
            )
        size = metadata.get("index", "")
        if not re.fullmatch("[0-9]{1,8}", size) or int(size) > _LONGEST_INDEX:
            raise ValueError(f"its index cannot have a length of {size[:20]!r}")
        self.index = read(self._stream("index", int(size)).tobytes())

    def tensors(self) -> dict[str, Tensor]:
        entries = list({entry.name: entry for entry in self.index.values()}.values())
        positions = self._positions(entries)
        values = self._values(entries)
        state = {}
        for entry, packed in zip(entries, positions, strict=True):
            scale = next(values["float32"]) if entry.scaled else None
            state[entry.name] = _tensor(entry, packed, next(values[entry.stored]), scale)
        return state

    def _positions(self, entries: Sequence[Entry]) -> list[Bytes]:
        """Those of each tensor; all fit, or none is returned."""
        stream = self._stream("positions", sum(entry.positions for entry in entries))
        parts, start = [], 0
        for entry in entries:
            packed = stream[start : start + entry.positions]
            parts.append(packed)
            start += entry.positions
            if not LAYOUTS[entry.layout].admits(packed, entry.kept, entry.total):
                raise ValueError(f"the positions of {entry.name!r} are not those of its weights")
        return parts

    def _values(self, entries: Sequence[Entry]) -> dict[str, Iterator[Tensor]]:
        """By dtype, the kept values of each tensor; its scales come before them."""
        counts = defaultdict[str, list[int]](list)
        for entry in entries:
            if entry.scaled:
                counts["float32"].append(entry.scales)
            counts[entry.stored].append(entry.kept)
        values = {}
        for name, each in counts.items():
            size = DTYPES[name].itemsize
            numbers = unshuffled(self._stream(name, sum(each) * size), size)
            values[name] = iter(torch.from_numpy(numbers).view(DTYPES[name]).split_with_sizes(each))
        return values

    def _stream(self, name: str, size: int) -> Bytes:
        if size == 0:
            return np.empty(0, np.uint8)
        if name not in self._names:
            raise ValueError(f"it has no {name!r}")
        data = self._handle.get_tensor(name)
        if data.dtype != torch.uint8 or data.ndim != 1:
            raise ValueError(f"its {name!r} is no stream of bytes")
        try:
            return inflated(data.numpy(), size)
        except ValueError as error:
            raise ValueError(f"its {name!r} {error}") from error


def _tensor(entry: Entry, packed: Bytes, kept: Tensor, scale: Tensor | None) -> Tensor:
    dtype = DTYPES[entry.dtype]
    numbers = bits(kept.to(dtype))
    # Not by numpy, which asks for huge pages: the first time they take many times as long.
    flat = torch.zeros(entry.total, dtype=numbers.dtype)
    scatter_(flat.numpy(), entry.layout, packed, numbers.numpy())
    return rescaled_(flat.view(dtype).view(entry.shape), scale)
