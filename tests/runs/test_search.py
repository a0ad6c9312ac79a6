"""A search with the real Optuna; what stands in for train.py answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from l1prune.runs.search import Search, Space

pytest.importorskip("optuna", reason="needs the extra 'search'")

SPACE = Space.of(["+prune=l1", "sparsity=interval(0.5,0.9)", "+name=good,bad"])

# Accuracy falls as sparsity rises; a file in its folder says that it was there.
TRAIN = """
import json, pathlib, sys
given = dict(word.split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["hydra.run.dir"].strip("'"))
(folder / "starts").open("a").write("x")
if given["+name"] == "bad":
    raise SystemExit("no such name")
sparsity = float(given["sparsity"])
summary = {"val/accuracy": 1 - sparsity**2, "params/nonzero": round(1000 * (1 - sparsity))}
(folder / "summary.json").write_text(json.dumps(summary))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "train.py"
    file.write_text(TRAIN)
    return file


def run(folder: Path, script: Path, trials: int, space: Space = SPACE) -> Search:
    search = Search.open(folder, space, script)
    search.run(trials, jobs=1, tell=lambda _: None)
    return search


def test_a_failed_trial_leaves_its_reason_and_the_search_goes_on(
    tmp_path: Path, script: Path
) -> None:
    search = run(tmp_path / "s", script, 6)
    good = [trial for trial in search.study.trials if trial.params["+name"] == "good"]
    bad = [trial for trial in search.study.trials if trial.params["+name"] == "bad"]
    assert good and bad and len(good) + len(bad) == 6
    for trial in good:
        sparsity = trial.params["sparsity"]
        assert trial.values == [1 - sparsity**2, round(1000 * (1 - sparsity))]
    for trial in bad:
        assert (tmp_path / "s" / str(trial.number) / "error.txt").read_text() == "no such name\n"
    # More accurate is never smaller here: every trade-off is a best one, smallest first.
    sizes = sorted((trial.values[1], str(trial.number)) for trial in good)
    assert [line.split()[0] for line in str(search).splitlines()[1:]] == [name for _, name in sizes]


def test_a_search_goes_on_with_what_it_has(tmp_path: Path, script: Path) -> None:
    first = [trial.params for trial in run(tmp_path / "s", script, 2).study.trials]
    assert [trial.params for trial in run(tmp_path / "s", script, 2).study.trials] == first
    later = [trial.params for trial in run(tmp_path / "s", script, 3).study.trials]
    assert later[:2] == first and later[2] not in first


def test_a_trial_that_was_cut_off_is_taken_up_in_its_own_folder(
    tmp_path: Path, script: Path
) -> None:
    search = Search.open(tmp_path / "s", SPACE, script)
    cut_off = search.study.ask()  # as a killed process leaves it: begun, not ended
    choices = SPACE.suggest(cut_off)
    (tmp_path / "s" / "0").mkdir()
    again = run(tmp_path / "s", script, 2)
    assert (tmp_path / "s" / "0" / "starts").read_text() == "x"
    assert sorted(path.name for path in (tmp_path / "s").glob("[0-9]*")) == ["0", "2"]
    assert SPACE.suggest(again.study.trials[1]) == choices  # type: ignore[arg-type]


def test_a_folder_is_for_one_search(tmp_path: Path, script: Path) -> None:
    run(tmp_path / "s", script, 1)
    with pytest.raises(ValueError, match=r"has a search for \+prune=l1 sparsity="):
        Search.open(tmp_path / "s", Space.of(["sparsity=interval(0,1)"]), script)


def test_ranges_are_chosen_from_as_they_say() -> None:
    import optuna

    space = Space.of(["a=int(interval(1,64))", "b=tag(log,interval(1e-4,1))", "c=[1,2],[3]"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [dict(word.split("=") for word in space.suggest(study.ask())) for _ in range(40)]
    assert all(1 <= int(one["a"]) <= 64 for one in drawn)
    assert {one["c"] for one in drawn} == {"[1,2]", "[3]"}
    # On a log scale half of [1e-4, 1] lies below 1e-2; on a linear one, a hundredth.
    assert 10 < sum(float(one["b"]) < 1e-2 for one in drawn) < 30


# A run that is judged by an error: it rises with sparsity.
ERROR = """
import json, pathlib, sys
given = dict(word.split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["hydra.run.dir"].strip("'"))
sparsity = float(given["sparsity"])
summary = {"monitor": "val/mse", "mode": "min", "val/mse": 10 * sparsity**2, "params/nonzero": 7}
if sparsity == 0.3:
    summary |= {"monitor": "val/mae", "val/mae": 1.0}
(folder / "summary.json").write_text(json.dumps(summary))
"""


def test_of_errors_the_lowest_is_best_and_has_its_own_unit(tmp_path: Path) -> None:
    script = tmp_path / "error.py"
    script.write_text(ERROR)
    search = Search.open(tmp_path / "s", Space.of(["sparsity=0.1,0.2,0.3"]), script)
    for sparsity in ("0.2", "0.1", "0.3"):
        search.study.enqueue_trial({"sparsity": sparsity})
    search.run(3, jobs=1, tell=lambda _: None)
    assert [trial.number for trial in search.study.best_trials] == [1]
    told = str(search)
    assert told.startswith("Best trade-offs, by val/mse:\n1  0.1000  7 weights") and "%" not in told
    refused = (tmp_path / "s" / "2" / "error.txt").read_text()
    assert "judged by val/mae" in refused and "the others by val/mse" in refused


@pytest.mark.parametrize("settings", [["seed=1"], []])
def test_something_must_be_looked_for(settings: list[str]) -> None:
    with pytest.raises(ValueError, match="nothing to look for"):
        Space.of(settings)


def test_what_cannot_be_read_is_shown() -> None:
    with pytest.raises(ValueError, match="interval"):
        Space.of(["a=interval(1,"])


def test_without_optuna_the_extra_is_named(
    tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"l1prune\[search\]"):
        Search.open(tmp_path, SPACE, script)


# What stands in for train.py, and ends as its setting says.
ODD = """
import os, pathlib, signal, sys
given = dict(word.split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["hydra.run.dir"].strip("'"))
summary = folder / "summary.json"
summary.write_text('{"val/accuracy": 0.5, "params/nonzero": 5}')
end = given["+end"]
if end == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if end == "latin":
    sys.stdout.buffer.write(b"caf\\xe9 broke\\x1b[31m\\n")
    sys.stdout.flush()
    sys.exit(1)
if end == "silent":
    sys.exit(3)
if end == "missing":
    summary.unlink()
if end == "pipe":
    summary.unlink()
    os.mkfifo(summary)
summaries = {
    "empty": "", "list": "[1]", "half": '{"val/accuracy": 0.5}', "deep": "[" * 9000,
    "nan": '{"val/accuracy": NaN, "params/nonzero": 5}',
    "large": '{"val/accuracy": 0.5, "params/nonzero": 1' + "0" * 400 + "}",
    "text": '{"val/accuracy": "0.5", "params/nonzero": 5}',
    "negative": '{"val/accuracy": 0.5, "params/nonzero": -5}',
}
if end in summaries:
    summary.write_text(summaries[end])
"""
ENDS = {
    "killed": "killed by SIGKILL",
    "latin": "caf\ufffd broke\\x1b[31m",
    "silent": "it said nothing",
    "missing": "No such file",
    "pipe": "not a regular file",
    "empty": "not valid JSON",
    "list": "must hold an object",
    "half": "'params/nonzero' is missing",
    "deep": "deep",
    "nan": "'val/accuracy' must be a number",
    "large": "401 digits",
    "text": "'val/accuracy' must be a number",
    "negative": "'params/nonzero' must be a whole number",
}


def test_however_a_trial_ends_it_ends_alone_and_says_why(tmp_path: Path) -> None:
    script = tmp_path / "odd.py"
    script.write_text(ODD)
    ends = (*ENDS, "well")
    search = Search.open(tmp_path / "s", Space.of([f"+end={','.join(ends)}"]), script)
    for end in ends:
        search.study.enqueue_trial({"+end": end})
    told: list[str] = []
    search.run(2 * len(ends), jobs=1, tell=told.append)
    for trial in search.study.trials[: len(ends)]:
        end = trial.params["+end"]
        reason = tmp_path / "s" / str(trial.number) / "error.txt"
        if end == "well":
            assert trial.values == [0.5, 5] and not reason.exists()
        else:
            assert trial.values is None and "failed" in told[trial.number]
            assert ENDS[end] in reason.read_text(encoding="utf-8")


def test_a_database_of_somebody_else_names_no_other_folder(tmp_path: Path, script: Path) -> None:
    victim = tmp_path / "victim"
    names = ["../victim", str(victim), "..", ".", "", "a/../../victim", "-1", "7\n", 7.5, None, [1]]
    victim.mkdir()
    for name in ("output.txt", "error.txt", "summary.json"):
        (victim / name).write_text("precious")
    search = Search.open(tmp_path / "s", SPACE, script)
    for name in names:
        trial = search.study.ask()
        SPACE.suggest(trial)
        trial.set_user_attr("folder", name)
    run(tmp_path / "s", script, len(names))
    assert {path.read_text() for path in victim.iterdir()} == {"precious"}
    assert len(list(victim.iterdir())) == 3
    folders = [path.name for path in (tmp_path / "s").iterdir() if path.is_dir()]
    assert all(folder.isdecimal() for folder in folders)


def link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def pipe(place: Path, victim: Path) -> None:
    os.mkfifo(place)


@pytest.mark.parametrize("planted", ["output.txt", "error.txt", ".lock", ".hydra/config.yaml"])
@pytest.mark.parametrize("plant", [link, pipe])
def test_a_trial_does_not_write_through_what_is_planted_in_its_folder(
    tmp_path: Path, script: Path, planted: str, plant: Callable[[Path, Path], None]
) -> None:
    (victim := tmp_path / "victim").write_text("precious")
    (place := tmp_path / "s" / "0" / planted).parent.mkdir(parents=True)
    plant(place, victim)
    search = run(tmp_path / "s", script, 2)
    assert victim.read_text() == "precious"
    assert search.study.trials[0].values is None
    assert not (tmp_path / "s" / "0" / "starts").exists()
    assert (tmp_path / "s" / "1" / "starts").exists()


@pytest.mark.parametrize("planted", ["0", "search.db", "compare.html"])
@pytest.mark.parametrize("plant", [link, pipe])
def test_a_search_does_not_write_through_what_is_planted_in_its_folder(
    tmp_path: Path, script: Path, planted: str, plant: Callable[[Path, Path], None]
) -> None:
    (victim := tmp_path / "victim").mkdir()
    (tmp_path / "s").mkdir()
    plant(tmp_path / "s" / planted, victim)
    with pytest.raises(ValueError, match="has links or pipes"):
        Search.open(tmp_path / "s", SPACE, script)
    assert list(victim.iterdir()) == []


def test_a_folder_may_itself_be_a_link(tmp_path: Path, script: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "scratch")
    assert run(tmp_path / "s", script, 1).study.trials


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 999])
def test_a_database_that_is_none_is_refused_in_a_sentence(
    tmp_path: Path, script: Path, content: bytes
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "search.db").write_bytes(content)
    with pytest.raises(ValueError, match=r"search\.db: not the record of a search"):
        Search.open(tmp_path / "s", SPACE, script)
