"""Positions: where the kept weights of a tensor lie, in as few bytes as that takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

_LONG = 255  # so many zeros, and the weight is yet to come
_PIECE = 1 << 17  # what one pass over a piece writes, the next still finds in the cache


class Layout(Protocol):
    """A way to write down which weights are kept."""

    def pack(self, bits: npt.NDArray[Any]) -> Bytes:
        """Where `bits`, flat, is not zero."""
        ...

    def admits(self, packed: Bytes, kept: int, total: int) -> bool:
        """Whether `packed` places exactly `kept` weights, all among `total`."""
        ...

    def places(self, packed: Bytes) -> Iterator[Places]:
        """Where the kept weights lie, in ascending order, a piece at a time."""
        ...


class Dense:
    """All weights are kept: nothing needs to be written."""

    def pack(self, bits: npt.NDArray[Any]) -> Bytes:
        return np.empty(0, np.uint8)

    def admits(self, packed: Bytes, kept: int, total: int) -> bool:
        return packed.size == 0 and kept == total

    def places(self, packed: Bytes) -> Iterator[Places]:
        yield from ()  # the values are the tensor


class Mask:
    """One bit a weight, eight to a byte.

    >>> Mask().pack(np.array([1, 0, 2]))
    array([5], dtype=uint8)
    """

    def pack(self, bits: npt.NDArray[Any]) -> Bytes:
        return np.packbits(bits != 0, bitorder="little")

    def admits(self, packed: Bytes, kept: int, total: int) -> bool:
        if packed.size != -(-total // 8):
            return False
        last = -1
        for places in self.places(packed):
            kept -= places.size
            last = int(places[-1]) if places.size else last
        return kept == 0 and last < total

    def places(self, packed: Bytes) -> Iterator[Places]:
        for start in range(0, packed.size, _PIECE // 8):
            bits = np.unpackbits(packed[start : start + _PIECE // 8], bitorder="little")
            yield np.flatnonzero(bits) + 8 * start


class Gaps:
    """One byte a kept weight: the zeros before it. 255 stands for 255 zeros and no weight.

    >>> bits = np.zeros(600, np.int32)
    >>> bits[[0, 3, 259, 599]] = 1
    >>> Gaps().pack(bits)
    array([  0,   2, 255,   0, 255,  84], dtype=uint8)
    >>> [places.tolist() for places in Gaps().places(Gaps().pack(bits))]
    [[0, 3, 259, 599]]
    """

    def pack(self, bits: npt.NDArray[Any]) -> Bytes:
        packed = [np.empty(0, np.uint8)]
        before = -1  # where the last kept weight was
        for start in range(0, bits.size, _PIECE):
            places = np.flatnonzero(bits[start : start + _PIECE]) + start
            if places.size:
                packed.append(_gaps(np.diff(places, prepend=before) - 1))
                before = int(places[-1])
        return np.concatenate(packed)

    def admits(self, packed: Bytes, kept: int, total: int) -> bool:
        weights = int(np.count_nonzero(packed != _LONG))
        return weights == kept and int(packed.sum(dtype=np.int64)) + weights <= total

    def places(self, packed: Bytes) -> Iterator[Places]:
        end = -1
        for start in range(0, packed.size, _PIECE):
            piece = packed[start : start + _PIECE]
            weight = piece != _LONG
            places = np.cumsum(np.add(piece, weight, dtype=np.int64))
            places += end
            end = int(places[-1])
            yield places[weight]


LAYOUTS: dict[str, Layout] = {"dense": Dense(), "mask": Mask(), "gaps": Gaps()}
"""By the names that they have in a file."""


def smallest(bits: npt.NDArray[Any]) -> tuple[str, Bytes]:
    """The layout in which a flat tensor takes the fewest bytes, values included; and positions.

    >>> smallest(np.array([1, 2, 3, 0], np.int32))[0], smallest(np.zeros(99, np.int32))[0]
    ('mask', 'gaps')
    """
    kept = int(np.count_nonzero(bits))
    mask = -(-bits.size // 8)
    if kept < mask:  # else gaps, at least a byte a weight, are no smaller
        gaps = LAYOUTS["gaps"].pack(bits)
        if gaps.size < mask:
            return "gaps", gaps
    layout = "mask" if mask + kept * bits.itemsize < bits.nbytes else "dense"
    return layout, LAYOUTS[layout].pack(bits)


def scatter_(flat: npt.NDArray[Any], layout: str, packed: Bytes, values: npt.NDArray[Any]) -> None:
    """Put values to their places in a flat array of zeros."""
    if layout == "dense":
        flat[:] = values
    start = 0
    for places in LAYOUTS[layout].places(packed):
        flat[places] = values[start : start + places.size]
        start += places.size


def _gaps(zeros: Places) -> Bytes:
    """The bytes that say how many zeros come before each of some weights."""
    if int(zeros.max()) < _LONG:
        return zeros.astype(np.uint8)
    long, rest = np.divmod(zeros, _LONG)
    last = np.cumsum(long + 1) - 1
    packed = np.full(int(last[-1]) + 1, _LONG, np.uint8)
    packed[last] = rest
    return packed
