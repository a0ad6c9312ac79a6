"""Compare runs: a table on the screen, and a page to look around in."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from l1prune.runs import hosted
from l1prune.runs.escapes import LINE, complain, printable, show
from l1prune.runs.groups import by_scale
from l1prune.runs.page import render
from l1prune.runs.picture import draw
from l1prune.runs.points import DENSE, SUMMARY, Point, find_runs, read_points
from l1prune.runs.tables import csv_table, judged_by, runs_table, table

FORMATS = ("html", "md", "csv", "png", "svg", "pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write what is asked for; 2 when there is nothing to compare."""
    options = read(arguments)
    try:
        points, problems = read_points(find_runs(options.runs))
        online, missing = hosted.read_hosted(options.wandb) if options.wandb else ([], [])
        problems += [file for point in points for file in point.unread]
        points, problems = points + online, problems + missing
        for problem in problems:
            show(f"skipped {printable(problem, LINE)}", sys.stderr)
        if not points:
            where = ", ".join(map(str, filter(None, [*options.runs, options.wandb])))
            raise FileNotFoundError(f"no run to compare in {where}: none has a usable {SUMMARY}")
        if len(scales := [scale for scale, _ in by_scale(points)]) > 1:
            names = ", ".join(printable(judged_by(scale, scales)) for scale in scales)
            show(f"the runs are judged by {names}: each by itself", sys.stderr)
        check_recipe(points, options.against)
        text = table(points, options.against)
        if options.all:
            text = f"{text}\n\n{runs_table(points)}"
        show(text)
        for file in options.output:
            write(points, file, text)
            show(f"wrote {printable(file)}", sys.stderr)
        if online:
            print(f"The report is at {hosted.publish(options.wandb, online)}")
    except (ImportError, OSError, ValueError) as error:
        complain(error)
        return 2
    return 0


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `output` holds all files to write."""
    parser = argparse.ArgumentParser(
        description="Compare runs. Prints a Markdown table of recipes and sizes, each with its "
        "mean and standard error over seeds, its difference from the dense network, and the best "
        "trade-offs by validation marked; and writes compare.html, a page that opens from disk: "
        "what the runs are judged by against prunable weights left, training curves, layers, and "
        "tables to sort."
    )
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="a run directory, or a folder of them"
    )
    parser.add_argument(
        "--runs", dest="all", action="store_true", help="a table of every run as well"
    )
    parser.add_argument(
        "--against",
        default=DENSE,
        metavar="RECIPE",
        help="what recipes are compared with, seed by seed at equal size (default: dense)",
    )
    parser.add_argument(
        "--wandb",
        metavar="ENTITY/PROJECT",
        help="the runs of this W&B project as well, and a report on them there",
    )
    _add_outputs(parser)
    options = parser.parse_args(arguments)
    if not options.runs and not options.wandb:
        parser.error("name a RUN, or a project with --wandb")
    options.output += [Path(f"compare.{name}") for name in options.format]
    options.output = options.output or [Path("compare.html")]
    return options


def _add_outputs(parser: argparse.ArgumentParser) -> None:
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


def formats(text: str) -> list[str]:
    """The formats in a list with commas."""
    names = text.split(",")
    if unknown := [name for name in names if name not in FORMATS]:
        known = ", ".join(FORMATS)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {known}")
    return names


def check_recipe(points: Sequence[Point], recipe: str) -> None:
    """Refuse to compare with what is not there; without a dense run nothing is compared."""
    known = sorted({point.recipe for point in points})
    if recipe != DENSE and recipe not in known:
        raise ValueError(f"--against={recipe}: no run is of that recipe, but of {', '.join(known)}")


def write(points: Sequence[Point], file: Path, tables: str) -> None:
    """Write what the file's suffix says: what is no text is a picture, and draw() knows which."""
    texts: dict[str, Callable[[], str]] = {
        ".html": lambda: render(points),
        ".md": lambda: tables + "\n",
        ".csv": lambda: csv_table(points),
    }
    if text := texts.get(file.suffix.lower()):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(), encoding="utf-8")
    else:
        draw(points, file)
