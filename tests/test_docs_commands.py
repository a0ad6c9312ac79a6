"""The documents: every command in them is one that is there, and takes what it is given."""

from __future__ import annotations

import importlib.util
import itertools
import re
import runpy
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from blocks import ROOT, blocks, spans
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from l1prune.commands import compare, deploy, features
from l1prune.runs.overrides import spelled_out
from l1prune.runs.search import Space

PENDING: dict[str, str] = {}
"""What the documents say already and the command line does not do yet: such a command must be
refused. When it is taken, its test fails, and its line is taken out here."""

OURS = r"(python (scripts|examples)/|l1prune |make \w|pip install |wandb sweep)"
"""How what stands in a line of text begins, where it is a command."""

OTHERS = {"hf", "head", "uv"}
"""Commands of others, of which no more is asked than that they are called so."""


def lines(text: str) -> Iterator[str]:
    """The commands in a block of shell, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if not re.match(r"\s*(#|\w+=\$\()", line) and line.strip():
            words = shlex.split(line.replace("$seeds", "0,1"), comments=True)
            yield shlex.join(itertools.takewhile(lambda word: word != ">", words))


def commands() -> list[Any]:
    """Every command of the documents, once, with where it was found first."""
    every = {one: block.page for block in blocks("sh") for one in lines(block.text)}
    for page, span in spans():
        if re.match(
            r"(python (scripts|examples)/|l1prune |make \w|pip install |wandb sweep)", span
        ):
            every.setdefault(shlex.join(shlex.split(span)), page)
    return [
        pytest.param(
            command,
            id=f"{page}: {command}",
            marks=[pytest.mark.xfail(reason=PENDING[command])] if command in PENDING else [],
        )
        for command, page in every.items()
    ]


def settings() -> list[Any]:
    """What the tables of choices say is to be typed."""
    rows = re.findall(
        r"^\| [^|]+ \| (`[^\n]+) \|$",
        "\n".join(
            (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/command-line.md")
        ),
        re.MULTILINE,
    )
    typed = (span for row in rows for span in re.findall(r"`([^`]*=[^`]*)`", row))
    return [pytest.param(one) for one in dict.fromkeys(typed)]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of configurations that `own-model.md` makes."""
    for block in blocks("yaml"):
        named = re.findall(r"`(conf/[\w/]+\.yaml)` is", block.before)
        if block.page == "own-model.md" and named:
            file = tmp_path / named[-1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
    return tmp_path / "conf"


@pytest.mark.parametrize("command", commands())
def test_every_command_is_taken(command: str, own: Path) -> None:
    words = shlex.split(command)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    check(words, own)


@pytest.mark.parametrize("typed", settings())
def test_every_choice_of_the_tables_is_taken(typed: str, own: Path) -> None:
    pruning = ["+prune=l1"] * ("prune." in typed and "+prune=" not in typed)
    train([*pruning, *shlex.split(typed)], own)


def test_what_is_pending_is_in_the_documents() -> None:
    known = {one.values[0] for one in commands()}
    assert {shlex.join(shlex.split(one)) for one in PENDING} <= known


def check(words: Sequence[str], own: Path) -> None:
    """Fail if this is no command that can be given."""
    name, rest = Path(words[0]).name, list(words[1:])
    if name == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert next(one for one in rest if "=" not in one) in targets
    elif name in ("pip", "uv") and "install" in rest:
        installs(rest[rest.index("install") + 1 :])
    elif name == "l1prune":
        assert has_command()
        called(rest[0], rest[1:], own)
    elif name == "python":
        python(rest, own)
    elif name == "wandb":
        assert rest[0] in ("sweep", "agent", "sync")
        if rest[0] == "sweep":
            assert (ROOT / rest[-1]).is_file()
    elif name == "pre-commit":
        assert rest == ["install"]
    else:
        assert name in OTHERS, f"nobody knows {name}"


def has_command() -> bool:
    """Whether the package brings a command `l1prune`."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    return bool(re.search(r"^\[project\.scripts\]\n(?:.*\n)*?l1prune = ", project, re.MULTILINE))


def installs(names: Sequence[str]) -> None:
    """Fail if one is an extra that there is not."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    table = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", project, re.S | re.M)
    assert table
    extras = set(re.findall(r"^([\w-]+) = \[", table[1], re.MULTILINE))
    for name in names:
        found = re.search(r"l1prune\[(.*)\]", name)
        assert found is None or {*found[1].split(",")} <= extras, name


def python(words: Sequence[str], own: Path) -> None:
    """Fail if a program of the repository is not there, or refuses its arguments."""
    if words[0] == "-c":
        compile(words[1], "document", "exec")
        return
    script = ROOT / words[0]
    assert script.is_file(), f"{words[0]} is not there"
    if script.parent.name == "scripts":
        called(script.stem, words[1:], own)
    elif script.stem != "lightning_cli" and len(words) > 1:
        program = runpy.run_path(str(script))
        assert program["arguments"](list(words[1:]))


def called(name: str, arguments: Sequence[str], own: Path) -> None:
    """Fail if a command of the package refuses its arguments."""
    if name == "train":
        train(arguments, own)
    elif name == "search":
        search(arguments, own)
    elif name == "benchmark":
        benchmark(arguments)
    else:
        read = {
            "compare": compare.read,
            "deploy": deploy.read,
            "export": deploy.read,
            "select": features.read,
            "select_features": features.read,
        }[name]
        assert read(list(arguments) or ["outputs/"])


def train(arguments: Sequence[str], own: Path) -> None:
    """Fail if Hydra does not compose this run, or the first of these runs."""
    folder, given = None, [one for one in arguments if one not in ("-m", "--help")]
    if "--config-dir" in given:
        at = given.index("--config-dir")
        folder = own if given[at + 1] == "conf" else ROOT / given[at + 1]
        given = given[:at] + given[at + 2 :]
    single = []
    for override in OverridesParser.create().parse_overrides(spelled_out(given)):
        if override.is_sweep_override():
            first = next(iter(override.sweep_string_iterator()))
            single.append(f"{override.get_key_element()}={first}")
        else:
            single.append(str(override.input_line))
    path = [f"hydra.searchpath=[file://{folder}]"] if folder else []
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("train", [*path, "run_dir=.", *single], return_hydra_config=True)
    except HydraException as error:
        raise AssertionError(f"{shlex.join(given)} is refused: {error}") from error
    finally:
        HydraConfig.instance().cfg = None
    assert config.model and config.data is not None


def search(arguments: Sequence[str], own: Path) -> None:
    """Fail if nothing is looked for, or what is fixed is refused."""
    options = {"--trials", "--jobs", "--folder", "--seed"}
    pairs = itertools.pairwise(["", *arguments])
    rest = [one for before, one in pairs if one not in options and before not in options]
    space = Space.of(rest)
    assert space.searched
    train(space.fixed, own)


def benchmark(arguments: Sequence[str]) -> None:
    """Fail if `scripts/benchmark.py` has no such measurement; FOLDER is where data are."""
    specification = importlib.util.spec_from_file_location("b", ROOT / "scripts/benchmark.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    before = sys.path[:]
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        specification.loader.exec_module(module)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "Isolet.mat").touch()
            assert module.read([folder if one == "FOLDER" else one for one in arguments])
    finally:
        sys.path[:] = before
