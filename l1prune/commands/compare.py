"""Compare runs: a table on the screen, and a page to look around in."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from l1prune.runs import wandb
from l1prune.runs.escapes import LINE, printable, show
from l1prune.runs.frontier import csv_table, draw, table
from l1prune.runs.page import render
from l1prune.runs.points import SUMMARY, Point, find_runs, read_points

# What is no text is a picture: draw() knows which.
TEXTS: dict[str, Callable[[Sequence[Point]], str]] = {
    ".html": render,
    ".md": lambda points: table(points) + "\n",
    ".csv": csv_table,
}
FORMATS = ("html", "md", "csv", "png", "svg", "pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write what is asked for; 2 when there is nothing to compare."""
    options = read(arguments)
    try:
        points, problems = read_points(find_runs(options.runs))
        online, missing = wandb.read_hosted(options.wandb) if options.wandb else ([], [])
        problems += [file for point in points for file in point.unread]
        points, problems = points + online, problems + missing
        for problem in problems:
            show(f"skipped {printable(problem, LINE)}", sys.stderr)
        if not points:
            where = ", ".join(map(str, filter(None, [*options.runs, options.wandb])))
            raise FileNotFoundError(f"no run to compare in {where}: none has a usable {SUMMARY}")
        show(table(points))
        for file in options.output:
            write(points, file)
            show(f"wrote {printable(file)}", sys.stderr)
        if online:
            print(f"The report is at {wandb.publish(options.wandb, online)}")
    except (ImportError, OSError, ValueError) as error:
        show(f"compare.py: {printable(error, LINE)}", sys.stderr)
        return 2
    return 0


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `output` holds all files to write."""
    parser = argparse.ArgumentParser(
        description="Compare runs. Prints a Markdown table with the best trade-offs marked, and "
        "writes compare.html, a page that opens from disk: accuracy against nonzero parameters, "
        "training curves, layers, and a table to sort."
    )
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="a run directory, or a folder of them"
    )
    parser.add_argument(
        "--wandb",
        metavar="ENTITY/PROJECT",
        help="the runs of this W&B project as well, and a report on them there",
    )
    parser.add_argument(
        "--format",
        action="extend",
        type=formats,
        default=[],
        metavar="FORMAT",
        help=f"what to write instead, as compare.FORMAT: {', '.join(FORMATS)}; or several: md,png",
    )
    parser.add_argument(
        "--output",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="the same under a name of your own, whose suffix says the format; may be repeated",
    )
    options = parser.parse_args(arguments)
    if not options.runs and not options.wandb:
        parser.error("name a RUN, or a project with --wandb")
    options.output += [Path(f"compare.{name}") for name in options.format]
    options.output = options.output or [Path("compare.html")]
    return options


def formats(text: str) -> list[str]:
    """The formats in a list with commas."""
    names = text.split(",")
    if unknown := [name for name in names if name not in FORMATS]:
        known = ", ".join(FORMATS)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {known}")
    return names


def write(points: Sequence[Point], file: Path) -> None:
    """Write what the file's suffix says."""
    if text := TEXTS.get(file.suffix.lower()):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(points), encoding="utf-8")
    else:
        draw(points, file)
