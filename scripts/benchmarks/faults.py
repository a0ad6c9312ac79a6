"""Faults thrown at runs: whatever happens to one, the next start ends it as if nothing had.

Or it refuses in one sentence, where what it would go on from is broken. A hostile run, beside a
good one, must not keep scripts/compare.py from comparing the good one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.frontier import count
from benchmarks.harm import (
    Broken,
    Kind,
    Scene,
    can_mount,
    full_disk,
    kill,
    large_file,
    last_words,
    terminate,
    torn_file,
)
from benchmarks.hostile import hostile_run
from benchmarks.starts import Start, timed

MODEL = "model.safetensors"
KINDS: dict[str, Kind] = {
    "kill": kill,
    "terminate": terminate,
    "full-disk": full_disk,
    "large-file": large_file,
    "torn-file": torn_file,
    "hostile-run": hostile_run,
}
OPTIONS = ["+prune=l1", "logger=none", "trainer.max_epochs=3", "save_every=20"]


@dataclass(frozen=True)
class Verdict:
    """What came of a fault."""

    kind: str
    survived: bool
    told: str


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py faults`."""
    command.add_argument("--count", type=count, default=30, help="faults to throw (default: 30)")
    command.add_argument("--seconds", type=count, help="throw none after so many seconds")
    command.add_argument("--seed", type=int, default=0, help="of what is thrown (default: 0)")
    command.add_argument("--jobs", type=count, default=1, help="at once (default: 1)")
    command.add_argument(
        "--kinds", type=kinds, default=tuple(KINDS), help=f"of {','.join(KINDS)} (all)"
    )
    command.add_argument("options", nargs="*", default=OPTIONS, help="of scripts/train.py")


def kinds(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in KINDS]:
        raise argparse.ArgumentTypeError(f"no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    return names


def run(options: argparse.Namespace) -> int:
    """Throw them, a line for each, and print the table; 1 when a run did not survive."""
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        folder = Path(temporary)
        chosen = options.kinds
        if "full-disk" in chosen and not can_mount(folder / "disk"):
            print("full-disk is left out: no file system can be mounted here", flush=True)
            chosen = tuple(kind for kind in chosen if kind != "full-disk")
        scene = set_up(folder, options.options)
        end = time.monotonic() + (options.seconds or float("inf"))

        def throw(number: int) -> Verdict | None:
            if time.monotonic() > end:
                return None
            kind = chosen[number % len(chosen)]
            verdict = thrown(kind, scene, folder / str(number), f"{options.seed}.{number}")
            word = "survived" if verdict.survived else "NOT SURVIVED"
            print(f"{number} {kind}: {verdict.told}: {word}", flush=True)
            return verdict

        with ThreadPoolExecutor(options.jobs) as pool:
            verdicts = [verdict for verdict in pool.map(throw, range(options.count)) if verdict]
    print(f"\n{table(verdicts)}")
    return 0 if all(verdict.survived for verdict in verdicts) else 1


def set_up(folder: Path, options: Sequence[str]) -> Scene:
    """A run in peace, which says what the others have to end with, and one stopped half-way.

    Raises:
        SystemExit: a run does not even end in peace.
    """
    timed(folder / "warm", options)  # imports what the server has not
    peace, seconds = timed(folder / "peace", options)
    if peace.code:
        raise SystemExit(f"a run with {' '.join(options)} fails by itself: {last_words(peace)}")
    for share in (0.7, 0.6, 0.5, 0.8, 0.9):
        half = folder / f"half-{share}"
        start = Start(half, options)
        start.send(signal.SIGKILL, share * seconds)
        start.end()
        if (half / "last.ckpt").exists() and not (half / "summary.json").exists():
            break
    return Scene(options, folder / "peace", half, seconds)


def thrown(kind: str, scene: Scene, run: Path, seed: str) -> Verdict:
    """Do one kind of harm to a run of its own, start it again, and see what it comes to."""
    try:
        harm = KINDS[kind](scene, run, random.Random(seed))
        if kind == "hostile-run":
            return Verdict(kind, True, harm.done)
        ending = Start(run, scene.options).end()
        if ending.sentence:
            return Verdict(kind, harm.may_refuse, f"{harm.done}; refused: {ending.sentence}")
        if ending.code:
            return Verdict(kind, False, f"{harm.done}; then {ending.code}: {last_words(ending)}")
        differing = differences(run, scene.peace)
        told = f"differs in {', '.join(differing)}" if differing else "the same bytes"
        return Verdict(kind, not differing, f"{harm.done}; {told}")
    except (Broken, TimeoutError) as error:
        return Verdict(kind, False, str(error))
    finally:
        shutil.rmtree(run, ignore_errors=True)


def differences(run: Path, peace: Path) -> list[str]:
    """The files that a run in peace leaves with other bytes, or that are not there."""
    names = (MODEL, "report.csv", "history.csv")
    return [name for name in names if _bytes(run / name) != _bytes(peace / name)]


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def table(verdicts: Sequence[Verdict]) -> str:
    """Markdown: of each kind how many were tried, and how many survived."""
    tried = Counter(verdict.kind for verdict in verdicts)
    survived = Counter(verdict.kind for verdict in verdicts if verdict.survived)
    rows = [f"| {kind} | {tried[kind]} | {survived[kind]} |" for kind in KINDS if tried[kind]]
    total = f"| all | {tried.total()} | {survived.total()} |"
    return "\n".join(["| fault | tried | survived |", "|---|---:|---:|", *rows, total])
