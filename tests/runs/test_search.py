"""A search with the real Optuna; what stands in for train.py answers at once."""

from __future__ import annotations

import sys
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
