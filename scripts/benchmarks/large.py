"""Large networks: what it takes to make one compact, and to load one from a sparse file."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.measure import Row, over, row_of, take_turns
from l1prune.deploy import compact, load_sparse, save_sparse
from l1prune.zoo.gpt import GPT


def compaction(quick: bool) -> Iterator[Row]:
    """`compact` on a GPT as large as GPT-2 small, 90 % of its weights zero."""
    if quick:
        seconds, memory = _compacted(quick)
    else:
        seconds, memory = _compacted_apart()
    name = "GPT of 124 million weights, 90 % zeros, compact"
    yield Row(f"{name}: seconds of CPU", "s", 60.0, seconds)
    yield Row(f"{name}: memory at its peak, over the model's", "×", 3.0, memory)


def _compacted_apart() -> tuple[float, float]:
    """In a process whose memory is its own."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "scripts"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.large"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def _compacted(quick: bool) -> tuple[float, float]:
    torch.manual_seed(0)
    size = {"layers": 1, "width": 64, "heads": 4} if quick else {}
    model = GPT(25_000, 128, **({"layers": 12, "width": 768, "heads": 12} | size)).eval()
    with torch.no_grad():
        for weight in (w for w in model.parameters() if w.ndim > 1):
            weight.mul_(torch.rand_like(weight) >= 0.9)
    bytes_ = sum(w.numel() * w.element_size() for w in model.parameters())
    before, start = _peak(), time.process_time()
    compact(model, torch.zeros(1, 32, dtype=torch.long))
    return time.process_time() - start, 1 + (_peak() - before) / bytes_


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def loading(quick: bool, rounds: int) -> Iterator[Row]:
    """`load_sparse` of weights with 95 % zeros, over reading the dense file into memory."""
    torch.manual_seed(0)
    layers = nn.ParameterDict(
        {str(n): torch.rand(1000, 100 if quick else 10_000) for n in range(1 if quick else 10)}
    )
    for weight in layers.values():
        weight.data.mul_(torch.rand_like(weight) >= 0.95)
    with tempfile.TemporaryDirectory() as folder:
        dense, small = Path(folder) / "dense.safetensors", Path(folder) / "sparse.safetensors"
        save_file(dict(layers.state_dict()), dense)
        save_sparse(layers, small)

        def whole() -> dict[str, Tensor]:
            return {name: tensor.clone() for name, tensor in load_file(dense).items()}

        seconds = take_turns(
            {
                "dense": lambda: nullcontext(whole),
                "sparse": lambda: nullcontext(lambda: load_sparse(small)),
            },
            torch.device("cpu"),
            rounds,
        )
    count = sum(weight.numel() for weight in layers.values()) // 1_000_000
    work = f"load_sparse, {count} million weights, 95 % zeros, over load_file and a copy"
    yield row_of(work, "×", 2.0, over(seconds, "sparse", "dense"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(_compacted(quick=False)))
