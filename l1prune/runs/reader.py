"""Reader: a sparse file read with torch, numpy and safetensors alone; model cards print it."""

import json
import math
import zlib

import numpy as np
import torch
from safetensors import safe_open


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
        if row["layout"] == "gaps":  # the zeros before each weight; 255 is as many, and no weight
            steps = packed.astype(np.int64) + (packed < 255)
            places = (np.cumsum(steps) - 1)[packed < 255]
        elif row["layout"] == "mask":  # a bit for each weight
            places = np.unpackbits(packed, bitorder="little").nonzero()[0]
        else:
            places = np.arange(row["kept"])
        flat = torch.zeros(math.prod(row["shape"]), dtype=dtype)
        flat[torch.from_numpy(places)] = kept.to(dtype)
        if scale is not None:
            flat.view(len(scale), -1).mul_(scale[:, None])
        state[row["name"]] = flat.view(row["shape"])
    return state
