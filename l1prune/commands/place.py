"""Place: where the configuration is, and by what name a command was called."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def conf_folder(package: Path = PACKAGE) -> Path:
    """The configuration: in the package where it is installed, beside it in a checkout."""
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


CONF = conf_folder()


def program(command: str) -> list[str]:
    """How a command is called by the way in which this one was: as a script, or by `l1prune`.

    >>> sys.argv[0] = "scripts/train.py"
    >>> program("deploy")
    ['python', 'scripts/deploy.py']
    """
    called = Path(sys.argv[0])
    if called.parent == Path(__file__).parent:
        return ["l1prune", command]
    return ["python", str(called.with_name(f"{command}.py"))]
