"""Whether a run that is killed and started again is the run that was not killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Row

TRAIN = Path(__file__).parents[1] / "train.py"
MODEL = "model.safetensors"


@dataclass(frozen=True)
class Plan:
    """What is run, and how often it is killed.

    `options` are those of scripts/train.py; `seed` decides the moments.
    """

    kills: int
    seed: int
    options: tuple[str, ...]


def measure(plan: Plan) -> Iterator[Row]:
    """A row a kill: how many bytes of the network differ from those of the run in peace."""
    moments = random.Random(plan.seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        start(Path(folder, "peace"), plan.options).wait()
        seconds = time.monotonic() - began
        expected = Path(folder, "peace", MODEL).read_bytes()
        for kill in range(plan.kills):
            # One in each share of the run, so that all phases have theirs.
            after = seconds * (kill + moments.random()) / plan.kills
            run = Path(folder, str(kill))
            seen = killed(run, plan.options, after)
            start(run, plan.options).wait()
            left = (run / MODEL).read_bytes() if (run / MODEL).exists() else b""
            work = f"killed after {after:.1f} of {seconds:.1f} s ({seen}), started again"
            yield Row(work, "bytes differ", 0, differing(left, expected))


def killed(run: Path, options: Sequence[str], after: float) -> str:
    """Train in a folder, be killed, and return what was last seen."""
    process = start(run, options)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    lines = [line for line in log(run).read_text().splitlines() if line.startswith("epoch ")]
    return " ".join(lines[-1].split()[1:3]) if lines else "before the first epoch's end"


def start(run: Path, options: Sequence[str]) -> subprocess.Popen[bytes]:
    """The same command line each time; its output is kept beside the run's folder."""
    command = [sys.executable, str(TRAIN), *options, f"hydra.run.dir={run}"]
    root = str(TRAIN.parents[1])
    with log(run).open("ab") as file:
        return subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": root}, stdout=file, stderr=file
        )


def log(run: Path) -> Path:
    return run.with_suffix(".log")


def differing(left: bytes, expected: bytes) -> int:
    same = sum(a == b for a, b in zip(left, expected, strict=False))
    return max(len(left), len(expected)) - same
