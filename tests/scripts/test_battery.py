"""The battery: its tasks are learned by what they name, its figures paired, its runs resumed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import l1prune
from l1prune.runs.spread import Spread

SCRIPTS = Path(l1prune.__file__).parents[1] / "scripts"

with pytest.MonkeyPatch.context() as _patch:
    _patch.syspath_prepend(str(SCRIPTS))
    from benchmarks import battery
    from benchmarks.battery import comparison, data, runs, tasks

DRAWN = ["wide", "small", "strokes", "waves", "table"]
"""Tasks whose data need nothing but this machine."""


@pytest.mark.parametrize("name", DRAWN)
def test_a_network_answers_what_its_data_ask(name: str) -> None:
    task = tasks.TASKS[name]
    split = task.data(data.Sources())
    answers = task.network().eval()(split.val.inputs[:8])
    loss = task.metric.loss(answers, split.val.labels[:8])
    assert loss.ndim == 0 and bool(loss.isfinite())
    assert answers.shape[-1] > int(split.val.labels.max()) or task.metric.unit == "-RMSE"


def test_a_centred_target_is_the_same_but_for_one_number() -> None:
    of, less = (tasks.TASKS[name].data(data.Sources()) for name in ("friedman", "centred"))
    assert abs(float(less.train.labels.mean())) < 1e-5
    for one, other in zip(vars(of).values(), vars(less).values(), strict=True):
        apart = one.labels - other.labels
        assert torch.allclose(apart, apart[0], atol=1e-5) and apart[0].abs() > 2


def test_isolet_is_left_out_where_its_folder_is_not_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert battery.at_hand(["deep", "isolet"], None) == ("deep",)
    assert "--isolet" in capsys.readouterr().err
    assert battery.at_hand(["deep"], None) == ("deep",)
    assert not capsys.readouterr().err


def test_data_that_are_not_there_are_refused_before_anything_runs(tmp_path: Path) -> None:
    assert battery.existing(str(tmp_path)) == tmp_path
    with pytest.raises(battery.argparse.ArgumentTypeError, match=r"there is no .*nowhere"):
        battery.existing(str(tmp_path / "nowhere"))
    with pytest.raises(battery.argparse.ArgumentTypeError, match=r"no Isolet\.mat in"):
        battery.isolet(str(tmp_path))
    (tmp_path / "Isolet.mat").touch()
    assert battery.isolet(str(tmp_path)) == tmp_path


def test_isolet_is_learned_by_a_network_as_wide_as_it_is() -> None:
    folder = SCRIPTS.parents[1] / "shared" / "data" / "isolet"
    if not (folder / "Isolet.mat").is_file():
        pytest.skip("needs Isolet.mat in ../shared/data/isolet")
    task = tasks.TASKS["isolet"]
    split = task.data(data.Sources(isolet=folder))
    assert task.network().eval()(split.test.inputs).shape == (len(split.test.inputs), 26)
    assert sorted(split.train.labels.unique()) == list(range(26))


@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_network_has_weights_enough_for_its_sparsity(name: str) -> None:
    task = tasks.TASKS[name]
    targets = l1prune.find_targets(task.network())
    total = sum(target.parameter.numel() for target in targets)
    assert (1 - task.sparsity) * total > 3 * len(targets)


@pytest.mark.parametrize("convolutions", ["separable", "inverted", "residual", "plain", "bare"])
def test_convolutions_take_the_images_that_mnist_gives(convolutions: str) -> None:
    assert tasks.TASKS[convolutions].network()(torch.randn(2, 1, 14, 14)).shape == (2, 10)


def test_a_task_that_begins_trained_is_trained_before_as_the_fresh_one_is() -> None:
    assert tasks.TASKS["deep-3"].before.passes == tasks.TASKS["deep"].passes
    assert tasks.TASKS["deep-3"].passes == 3


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> str:
    """A task of two passes."""
    task = replace(tasks.TASKS["wide"], passes=2)
    monkeypatch.setitem(tasks.TASKS, "wide", task)
    return task.name


def test_a_run_leaves_as_many_weights_as_it_says(tmp_path: Path, short: str) -> None:
    found = runs.run(runs.Trial(short, "l1", 0), tmp_path, data.Sources())
    assert found["weights"] == 1110
    assert 10 < found["test"]["figure"] <= 100


def test_what_has_been_run_is_not_run_again(
    tmp_path: Path, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = runs.Trial(short, "dense", 0)
    found = runs.run(trial, tmp_path, data.Sources())

    def refuse(*_: Any) -> None:
        raise AssertionError("run again")

    monkeypatch.setattr(runs, "train", refuse)
    assert runs.run(trial, tmp_path, data.Sources()) == found
    monkeypatch.setitem(runs.CONTENDERS, "dense", lambda sparsity: l1prune.L1Pruning())
    with pytest.raises(AssertionError, match="run again"):  # by another recipe
        runs.run(trial, tmp_path, data.Sources())


def test_what_was_run_of_another_task_or_is_torn_is_run_again(
    tmp_path: Path, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = runs.Trial(short, "dense", 0)
    runs.run(trial, tmp_path, data.Sources())
    assert trial.figures(tmp_path) is not None
    with monkeypatch.context() as patch:
        patch.setitem(tasks.TASKS, short, replace(tasks.TASKS[short], batch=16))
        assert trial.figures(tmp_path) is None
    for torn in ("", "{}", "[]", '{"recipe": '):
        trial.file(tmp_path).write_text(torn)
        assert trial.figures(tmp_path) is None


def test_a_trained_network_is_trained_once_for_all_contenders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        tasks.TASKS, "wide-1", replace(tasks.TASKS["wide"], name="wide-1", passes=1, warm=2)
    )
    runs.run(runs.Trial("wide-1", "dense", 0), tmp_path, data.Sources())
    (file,) = (tmp_path / "dense").iterdir()
    before = file.stat().st_mtime_ns
    runs.run(runs.Trial("wide-1", "finetune", 0), tmp_path, data.Sources())
    assert file.stat().st_mtime_ns == before


FIGURES = {
    ("deep", who, seed): value
    for who, values in {"gradual": (80.0, 82.0, 81.0), "l1": (82.0, 85.0, 82.0)}.items()
    for seed, value in enumerate(values)
}


def test_differences_are_paired_by_seed() -> None:
    one = Spread.of(comparison.differences(FIGURES, "l1", "deep"))
    assert one.mean == pytest.approx(2.0)
    assert one.error == pytest.approx(1 / math.sqrt(3))
    assert comparison.verdict(one) == "won"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((-1.0, -1.1), "lost"), ((-1.0, 1.0), "level"), ((1.0,), "level"), ((1.0, 1.2), "won")],
)
def test_what_lies_within_a_standard_error_is_level(
    differences: tuple[float, ...], verdict: str
) -> None:
    assert comparison.verdict(Spread.of(differences)) == verdict


def test_a_table_shows_means_and_losses_beside_wins() -> None:
    shown = comparison.table(FIGURES, ["gradual", "l1"], ["deep"])
    assert "| deep | 98.0% | 81.00 % | 83.00 % | +2 ± 0.58 (3) | won |" in shown
    assert "| l1 | 1 | 0 | 0 | 1.00 |" in comparison.summary(FIGURES, ["gradual", "l1"], ["deep"])


def test_a_task_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(battery.argparse.ArgumentTypeError, match=r"no task 'nothing'.* separable"):
        battery.names("wide,nothing")


def test_contenders_are_chosen_by_name_beside_gradual() -> None:
    assert battery.contenders("gradual, l1") == ("gradual", "l1")
    for wrong in ("gradual,l3", "l1"):
        with pytest.raises(battery.argparse.ArgumentTypeError, match=r"l3|gradual"):
            battery.contenders(wrong)
