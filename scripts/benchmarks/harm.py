"""Harm that can come to a run: each kind does some of it, at random, and says what it did."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.starts import Ending, Start

RESULTS = ("best.ckpt", "history.csv")
TORN = ("last.ckpt", "config.yaml", "summary.json", ".id", "wandb/id", *RESULTS)


class Broken(Exception):  # noqa: N818  # a verdict, not an error
    """The run did not take the harm as it should."""


@dataclass(frozen=True)
class Scene:
    """What harm is done to.

    Attributes:
        options: of scripts/train.py.
        peace: a run that was not disturbed.
        half: one that was stopped half-way.
        seconds: that a run takes in peace.
    """

    options: Sequence[str]
    peace: Path
    half: Path
    seconds: float


@dataclass(frozen=True)
class Harm:
    """What was done, and whether the next start may refuse to go on after it."""

    done: str
    may_refuse: bool = False


Kind = Callable[[Scene, Path, random.Random], Harm]


def kill(scene: Scene, run: Path, draw: random.Random) -> Harm:
    after = draw.uniform(0, scene.seconds)
    start = Start(run, scene.options)
    start.send(signal.SIGKILL, after)
    start.end()
    return Harm(f"SIGKILL after {after:.2f} s")


def terminate(scene: Scene, run: Path, draw: random.Random) -> Harm:
    after = draw.uniform(0, scene.seconds)
    start = Start(run, scene.options)
    start.send(signal.SIGTERM, after)
    ending = start.end()
    finished = ending.code == 0 and (run / "summary.json").exists()
    # Before there is anything to save, the signal ends the process by itself.
    if not finished and ending.code not in (128 + signal.SIGTERM, -signal.SIGTERM):
        raise Broken(f"SIGTERM after {after:.2f} s: exit code {ending.code}, {last_words(ending)}")
    return Harm(f"SIGTERM after {after:.2f} s, exit code {ending.code}")


def full_disk(scene: Scene, run: Path, draw: random.Random) -> Harm:
    """A disk with too little room, where one can be had; then the same folder with enough."""
    room = int(10 ** draw.uniform(4.3, 6.2))  # with less, Hydra cannot even begin
    with small_disk(run.with_name(f"{run.name}.disk"), room) as disk:
        log = run.with_name(f"{run.name}.log")
        ending = Start(disk / "run", scene.options, log).end()
        _check_full(ending, f"a disk of {room:,} bytes")
        shutil.copytree(disk / "run", run, dirs_exist_ok=True)
    return Harm(f"a disk of {room:,} bytes, exit code {ending.code}")


def large_file(scene: Scene, run: Path, draw: random.Random) -> Harm:
    """A quota that the run's larger files do not fit into."""
    largest = int(10 ** draw.uniform(4.0, 6.2))
    ending = Start(run, scene.options, largest=largest).end()
    _check_full(ending, f"files of at most {largest:,} bytes")
    return Harm(f"files of at most {largest:,} bytes, exit code {ending.code}")


def _check_full(ending: Ending, what: str) -> None:
    # Hydra, which writes before we do, says it in its own way.
    told = ending.sentence or ("Errno" in last_words(ending) and "Traceback" not in ending.said)
    if ending.code != 0 and not told:
        raise Broken(f"{what}: exit code {ending.code}, {last_words(ending)}")


def torn_file(scene: Scene, run: Path, draw: random.Random) -> Harm:
    """A file of a run that had stopped, or ended, is cut off somewhere, or zeros from there on."""
    shutil.copytree(scene.peace if draw.random() < 0.5 else scene.half, run, symlinks=True)
    # The results of a run that has ended are not looked at again. On a busy machine the half may
    # have come to its end before it was stopped.
    ended = (run / "summary.json").exists()
    names = [name for name in TORN if not (ended and name in RESULTS)]
    file = draw.choice([run / name for name in names if (run / name).exists()])
    whole = file.read_bytes()
    size = draw.randrange(len(whole))
    zeros = draw.random() < 0.25
    file.write_bytes(whole[:size] + bytes(len(whole) - size) * zeros)
    rest = "zeros from there" if zeros else "nothing after it"
    done = f"{file.relative_to(run)} after byte {size:,} of {len(whole):,}: {rest}"
    return Harm(done, may_refuse=file.name == "last.ckpt")


def last_words(ending: Ending) -> str:
    said = (line for line in ending.said.splitlines() if line.strip())
    lines = [line for line in said if not line.startswith("Set the environment variable HYDRA")]
    return lines[-1].strip() if lines else "it said nothing"


@contextmanager
def small_disk(folder: Path, room: int) -> Iterator[Path]:
    """A file system in memory with so much room; it takes root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def can_mount(folder: Path) -> bool:
    """Whether this machine lets us have a small disk."""
    try:
        with small_disk(folder, 4096):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
