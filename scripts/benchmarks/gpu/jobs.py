"""Jobs: pieces of work in processes of their own, each with its time, whatever the others do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Row

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Setting:
    """Where jobs are done.

    Attributes:
        python: that runs them.
        device: as torch calls it.
        quick: whether only to see that they run.
        data: a folder with `mnist` and `tinyshakespeare`.
    """

    python: str
    device: str
    quick: bool
    data: Path

    @property
    def is_gpu(self) -> bool:
        return self.device.startswith("cuda")


def nothing(folder: Path) -> list[Row]:
    """What a job leaves that leaves no figures."""
    return []


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        title: what it is.
        limit: of its time, in seconds.
        command: what to call, with a folder for what it leaves.
        rows: what it has left there, whether it came to its end or not.
        needs: a file or folder of the data without which it cannot begin.
    """

    title: str
    limit: float
    command: Callable[[Setting, Path], Sequence[str]]
    rows: Callable[[Path], list[Row]] = nothing
    needs: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a job has come to.

    Attributes:
        end: `ok`, or what became of it.
        seconds: that it took.
        said: how its figures stand, or the last line that it printed, or why it was not begun.
        tail: the last lines, where it did not end well.
        rows: what it has measured.
    """

    title: str
    end: str
    seconds: float = 0.0
    said: str = ""
    tail: str = ""
    rows: Sequence[Row] = field(default=())


def do(job: Job, setting: Setting, folder: Path, left: float) -> Outcome:
    """Do a job, and end it when its time is over, or what is left of all time."""
    if job.needs and not setting.quick and not (setting.data / job.needs).exists():
        said = f"there is no {setting.data / job.needs}: say where by --data"
        return Outcome(job.title, "left out", said=said)
    if left < 1:
        return Outcome(job.title, "left out", said="no time was left")
    folder.mkdir(parents=True)
    log, start = folder / "log.txt", time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*job.command(setting, folder)],
            cwd=ROOT,
            env=environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(min(job.limit, left))
            end = "ok" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            end = "out of time"
        finally:
            _end(process)
    seconds = round(time.monotonic() - start, 1)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    tail = "" if end == "ok" else "\n".join(lines[-25:])
    rows = _rows(job, folder)
    said = counted(rows) if rows else lines[-1].strip(" =") if lines else ""
    return Outcome(job.title, end, seconds, said, tail, rows)


def counted(rows: Sequence[Row]) -> str:
    """How many rows there are, and how they stand to their goals."""
    verdicts = Counter(row.verdict or "without a goal" for row in rows)
    told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    return f"{len(rows)} rows: {told}"


def environment() -> Mapping[str, str]:
    """That of a checkout which nobody has installed."""
    paths = (str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has begun."""
    with suppress(ProcessLookupError):  # all of them are over
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _rows(job: Job, folder: Path) -> Sequence[Row]:
    try:
        return job.rows(folder)
    except (OSError, ValueError, KeyError):  # it did not get so far
        return ()
