"""Hostile runs: a folder that claims to be a run, beside a good one, for scripts/compare.py."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harm import Broken, Harm, Scene

COMPARE = Path(__file__).parents[1] / "compare.py"
SECONDS, MEMORY = 60, 4 << 30  # what a few small runs may take
FIGURES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**400, -0.0, 1e308, float("nan"), float("inf"), 2**63),
    *("", "0.9", "<script>alert(1)</script>", "|", "\x1b[2J", "\ud800", "a" * 100_000),
    *([], {}, [[]] * 9, {"a": {"b": [None]}}),
)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def wrong_figure(run: Path, draw: random.Random) -> str:
    summary = json.loads((run / "summary.json").read_text())
    key = draw.choice([*summary, "x" * draw.randrange(9)])
    summary[key] = draw.choice(FIGURES)
    (run / "summary.json").write_text(json.dumps(summary), errors="replace")
    return f"summary.json says {key}={str(summary[key])[:20]!r}"


def rubbish(run: Path, draw: random.Random) -> str:
    file = draw.choice(files(run))
    file.write_bytes(draw.randbytes(draw.randrange(5000)))
    return f"{file.name} is rubbish"


def mixed_up(run: Path, draw: random.Random) -> str:
    file, other = draw.sample(files(run), 2)
    shutil.copy(other, file)
    return f"{file.name} is {other.name}"


def wrong_table(run: Path, draw: random.Random) -> str:
    file = run / draw.choice(["report.csv", "history.csv"])
    lines = [line.split(",") for line in file.read_text().splitlines()]
    for _ in range(draw.randrange(1, 5)):
        line = draw.choice(lines)
        line[draw.randrange(len(line))] = str(draw.choice(FIGURES))
    file.write_text("\n".join(map(",".join, lines)), errors="replace")
    return f"{file.name} has cells of nonsense"


def nested(run: Path, draw: random.Random) -> str:
    file = run / draw.choice(["summary.json", "config.yaml"])
    file.write_text("[" * draw.choice([100, 10_000, 1_000_000]))
    return f"{file.name} is nested deeply"


def bomb(run: Path, draw: random.Random) -> str:
    (run / "config.yaml").write_text(BOMB)
    return "config.yaml is a few lines that stand for a billion"


def no_file(run: Path, draw: random.Random) -> str:
    file = draw.choice(files(run))
    file.unlink()
    if draw.random() < 0.5:
        file.mkdir()
        return f"{file.name} is a folder"
    file.symlink_to(draw.choice([file.name, "/dev/null", "nowhere", ".."]))
    return f"{file.name} is a link to {file.readlink()}"


WAYS: tuple[Callable[[Path, random.Random], str], ...] = (
    *(wrong_figure, wrong_figure, rubbish, mixed_up, wrong_table, nested, bomb, no_file),
)


def files(run: Path) -> list[Path]:
    names = ("summary.json", "config.yaml", "report.csv", "history.csv")
    return [run / name for name in names if (run / name).is_file()]


def hostile_run(scene: Scene, run: Path, draw: random.Random) -> Harm:
    """Compare a good run with a hostile one: the good one must be in the table all the same."""
    for name in ("good", "bad"):
        shutil.copytree(scene.peace, run / name)
    done = draw.choice(WAYS)(run / "bad", draw)
    command = [sys.executable, str(COMPARE), str(run), "--output", str(run / "compare.html")]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            preexec_fn=_little_memory,
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"{done}: compare.py hangs") from None
    good = any(line.startswith("| good ") for line in ended.stdout.splitlines())
    if ended.returncode or not good or "Traceback" in ended.stderr:
        last = (ended.stderr.strip().splitlines() or [""])[-1]
        raise Broken(f"{done}: compare.py exits with {ended.returncode}, {last[:150]}")
    return Harm(done)


def _little_memory() -> None:
    import resource  # there is none on Windows

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
