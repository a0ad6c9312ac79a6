"""Reader: a sparse file read with torch, numpy and safetensors alone; model cards print it."""

import json
import math
import zlib

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open


def places(layout: str, packed: npt.NDArray[np.uint8], kept: int) -> torch.Tensor:
    """Where the kept weights of a tensor lie, as `l1prune.deploy.positions` has packed it.

    >>> places("gaps", np.array([0, 2, 255, 1], np.uint8), 3)
    tensor([  0,   3, 260])
    """
    if layout == "dense":
        return torch.arange(kept)
    if layout == "mask":  # a bit for each weight
        return torch.from_numpy(np.unpackbits(packed, bitorder="little").nonzero()[0])
    # The zeros before each weight; 255 is as many zeros, and no weight.
    steps = packed.astype(np.int64) + (packed < 255)
    return torch.from_numpy((np.cumsum(steps) - 1)[packed < 255])


def read_sparse(file: str) -> dict[str, torch.Tensor]:
    """The tensors of a sparse file of l1prune, by name; `load_sparse` checks what it reads besides.

    >>> import tempfile
    >>> from l1prune.deploy import save_sparse
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_sparse({"w": torch.eye(100)}, f"{folder}/w.safetensors")
    ...     torch.equal(read_sparse(f"{folder}/w.safetensors")["w"], torch.eye(100))
    True
    """
    with safe_open(file, "np") as archive:
        names = archive.keys()
        streams = {name: zlib.decompress(archive.get_tensor(name).tobytes()) for name in names}
    rows = [json.loads(line) for line in streams.pop("index").splitlines()]
    positions = np.frombuffer(streams.pop("positions", b""), np.uint8)
    numbers = {}
    for kind, stream in streams.items():
        # All first bytes of the numbers come before all second ones, and so on.
        planes = np.frombuffer(stream, np.uint8).reshape(getattr(torch, kind).itemsize, -1)
        numbers[kind] = torch.from_numpy(planes.T.copy()).flatten().view(getattr(torch, kind))
    read = dict.fromkeys(["positions", *numbers], 0)

    def values(kind: str, count: int) -> torch.Tensor:
        start, read[kind] = read.get(kind, 0), read.get(kind, 0) + count
        return numbers.get(kind, torch.empty(0))[start : start + count]

    state: dict[str, torch.Tensor] = {}
    for row in rows:
        if "tied" in row:
            state[row["name"]] = state[row["tied"]]
            continue
        packed = positions[read["positions"] :][: row["positions"]]
        read["positions"] += row["positions"]
        scale = values("float32", row["shape"][0]) if row["scaled"] else None
        dtype, kept = getattr(torch, row["dtype"]), values(row["stored"], row["kept"])
        flat = torch.zeros(math.prod(row["shape"]), dtype=dtype)
        flat[places(row["layout"], packed, len(kept))] = kept.to(dtype)
        if scale is not None:
            flat.view(len(scale), -1).mul_(scale[:, None])
        state[row["name"]] = flat.view(row["shape"])
    return state
