"""Search for recipes with Optuna: what a run is judged by up, weights down."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from l1prune.commands.place import train_script
from l1prune.runs.escapes import complain, show
from l1prune.runs.search import Search, Space
from l1prune.runs.sweep import conclude

TRAIN = train_script()


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, then compare all that was tried; 1 when a trial failed, 2 when there is no search."""
    parser = argparse.ArgumentParser(
        description="Search for recipes with Optuna: what validation says up, weights left down. "
        "Started again with the same folder, it goes on where it stopped."
    )
    parser.add_argument(
        "settings",
        nargs="+",
        metavar="NAME=VALUE",
        help="what train.py takes; looked for is what has several values (a,b,c) or a range: "
        "interval(LOW,HIGH), int(interval(LOW,HIGH)), tag(log,interval(LOW,HIGH))",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("multirun/search"),
        help="what the search leaves (default: %(default)s)",
    )
    parser.add_argument("--trials", type=int, default=30, help="in all (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the proposals")
    parser.add_argument("--config-dir", help="configurations of your own, as for train.py")
    options = parser.parse_intermixed_args(arguments)
    own = ["--config-dir", options.config_dir] if options.config_dir else []
    try:
        space = Space.of(options.settings, own)
        search = Search.open(options.folder, space, TRAIN, options.seed)
    except (ImportError, OSError, ValueError) as error:
        complain(error)
        return 2
    search.run(options.trials, options.jobs, tell=show)
    show(f"\n{search}")
    conclude(options.folder)
    return 0
