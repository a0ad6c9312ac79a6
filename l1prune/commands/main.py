"""Main: `l1prune COMMAND …`, and what the scripts call.

Nothing is imported before it is needed: where something is missing, this can still say so.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

COMMANDS = {
    "train": ("train", "train a network, dense or pruned"),
    "compare": ("compare", "compare runs: a table, and a page to look around in"),
    "search": ("search", "let Optuna look for recipes"),
    "select": ("features", "say which columns of a table matter to its target"),
    "deploy": ("deploy", "make the network of a run smaller, in several files, and measure each"),
    "export": ("deploy", "the same"),
}
"""The room of each command, and what it does."""
OLDEST = (3, 10)


def main() -> int:
    """What `l1prune` does; 2 where there is no such command."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(importlib.metadata.version("l1prune"))
        return 0
    if name not in COMMANDS:
        print(f"l1prune: there is no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    room, _ = COMMANDS[name]
    # Lightning starts the processes of a training by what stands here, so it is a file.
    file = Path(__file__).with_name(f"{room}.py")
    sys.argv = [str(file) if name == "train" else f"l1prune {name}", *arguments]
    run(room)
    return 0


def usage() -> str:
    """All commands, a line each."""
    lines = [f"  {name:8} {does}" for name, (_, does) in COMMANDS.items()]
    return "\n".join(
        ["usage: l1prune COMMAND …", "", *lines, "", "l1prune COMMAND --help says what it takes."]
    )


def run(room: str) -> None:
    """Run a command.

    Raises:
        SystemExit: it did not succeed, or something that it needs is missing.
    """
    if sys.version_info < OLDEST:
        raise SystemExit(f"l1prune needs Python 3.10 or newer; {sys.executable} is older")
    try:
        command = importlib.import_module(f"l1prune.commands.{room}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "l1prune"):
            raise
        raise SystemExit(lacking(missing)) from None
    if status := command.main():
        raise SystemExit(status)


def lacking(package: str) -> str:
    """What to do where a package is missing.

    >>> lacking("hydra").partition("; ")[0].endswith("has no hydra: pip install l1prune brings it")
    True
    """
    return (
        f"{sys.executable} has no {package}: pip install l1prune brings it; in a checkout, "
        "make train brings all of it into .venv, and .venv/bin/python is then the Python to use"
    )


if __name__ == "__main__":
    main()
