"""Streams: the numbers of many tensors behind each other, deflated by bytes of one place."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from l1prune.deploy.positions import Bytes

# Runs and frequent bytes are all there is to find in weights, and found ten times faster than
# repetitions. Where little is written, both are tried.
_THOROUGH = 1 << 22


def deflated(data: Bytes) -> Bytes:
    """Some bytes, smaller, with a checksum: a zlib stream.

    Source: RFC 1950 and 1951.
    """
    strategies = [zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY][: 2 if data.size < _THOROUGH else 1]
    return min((_deflated(data, strategy) for strategy in strategies), key=len)


def inflated(data: Bytes, size: int) -> Bytes:
    """The `size` bytes that `deflated` got; never takes more memory than they need.

    Raises:
        ValueError: it is no such stream, or one of another size.

    >>> inflated(deflated(np.arange(3, dtype=np.uint8)), 3)
    array([0, 1, 2], dtype=uint8)
    """
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(data.data, size + 1)
    except zlib.error as error:
        raise ValueError(f"cannot be inflated ({error})") from error
    if len(content) != size or not inflate.eof or inflate.unused_data:
        raise ValueError(f"should inflate to {size:,} bytes, and does not")
    return np.frombuffer(content, np.uint8)


def shuffled(arrays: Sequence[npt.NDArray[Any]]) -> Bytes:
    """The bytes of flat arrays of one type: all first bytes, then all second ones, and so on.

    Signs and exponents, of which a network uses few, so come to lie side by side. (HDF5 and Blosc
    call this the shuffle filter.)

    >>> shuffled([np.array([1, 2], "<i2"), np.array([3], "<i2")])
    array([1, 2, 3, 0, 0, 0], dtype=uint8)
    """
    size = arrays[0].itemsize
    planes = np.empty((size, sum(array.size for array in arrays)), np.uint8)
    start = 0
    for array in arrays:
        planes[:, start : start + array.size] = array.view(np.uint8).reshape(-1, size).T
        start += array.size
    return planes.reshape(-1)


def unshuffled(data: Bytes, size: int) -> npt.NDArray[Any]:
    """The numbers of `size` bytes each, as integers, that `shuffled` got.

    >>> unshuffled(np.array([1, 2, 3, 0, 0, 0], np.uint8), 2)
    array([1, 2, 3], dtype=int16)
    """
    planes = data.reshape(size, -1)
    numbers = np.empty((planes.shape[1], size), np.uint8)
    for place, plane in enumerate(planes):
        numbers[:, place] = plane
    return numbers.reshape(-1).view(f"i{size}")


def _deflated(data: Bytes, strategy: int) -> Bytes:
    deflate = zlib.compressobj(strategy=strategy)
    return np.frombuffer(deflate.compress(data.data) + deflate.flush(), np.uint8)
