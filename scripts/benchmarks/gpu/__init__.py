"""All that needs a GPU, in one command: what was tested, measured and trained there."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.jobs import ROOT, Job, Outcome, Setting, do
from benchmarks.measure import AtLeast, Row
from benchmarks.parts import chosen, name_of
from benchmarks.results import Results, as_dict, table

SECONDS = 520.0
"""For all of it: what does not fit into them is left out."""


def cuda_tests(setting: Setting, folder: Path) -> list[str]:
    """The tests that ask for a GPU; where there is none, those of the kernels."""
    tests = ROOT / "tests"
    files = sorted(file for file in tests.rglob("test_*.py") if "cuda" in file.read_text("utf-8"))
    chosen = [tests / "pressure" / "kernels" / "test_fused.py"] if setting.quick else files
    return [setting.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, chosen)]


def benchmark(what: str, only: str, rounds: int, setting: Setting, folder: Path) -> list[str]:
    """Parts of another benchmark, on this device."""
    return [
        *(setting.python, str(ROOT / "scripts" / "benchmark.py"), what),
        *("--device", setting.device, "--rounds", str(rounds), "--only", only),
        *("--output", str(folder / "rows.json")),
        *(["--quick"] if setting.quick else []),
    ]


def measured(folder: Path) -> list[Row]:
    """The rows that a benchmark has left."""
    return [row for rows in Results.of_file(folder / "rows.json").values() for row in rows]


def shared(processes: int, setting: Setting, folder: Path) -> list[str]:
    """DDP, with so many processes on the device."""
    return [setting.python, "-m", "benchmarks.gpu.ddp", setting.device, str(processes)]


def train(experiment: str, data: str, small: Sequence[str], setting: Setting, folder: Path) -> Any:
    """A run of the command line; a small one, on data that are there, if it is to be quick."""
    return [
        *(setting.python, str(ROOT / "scripts" / "train.py"), f"experiment={experiment}"),
        *("logger=none", "seed=0", f"hydra.run.dir={folder / 'run'}"),
        *(["trainer.accelerator=gpu"] if setting.is_gpu else []),
        *(small if setting.quick else [f"data.path={setting.data / data}"]),
    ]


def trained(work: str, figure: str, goal: float, kind: type[Row], folder: Path) -> list[Row]:
    """What a run has come to."""
    summary = json.loads((folder / "run" / "summary.json").read_text("utf-8"))
    note = f"{summary['params/nonzero']:,} weights left, {summary['seconds']} s"
    return [kind(f"{work}: {figure}", "", goal, summary[figure], note=note)]


SMALL_IMAGES = ("data=digits", "trainer.max_epochs=2")
SMALL_TEXT = (
    f"data.path={ROOT / 'README.md'}",
    *("data.classes=200", "model.network.layers=1", "model.network.width=24"),
    "trainer.max_epochs=1",
)

JOBS: Mapping[str, Job] = {
    "tests": Job("tests that ask for a GPU", 90, cuda_tests),
    "float32": Job(
        "kernels and steps, float32",
        75,
        partial(benchmark, "pressure", "passes,launches,steps", 7),
        measured,
    ),
    "lenet": Job(
        "LeNet-300-100 trained",
        75,
        partial(train, "mnist_lenet300_66x", "mnist", SMALL_IMAGES),
        partial(trained, "LeNet-300-100 on MNIST", "test/accuracy", 0.983, AtLeast),
        needs="mnist",
    ),
    "gpt": Job(
        "GPT trained",
        60,
        partial(train, "shakespeare_gpt", "tinyshakespeare/input.txt", SMALL_TEXT),
        partial(trained, "GPT on tiny Shakespeare", "val/loss", 1.70, Row),
        needs="tinyshakespeare/input.txt",
    ),
    "fits": Job(
        "cuts, memory and whole fits",
        90,
        partial(benchmark, "pressure", "cuts,memory,fits", 3),
        measured,
    ),
    "mixed": Job(
        "steps, bf16-mixed", 40, partial(benchmark, "pressure", "steps-mixed", 5), measured
    ),
    "linears": Job(
        "2:4 linears, compact networks, sparse layers",
        45,
        partial(benchmark, "deploy", "two_of_four,compacted,linear", 3),
        measured,
    ),
    "ddp": Job("DDP, one process on the card", 30, partial(shared, 1)),
    "ddp-two": Job("DDP, two processes on the card", 30, partial(shared, 2)),
}
"""By name, the most wanted first: what time is not left for is left out."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py gpu`."""
    command.add_argument("--device", default="cuda", help="default: cuda; cpu to see that it runs")
    command.add_argument("--quick", action="store_true", help="see that it runs; figures are noise")
    command.add_argument("--only", metavar="PART,...", help=f"of {', '.join(JOBS)}")
    command.add_argument(
        "--data", type=Path, default=ROOT / "data", help="has mnist and tinyshakespeare"
    )
    command.add_argument(
        "--output", type=Path, default=Path("gpu.json"), help="default: gpu.json; and gpu.md"
    )


def run(options: argparse.Namespace) -> int:
    """Do all jobs, one after the other; 1 when one did not end well, 2 when none could begin."""
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device)
        names = chosen(JOBS, options.only)
    except (RuntimeError, AssertionError, ValueError) as error:
        print(f"benchmark.py: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    setting = Setting(sys.executable, options.device, options.quick, options.data.absolute())
    about = {
        "device": name_of(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "quick": options.quick,
    }
    begun, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            left = SECONDS - (time.monotonic() - begun)
            outcomes.append(do(JOBS[name], setting, Path(folder, name), left))
            print(line(outcomes[-1]), file=sys.stderr, flush=True)
            leave(options.output, about, outcomes)  # after each: what follows may not end
    print(page(about, outcomes))
    return 0 if all(one.end == "ok" for one in outcomes) else 1


def leave(file: Path, about: Mapping[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Write what is known so far: one file of JSON, one of Markdown."""
    jobs = [{**asdict(one), "rows": [as_dict(row) for row in one.rows]} for one in outcomes]
    text = json.dumps({**about, "jobs": jobs}, indent=1, ensure_ascii=False)
    file.write_text(f"{text}\n", "utf-8")
    file.with_suffix(".md").write_text(f"{page(about, outcomes)}\n", "utf-8")


def line(outcome: Outcome) -> str:
    return f"| {outcome.title} | {outcome.end} | {outcome.seconds:g} | {_cell(outcome.said)} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")[:160]


def page(about: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """Markdown: what became of each job, then what they measured, then what went wrong."""
    where = f"{about['device']}, torch {about['torch']}, Python {about['python']}"
    lines = ["# On a GPU", "", where + (", quick: figures are noise" if about["quick"] else "")]
    lines += ["", "| part | end | seconds | |", "| --- | --- | ---: | --- |", *map(line, outcomes)]
    for one in outcomes:
        if one.rows:
            lines += ["", f"## {one.title[0].upper()}{one.title[1:]}", "", table(one.rows)]
        if one.tail:
            lines += ["", f"### Why not: {one.title}", "", "```text", one.tail, "```"]
    return "\n".join(lines)
