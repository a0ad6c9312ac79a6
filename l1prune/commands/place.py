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


def train_script() -> Path:
    """What Python is given to train: the script of a checkout, or the room itself."""
    script = PACKAGE.parent / "scripts" / "train.py"
    return script if script.is_file() else Path(__file__).with_name("train.py")


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
