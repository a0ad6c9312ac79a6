"""`l1prune COMMAND`: one way in for all, and a sentence where something is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import l1prune
from l1prune.commands import main as room

ROOT = Path(__file__).parents[2]


def project() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    tree: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tree


def said(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["l1prune", *words])
    return room.main()


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_all_commands_are_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, *words) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in room.COMMANDS)


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == l1prune.__version__


def test_what_is_no_command_is_answered_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, "trian") == 2
    err = capsys.readouterr().err
    assert "no command 'trian'" in err and "train " in err


@pytest.mark.parametrize("name", room.COMMANDS)
def test_a_command_gets_its_arguments_and_its_status_counts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    fake = SimpleNamespace(main=lambda: seen.append(sys.argv) or 3)  # type: ignore[func-returns-value]
    monkeypatch.setitem(sys.modules, f"l1prune.commands.{room.COMMANDS[name][0]}", fake)
    with pytest.raises(SystemExit) as exit_:
        said(monkeypatch, name, "a=1")
    assert exit_.value.code == 3 and seen[0][1:] == ["a=1"]
    # Lightning starts the other processes of a training by it.
    assert name != "train" or Path(seen[0][0]).is_file()


@pytest.mark.parametrize("script", ["train", "deploy", "search"])
def test_a_python_without_what_is_needed_is_told_what_to_do(script: str, tmp_path: Path) -> None:
    program = (
        "import sys, runpy; sys.modules['hydra'] = sys.modules['torch'] = None; "
        f"runpy.run_path({str(ROOT / 'scripts' / script)!r} + '.py', run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert re.search(r"has no (hydra|torch): pip install l1prune .*make train", done.stderr)


def test_the_package_brings_the_command_and_what_it_is_configured_by() -> None:
    module, _, function = project()["project"]["scripts"]["l1prune"].partition(":")
    assert (module, function) == (room.__name__, room.main.__name__)
    wheel = project()["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"conf": "l1prune/conf"}


def test_all_that_only_some_need_is_an_extra() -> None:
    tree = project()["project"]
    plain = {re.split(r"[^a-z-]", one)[0] for one in tree["dependencies"]}
    assert {"hydra-core", "wandb"} <= plain
    assert not plain & {"matplotlib", "plotly", "scikit-learn", "optuna", "datasets"}
    extras = tree["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.removeprefix("l1prune[").removesuffix("]").split(","))
    assert named == set(extras) - {"all", "bench", "dev", "docs"}
