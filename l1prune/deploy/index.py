"""Index: what a sparse file says of its tensors, checked before any of them is made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from l1prune.checks import is_whole
from l1prune.deploy.positions import LAYOUTS

_NAMES = (
    "float64 float32 float16 bfloat16 complex64 int64 int32 int16 int8 uint64 uint32 uint16 uint8 "
    "bool float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
)
DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in _NAMES.split() if hasattr(torch, name)
}
"""What safetensors stores, as far as this version of torch knows it."""

_WITHOUT_ZERO = ("float8_e8m0fnu",)
"""Dtypes in which the bits 0 are not the number 0, or not one number."""

_MOST_SIZES = 64  # dimensions; as many as numpy knows
_LONGEST = 1 << 20  # bytes of a line: what is longer is no name and shape


@dataclass(frozen=True)
class Entry:
    """One tensor.

    Attributes:
        name: its first name.
        dtype: what it is.
        shape: of the tensor.
        stored: the dtype of its values in the file.
        layout: how the positions of the kept weights are written.
        kept: how many values the file has.
        positions: how many bytes their positions take.
        scaled: whether there is a scale for each row.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: str
    layout: str
    kept: int
    positions: int
    scaled: bool

    @property
    def total(self) -> int:
        """The number of weights; exact, however large."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in memory."""
        return self.total * DTYPES[self.dtype].itemsize

    @property
    def scales(self) -> int:
        """How many scales there are."""
        return self.shape[0] if self.scaled else 0

    def check(self) -> None:
        """Refuse what cannot be true.

        Raises:
            ValueError: with the reason.
        """
        for dtype in (self.dtype, self.stored):
            if dtype not in DTYPES:
                raise ValueError(f"{self.name!r} has the dtype {dtype!r}, which torch here has not")
        sizes = all(is_whole(size, 0) for size in self.shape) and len(self.shape) <= _MOST_SIZES
        if not sizes or math.prod(max(size, 1) for size in self.shape) * 8 >= 2**63:
            raise ValueError(f"{self.name!r} has an impossible shape")
        if self.layout not in LAYOUTS:
            raise ValueError(f"{self.name!r} has an unknown layout")
        counts = is_whole(self.kept, 0) and is_whole(self.positions, 0)
        if not counts or self.kept > self.total or self.positions > 2 * self.total:
            raise ValueError(f"{self.name!r} has counts that do not add up")
        if not self._decodable():
            raise ValueError(f"{self.name!r} cannot be {self.dtype} stored as {self.stored}")

    def _decodable(self) -> bool:
        if self.scaled and len(self.shape) < 2:
            return False
        if self.stored == self.dtype and not self.scaled:
            return True
        after, before = DTYPES[self.stored], DTYPES[self.dtype]
        odd = after.is_complex or {self.stored, self.dtype} & {*_WITHOUT_ZERO}
        return before.is_floating_point and after.itemsize <= before.itemsize and not odd


def dense(name: str, w: Tensor) -> Entry:
    """The entry of a tensor that is stored as it is."""
    dtype = str(w.dtype).removeprefix("torch.")
    return Entry(name, dtype, tuple(w.shape), dtype, "dense", w.numel(), 0, scaled=False)


Index = Mapping[str, Entry]
"""The tensors by all their names; tied ones have one entry."""


def written(index: Index) -> bytes:
    """The index as lines of JSON, one a name.

    >>> entry = Entry("a", "float32", (2,), "float32", "dense", 2, 0, False)
    >>> read(written({"a": entry, "b": entry})) == {"a": entry, "b": entry}
    True
    """
    lines = []
    for name, entry in index.items():
        row = asdict(entry) if name == entry.name else {"name": name, "tied": entry.name}
        lines.append(json.dumps(row, separators=(",", ":")) + "\n")
        if len(lines[-1]) > _LONGEST:
            raise ValueError(f"a tensor's name may not be as long as {name[:40]!r}… is")
    return "".join(lines).encode()


def read(text: bytes) -> Index:
    """The index that `written` wrote.

    Line by line, so that the first that is none ends it: a long text of something else costs no
    memory.

    Raises:
        ValueError: it is no index, with the reason.
    """
    index: dict[str, Entry] = {}
    start = 0
    while start < len(text):
        end = text.find(b"\n", start, start + _LONGEST)
        if end < 0:
            raise ValueError("a line of the index has no end")
        name, entry = _row(text[start:end], index)
        if name in index:
            raise ValueError(f"{name!r} comes twice")
        index[name] = entry
        start = end + 1
    return index


def _row(line: bytes, index: Index) -> tuple[str, Entry]:
    try:
        row = json.loads(line)
        name = row["name"]
        if isinstance(name, str) and row.keys() == {"name", "tied"}:
            return name, index[row["tied"]]
        entry = Entry(**{**row, "shape": tuple(row["shape"])})
        strings = (name, entry.dtype, entry.stored, entry.layout)
        if not all(isinstance(string, str) for string in strings):
            raise TypeError("not a string")
        if not isinstance(entry.scaled, bool):
            raise TypeError("not a bool")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"a line of the index is not of this format ({line[:60]!r})") from error
    entry.check()
    return name, entry
