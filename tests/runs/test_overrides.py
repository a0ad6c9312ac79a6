"""What a sweep chooses, its settings wait for; all else is as it was typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from l1prune.runs.overrides import for_jobs, options_first, spelled_out

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"


@pytest.mark.parametrize(
    ("group", "given", "waiting"),
    [
        ("+prune=l1,l2", "prune.threshold.sparsity=0.9", "choice(0.9)"),
        ("+prune=choice(l1,l2)", "prune.prune_at=[0.1,0.5]", "choice([0.1,0.5])"),
        ("+prune=glob(*)", "prune.targets={head: 2}", "choice({head: 2})"),
        ("experiment=a,b", "prune.strength='0,1'", "choice('0,1')"),
        ("data=digits,mnist", "data.path=null", "choice('null')"),
    ],
)
def test_a_setting_below_what_is_chosen_waits(group: str, given: str, waiting: str) -> None:
    name = given.partition("=")[0]
    assert for_jobs([given, "-m", group], CONF) == [f"{name}={waiting}", "-m", group]


@pytest.mark.parametrize(
    "arguments",
    [
        ["+prune=l1", "prune.strength=1"],
        ["+prune=l1,l2", "prune.strength=1"],  # Hydra asks for -m
        ["-m", "+prune=l1", "prune.strength=1", "seed=0,1"],
        ["-m", "+prune=l1,l2", "seed=1", "prune.strength=1,2", "+prune.a=1", "~prune.b"],
        ["-m", "+prune=l1,l2", "hydra.sweep.dir=a/b", "-h", "--cfg", "job"],
        ["-m", "+prune=l1,l2", "prune.strength=(", "prune.a='1'", "=", "", "\udcff"],
    ],
)
def test_all_else_is_as_it_was_typed(arguments: list[str]) -> None:
    assert for_jobs(arguments, CONF) == arguments


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("data.target=Übergewicht", "Übergewicht"),
        ("data.path=/home/müller/a b.csv", "/home/müller/a b.csv"),
        ("data.leave_out=[Größe cm, age]", ["Größe cm", "age"]),
        ("+tags={Ort: Köln}", {"Ort": "Köln"}),
        ("data.target='Größe'", "Größe"),
    ],
)
def test_letters_of_all_languages_are_read(given: str, read: object) -> None:
    (argument,) = spelled_out([given])
    assert OverridesParser.create().parse_override(argument).value() == read


def test_what_is_no_setting_in_quotes_either_is_left_to_hydra() -> None:
    assert spelled_out(["a=[ö", "ö=1", "a=ö)"]) == ["a=[ö", "ö=1", "a=ö)"]


def test_a_sweep_over_recipes_takes_a_setting_of_all(tmp_path: Path) -> None:
    options = ["-m", "+prune=l1,gradual", "prune.threshold.sparsity=0.9", "logger=none"]
    options += ["trainer.max_epochs=1", "hydra.sweep.dir=runs"]
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if "|" in line]
    assert sorted(rows[-2:]) == ["gradual", "l1"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a=1", "--config-dir", "c", "b=2"], ["--config-dir", "c", "a=1", "b=2"]),
        (["a=1", "--config-dir=c", "-m"], ["--config-dir=c", "-m", "a=1"]),
        (["a=1", "--cfg", "job", "--resolve", "~b"], ["--cfg", "job", "--resolve", "a=1", "~b"]),
        (["--info", "a=1"], ["--info", "a=1"]),
        (["a=1", "--info", "defaults"], ["--info", "defaults", "a=1"]),
        (["a=1", "--config-dir"], ["--config-dir", "a=1"]),
    ],
)
def test_options_may_stand_anywhere(given: list[str], expected: list[str]) -> None:
    assert options_first(given) == expected
    assert options_first(expected) == expected
