"""Compare runs: one table, and a picture of accuracy against parameters.

python scripts/compare.py outputs/ multirun/
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from l1prune.frontier import SUMMARY, draw, find_runs, read_points, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write the picture; 2 when there is nothing to compare."""
    parser = argparse.ArgumentParser(
        description="Compare runs: one table with the best trade-offs marked, and a picture of "
        "accuracy against nonzero parameters."
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run directory, or a folder of them"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("frontier.png"),
        metavar="FILE",
        help="the picture: .png, .svg or .pdf (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        points, problems = read_points(find_runs(options.runs))
        for problem in problems:
            print(f"skipped {problem}", file=sys.stderr)
        if not points:
            where = ", ".join(map(str, options.runs))
            raise FileNotFoundError(f"no run to compare in {where}: none has a usable {SUMMARY}")
        print(table(points))
        draw(points, options.output)
    except (OSError, ValueError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    print(f"\nThe picture is in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
