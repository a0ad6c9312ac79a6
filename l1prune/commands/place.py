"""Place: where the configuration is, and how a command was called, to call one again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

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


def own_folder() -> list[str]:
    """The folder of configurations of one's own, as it was given."""
    sources: Any = HydraConfig.get().runtime.config_sources
    given = [str(one.path) for one in sources if one.provider == "command-line"]
    return ["--config-dir", os.path.relpath(given[0])] if given else []


def is_chosen(group: str) -> bool:
    """Whether the command line says which of a group it is to be, or what it is made of."""
    given: Any = HydraConfig.get().overrides.task if HydraConfig.initialized() else [group]
    return any(one.lstrip("+").partition("=")[0].partition(".")[0] == group for one in given)


def trusted() -> list[str]:
    """What deploy has to be told, to call what `conf/` does not name."""
    given: Any = HydraConfig.get().overrides.task
    return [*own_folder(), *(one for one in given if "_target_=" in one and one[0] not in "+~")]
