"""The house: wings import only those below them, rooms in no circle, and each has its tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import l1prune

PACKAGE = Path(l1prune.__file__).parent
TESTS = Path(__file__).parent
BELOW = {
    "checks": set(),
    "words": set(),
    "weights": {"checks", "words"},
    "penalties": {"checks", "words", "weights"},
    "pressure": {"checks", "words", "weights", "penalties"},
    "cuts": {"checks", "words", "weights", "penalties", "pressure"},
    "deploy": {"checks", "words", "weights", "penalties", "pressure", "cuts"},
    "channels": {"checks", "words", "weights", "penalties", "pressure", "cuts", "deploy"},
    "training": {"checks", "words", "weights", "penalties", "pressure", "cuts"},
    "features": {"checks", "words", "weights", "penalties", "pressure", "cuts", "training"},
    "runs": {"checks", "words", "weights", "penalties", "pressure", "cuts", "deploy", "training"},
    "zoo": {"checks", "words", "weights", "penalties", "pressure", "cuts", "training", "runs"},
    "commands": {
        *("checks", "words", "weights", "penalties", "pressure", "cuts"),
        *("deploy", "training", "features", "runs", "zoo"),
    },
}
"""What each wing may import, besides itself."""


IN_WHOLE_RUNS = {"training.session"}
"""What joins all the others: tested with the callback, as test_moves, test_time and the like."""

IN_WHOLE_MODELS = {
    *(f"deploy.{room}" for room in ("channels", "contractions", "graph", "inputs", "movements")),
    *(f"deploy.{room}" for room in ("report", "rules", "signals", "surgery", "widths")),
    *(
        f"deploy.{room}"
        for room in ("encodings", "positions", "states", "storage_report", "streams")
    ),
    *(f"deploy.{room}" for room in ("execution_report", "export_report", "programs", "sessions")),
}
"""What `compact`, `save_sparse`, `sparse` and exports are made of: tested by what they promise."""


def rooms() -> dict[str, Path]:
    """Every module of the package by its name below it, as `cuts.masks`."""
    files = (file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")
    names = {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in names.items()}


def is_wing(name: str) -> bool:
    """Whether it is a folder of rooms."""
    return rooms()[name].name == "__init__.py"


def imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports when it is loaded, and those that its functions do."""
    known = rooms()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("l1prune."):
            module = str(node.module).removeprefix("l1prune.")
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in known else module
        elif isinstance(node, ast.ImportFrom) and node.module == "l1prune":
            for alias in node.names:
                if alias.name in known:
                    yield alias.name


@pytest.mark.parametrize("room", sorted(rooms()))
def test_no_room_imports_from_a_wing_above_it(room: str) -> None:
    wing = room.partition(".")[0]
    wings = {other.partition(".")[0] for other in imported(rooms()[room])}
    assert wings <= BELOW[wing] | {wing}


@pytest.mark.parametrize(
    "room",
    sorted(n for n in rooms().keys() - IN_WHOLE_RUNS - IN_WHOLE_MODELS if not is_wing(n)),
)
def test_every_room_has_its_tests(room: str) -> None:
    *wings, name = room.split(".")
    assert TESTS.joinpath(*wings, f"test_{name}.py").is_file()


def test_no_rooms_import_in_a_circle() -> None:
    within = {
        name: {one for one in imported(file) if one != name} for name, file in rooms().items()
    }
    order = list(TopologicalSorter(within).static_order())  # raises, and names the circle
    assert set(order) >= set(within)


def test_public_names_are_where_they_are_said_to_be() -> None:
    """Types are checked by the imports, names are found by the table: they must agree."""
    declared = {
        (str(node.module), alias.name)
        for node in ast.walk(ast.parse(Path(l1prune.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("l1prune.")
        for alias in node.names
    }
    found = {(f"l1prune.{room}", n) for room, names in l1prune.ROOMS.items() for n in names.split()}
    assert declared == found
    for name in l1prune.__all__:
        assert getattr(l1prune, name) is not None


def test_what_a_plain_installation_lacks_is_left_out_of_a_star() -> None:
    """As `from l1prune import *` says, and whoever walks through `__all__`."""
    program = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'sklearn' else real(name, *rest)\n"
        "import sys; sys.modules['sklearn'] = None\n"
        "from l1prune import *\n"
        "assert L1Pruning and 'L1FeatureSelector' not in globals()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_below_training_nothing_needs_lightning() -> None:
    lower = [n for n in rooms() if n.partition(".")[0] in {"channels", *BELOW["channels"]}]
    modules = ", ".join(f"l1prune.{name}" for name in lower)
    program = f"import sys; sys.modules['lightning'] = None; import l1prune, {modules}; "
    program += "assert not any('lightning' in name for name, m in sys.modules.items() if m)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_loop_of_ones_own_needs_no_lightning() -> None:
    program = "import sys; sys.modules['lightning'] = None; import l1prune; l1prune.Pruning(); "
    program += "assert not any('lightning' in name for name, m in sys.modules.items() if m)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_lightning_what_needs_it_says_so() -> None:
    program = "import sys; sys.modules['lightning'] = None; import l1prune; l1prune.L1Pruning"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "lightning" in done.stderr.splitlines()[-1]
