"""The command: one table, what is asked for, and a clear word when there is nothing to compare."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"


@pytest.fixture(scope="module")
def main() -> Callable[[Sequence[str]], int]:
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    command: Callable[[Sequence[str]], int] = module.main
    return command


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    for name, nonzero, accuracy in (("dense", 900, 0.95), ("small", 90, 0.94), ("poor", 95, 0.5)):
        (folder / name).mkdir(parents=True)
        summary = {"test/accuracy": accuracy, "params/nonzero": nonzero, "params/prunable": 900}
        (folder / name / "summary.json").write_text(json.dumps(summary))
    return folder


def test_prints_one_table_and_writes_the_page(
    main: Callable[[Sequence[str]], int],
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(runs.parent)
    assert main(["outputs"]) == 0
    out, err = capsys.readouterr()
    marks = {line.split("|")[1].strip(): "*" in line for line in out.splitlines()[2:5]}
    assert marks == {"dense": True, "poor": False, "small": True}
    assert err == "wrote compare.html\n"
    assert Path("compare.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_writes_the_formats_asked_for_and_no_other(
    main: Callable[[Sequence[str]], int],
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(runs.parent)
    assert main(["outputs", "--format", "md,csv", "--output", "new/a.svg", "--format", "png"]) == 0
    written = {path.name for path in Path().rglob("*.*") if path.suffix != ".json"}
    assert written == {"compare.md", "compare.csv", "compare.png", "a.svg"}
    out = capsys.readouterr().out
    assert Path("compare.md").read_text(encoding="utf-8") == out
    assert Path("compare.csv").read_text(encoding="utf-8").startswith("run,recipe,best,")
    assert Path("compare.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in Path("new/a.svg").read_text(encoding="utf-8")


def test_an_unknown_format_is_named_with_the_known_ones(
    main: Callable[[Sequence[str]], int], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(runs), "--format", "md,xls"])
    assert "'xls' is not one of html, md, csv, png" in capsys.readouterr().err


def test_a_broken_run_is_skipped_with_a_line(
    main: Callable[[Sequence[str]], int],
    runs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = runs / "dense" / "summary.json"
    broken.write_text("{")
    picture = runs / "picture.svg"
    assert main([str(runs), "--output", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert "small" in out and "dense" not in out
    skipped, wrote = err.splitlines()
    assert skipped.startswith(f"skipped {broken}: not valid JSON") and wrote == f"wrote {picture}"
    assert picture.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{folder}"], "no run to compare in {folder}"),
        (["{folder}/nowhere"], "{folder}/nowhere: no such file or directory"),
        (["{runs}", "--output", "{folder}/picture.xyz"], "'xyz' is not supported"),
    ],
)
def test_nothing_to_do_is_one_clear_message(
    main: Callable[[Sequence[str]], int],
    runs: Path,
    tmp_path: Path,
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert main([argument.format(folder=folder, runs=runs) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert complaint.format(folder=folder) in err
    assert err.count("\n") == 1
