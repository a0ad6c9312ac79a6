"""The command: one table, what is asked for, and a clear word when there is nothing to compare."""

from __future__ import annotations

import csv
import json
import os
import re
import tempfile
import tracemalloc
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1prune.commands.compare import main


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    for name, nonzero, accuracy in (("dense", 900, 0.95), ("small", 90, 0.94), ("poor", 95, 0.5)):
        (folder / name).mkdir(parents=True)
        summary = {"test/accuracy": accuracy, "params/nonzero": nonzero, "params/prunable": 900}
        (folder / name / "summary.json").write_text(json.dumps(summary))
    return folder


def test_prints_one_table_and_writes_the_page(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(runs.parent)
    assert main(["outputs"]) == 0
    out, err = capsys.readouterr()
    marks = {line.split("|")[-2].strip(): "*" in line for line in out.splitlines()[2:5]}
    assert marks == {"dense": True, "poor": False, "small": True}
    assert err == "wrote compare.html\n"
    assert Path("compare.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_writes_the_formats_asked_for_and_no_other(
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


def test_what_to_compare_with_has_to_be_there(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = f"--output={runs}/a.md"
    assert main([str(runs), "--against", "gradual", written]) == 2
    assert "no run is of that recipe, but of dense, pruned" in capsys.readouterr().err
    assert main([str(runs), "--against", "pruned", written]) == 0


def test_runs_of_different_metrics_are_said_and_kept_apart(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "mse").mkdir()
    summary = {"monitor": "val/mse", "mode": "min", "val/mse": 0.5, "params/nonzero": 9}
    (runs / "mse" / "summary.json").write_text(json.dumps(summary))
    assert main([str(runs), f"--output={runs}/a.html", f"--output={runs}/a.svg"]) == 0
    out, err = capsys.readouterr()
    assert "the runs are judged by val/accuracy, val/mse: each by itself" in err
    assert out.index("Judged by val/accuracy") < out.index("Judged by val/mse, lower is better")


def test_an_unknown_format_is_named_with_the_known_ones(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(runs), "--format", "md,xls"])
    assert "'xls' is not one of html, md, csv, png" in capsys.readouterr().err


def test_a_broken_run_is_skipped_with_a_line(
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


class Data(HTMLParser):
    """What the page of runs shows, from the JSON in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.text = ""
        self.here = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here = dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        self.text += data if self.here else ""

    def names(self) -> list[str]:
        return [run["name"] for run in json.loads(self.text)["runs"]]


def good_run(folder: Path) -> None:
    (folder / "good").mkdir(parents=True)
    summary = {"test/accuracy": 0.9, "params/nonzero": 100, "params/prunable": 1000}
    (folder / "good" / "summary.json").write_text(json.dumps(summary))


def check_all_is_well_formed(folder: Path) -> None:
    """The command shows the good run, and each thing that it writes is what it should be."""
    where = folder.parent / "shown"
    outputs = [f"--output={where}/compare.{kind}" for kind in ("html", "md", "csv", "svg")]
    assert main([str(folder), "--runs", *outputs]) == 0
    lines = (where / "compare.md").read_text(encoding="utf-8").splitlines()
    *_, note = (at for at, line in enumerate(lines) if line.startswith("* no other is as good"))
    rows = [
        re.split(r"(?<!\\)(?:\\\\)*\|", line)
        for line in lines[note + 2 : lines.index("", note + 2)]
    ]
    assert len({len(row) for row in rows}) == 1
    assert all("".join(line).isprintable() for line in lines)
    with open(where / "compare.csv", newline="", encoding="utf-8") as file:
        header, *table = list(csv.reader(file))
    assert {len(row) for row in table} == {len(header)}
    shown = [row[0].strip() for row in table]
    assert "good" in shown and len(shown) == len(rows) - 2
    assert any(row[-2].strip() == "good" for row in rows)
    assert "good" in (names := Data(where / "compare.html").names()) and len(names) == len(shown)
    assert "</svg>" in (where / "compare.svg").read_text(encoding="utf-8")


FILES = (
    *("summary.json", "config.yaml", "report.csv", "history.csv"),
    *("deploy/deploy.json", ".hydra/hydra.yaml"),
)
anything = st.text(st.characters(exclude_categories=()), max_size=30)
odd = anything | st.sampled_from(
    ["=1+1", "$\\frac{x}$", "a|b", "</script>", "\x1b[31m", "__proto__", "constructor", "\n", "_"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(odd, below, max_size=3),
    max_leaves=8,
)
forms = st.dictionaries(
    st.sampled_from(["nbytes", "macs", "latency", "figures"]), values, max_size=2
)
hostile = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@hostile
@given(contents=st.lists(st.binary(max_size=60), min_size=6, max_size=6))
def test_bytes_in_the_files_of_a_run_lose_no_other(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        good_run(runs := Path(folder) / "runs")
        for name, content in zip(FILES, contents, strict=True):
            (runs / "bad" / name).parent.mkdir(parents=True, exist_ok=True)
            (runs / "bad" / name).write_bytes(content)
        check_all_is_well_formed(runs)


@hostile
@given(data=st.data())
def test_names_and_values_in_the_files_of_a_run_lose_no_other(data: st.DataObject) -> None:
    figures = {"test/accuracy": data.draw(st.just(0.8) | values), "params/nonzero": 50}
    recipe = data.draw(odd)
    with tempfile.TemporaryDirectory() as folder:
        good_run(runs := Path(folder) / "runs")
        name = data.draw(st.binary(min_size=1, max_size=40).filter(is_name))
        run = runs / os.fsdecode(name)
        (run / ".hydra").mkdir(parents=True)
        summary = data.draw(st.dictionaries(odd, values, max_size=3)) | figures
        (run / "summary.json").write_text(json.dumps(summary))
        config = data.draw(st.dictionaries(odd, values, max_size=3)) | {"prune": recipe}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (run / "deploy").mkdir()
        form = {"nbytes": 5, "macs": 5, "latency": {"1": {"speed": 2}}, "figures": {}}
        tree = {"version": 1, "metric": recipe, "variants": [form | data.draw(forms)]}
        (run / "deploy" / "deploy.json").write_text(json.dumps(tree))
        columns = data.draw(st.lists(odd, max_size=3))
        cells = [data.draw(odd | st.floats().map(str)) for _ in columns]
        for file, first in (("history.csv", "epoch"), ("report.csv", "name")):
            with open(run / file, "w", newline="", encoding="utf-8", errors="replace") as lines:
                csv.writer(lines).writerows([[first, *columns], ["0", *cells]])
        check_all_is_well_formed(runs)


def is_name(name: bytes) -> bool:
    return not {0, ord("/")} & set(name) and name not in (b".", b"..", b"good")


def test_pipes_devices_and_folders_in_place_of_files_lose_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good_run(tmp_path / "runs")
    plants: dict[str, Callable[[Path], Any]] = {
        "pipe": os.mkfifo,
        "zero": lambda file: file.symlink_to("/dev/zero"),
        "loop": lambda file: file.symlink_to(file.name),
        "folder": lambda file: file.mkdir(),
    }
    for name in FILES[:-1]:
        for kind, plant in plants.items():
            run = tmp_path / "runs" / f"{kind} for {name.replace('/', ' ')}"
            good_run(run.parent / "made")
            (run.parent / "made" / "good").rename(run)
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).unlink(missing_ok=True)
            plant(run / name)
    check_all_is_well_formed(tmp_path / "runs")
    skipped = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped ")]
    assert len(skipped) == len(plants) * len(FILES[:-1])


def test_what_a_run_has_besides_is_shown_though_its_curves_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good_run(tmp_path)
    (tmp_path / "good" / "history.csv").write_text("epoch,loss\n0\n")
    assert main([str(tmp_path), f"--output={tmp_path}/compare.md"]) == 0
    out, err = capsys.readouterr()
    assert "| good |" in out
    assert f"skipped {tmp_path / 'good' / 'history.csv'}: not valid CSV" in err


def test_curves_take_memory_of_a_small_multiple_of_their_file(tmp_path: Path) -> None:
    good_run(tmp_path)
    page = f"--output={tmp_path}/compare.html"
    most = []
    for epochs in (1, 15_000):
        lines = ["epoch,a,b,c,d,e,f", *(f"{n}" + ",0.123456789" * 6 for n in range(epochs))]
        (tmp_path / "good" / "history.csv").write_text("\n".join(lines))
        tracemalloc.start()
        assert main([str(tmp_path), page]) == 0
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    size = (tmp_path / "good" / "history.csv").stat().st_size
    assert most[1] - most[0] < 8 * size
