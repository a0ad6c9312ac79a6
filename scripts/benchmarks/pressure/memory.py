"""Memory: bytes a weight that a fit with pruning takes over the same fit without, by phase."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.measure import Row
from benchmarks.pressure.cuts import Layers
from benchmarks.pressure.tasks import RATE
from benchmarks.scale import Scale
from l1prune import Pruning

STEPS = 30
CUTS = tuple(range(6, 26, 2))
"""After these steps. From ten of them on the default goes by saliency, as it does in its fifty."""

LAYERS = 4

FITS: Mapping[str, Pruning | None] = {"bare": None, "pruned": Pruning(prune_at=CUTS)}

LIMITS = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
"""What is freed goes back to the system at once: else its memory is counted until it does."""


@dataclass(frozen=True)
class Sample:
    """Bytes of memory around one step: in use after it, and the most since the step before.

    Attributes:
        phase: `press` or `tune`; empty where there is no pruning.
        cuts: made so far.
    """

    phase: str
    cuts: int
    used: int
    most: int


def memory(scale: Scale) -> Iterator[Row]:
    """A fit of 100 million weights in four layers."""
    width = 1000 if scale.quick else 5000
    weights = LAYERS * width**2
    bare, pruned = (_apart(scale.device, width, kind) for kind in FITS)
    where = f"{weights:,} weights in {LAYERS} layers"
    for work, goal, bytes_ in figures(bare, pruned):
        yield Row(f"{work}: {where}", "B/weight", goal, round(bytes_ / weights, 2))


def figures(
    bare: Sequence[Sample], pruned: Sequence[Sample]
) -> Iterator[tuple[str, float | None, int]]:
    """What is said of two fits: a piece of work, its goal in bytes a weight, and bytes.

    Args:
        bare: of a fit without pruning.
        pruned: of the same with it.
    """
    most, used = max(one.most for one in bare), max(one.used for one in bare)
    between = [now for before, now in pairwise(pruned) if now.cuts == before.cuts > 0]
    pressed = [one for one in between if one.phase == "press"]
    tuned = [one for one in between if one.phase == "tune"]
    cuts = [now.most - before.used for before, now in pairwise(pruned) if now.cuts > before.cuts]
    over = "over a fit without"
    yield f"memory of a fit at its peak, {over}", 14.0, max(one.most for one in pruned) - most
    yield f"memory of a fit between cuts, {over}", None, max(one.used for one in pressed) - used
    yield f"memory in fine-tuning, {over}", 2.0, max(one.used for one in tuned) - used
    yield f"memory in a step of fine-tuning, {over}", 2.0, max(one.most for one in tuned) - most
    yield "memory that a cut takes on top", 12.0, max(cuts)


def _apart(device: torch.device, width: int, kind: str) -> list[Sample]:
    """The samples of a fit in a process whose memory is its own."""
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), str(root / "scripts"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    done = subprocess.run(
        [*command, str(device), str(width), kind],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **LIMITS, "PYTHONPATH": path},
    )
    return [Sample(**one) for one in json.loads(done.stdout.splitlines()[-1])]


def fit(device: torch.device, width: int, pruning: Pruning | None) -> list[Sample]:
    """Train, and look at the memory around each step."""
    torch.manual_seed(0)
    with torch.device(device):
        layers = Layers(LAYERS, (width, width)).make()
        x = torch.randn(1, width)
    optimizer = torch.optim.AdamW(layers.parameters(), lr=RATE, fused=True)
    run = None
    if pruning is not None:
        run = pruning.attached(layers, optimizer, STEPS, steps_per_pass=STEPS)
    samples = []
    for _ in range(STEPS):
        forget(device)
        optimizer.zero_grad()
        for layer in layers:  # each by itself: their activations are no part of this
            layer(x).square().sum().backward()
        optimizer.step()
        phase = "" if run is None else run.phase
        done = 0 if run is None else sum(at <= run.steps for at in CUTS)
        samples.append(Sample(phase, done, *taken(device)))
    return samples


def forget(device: torch.device) -> None:
    """Begin to look for the most memory anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def taken(device: torch.device) -> tuple[int, int]:
    """Bytes in use, and the most since `forget`: on a GPU torch's, else those of the process."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    used, most = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return used, most


def main() -> None:
    """What the process does that `_apart` begins."""
    parser = argparse.ArgumentParser()
    parser.add_argument("device", type=torch.device)
    parser.add_argument("width", type=int)
    parser.add_argument("kind", choices=FITS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps([asdict(one) for one in fit(given.device, given.width, FITS[given.kind])]))
