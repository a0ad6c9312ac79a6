"""What a run leaves becomes a point; what it does not leave, or left broken, costs nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from l1prune.runs.monitor import Monitor
from l1prune.runs.points import find_runs, read_point, read_points
from l1prune.weights.report import Layer

FIGURES = {
    "test/accuracy": 0.97,
    "val/accuracy": 0.98,
    "params/total": 1010,
    "params/prunable": 1000,
    "params/nonzero": 50,
    "params/sparsity": 0.95,
    "params/compression": 20.0,
    "seed": 3,
    "seconds": 12.5,
}


def leave_run(run_dir: Path, **changes: Any) -> Path:
    """What a run leaves; a change to None takes a figure away."""
    run_dir.mkdir(parents=True)
    figures = {key: value for key, value in {**FIGURES, **changes}.items() if value is not None}
    (run_dir / "summary.json").write_text(json.dumps(figures))
    return run_dir


def test_a_point_says_what_the_summary_says(tmp_path: Path) -> None:
    point = read_point(leave_run(tmp_path / "small"))
    assert (point.name, point.nonzero, point.figure) == ("small", 50, 0.97)
    assert point.summary == FIGURES
    assert point.weights.times == "20.0×"


def test_two_figures_are_enough(tmp_path: Path) -> None:
    run = tmp_path / "by_hand"
    run.mkdir()
    (run / "summary.json").write_text('{"test/accuracy": 1, "params/nonzero": 7}')
    point = read_point(run)
    assert (point.nonzero, point.figure, point.weights.times) == (7, 1, "")


def test_recipe_is_the_prune_config_if_left_behind_else_what_the_counts_say(tmp_path: Path) -> None:
    named = leave_run(tmp_path / "named")
    (named / "config.yaml").write_text("prune: gradual\n")
    chosen = leave_run(tmp_path / "chosen")
    (chosen / "config.yaml").write_text("prune: {_target_: l1prune.L1Pruning}\n")
    (chosen / ".hydra").mkdir()
    (chosen / ".hydra" / "hydra.yaml").write_text("hydra: {runtime: {choices: {prune: l1}}}\n")
    broken = leave_run(tmp_path / "broken")
    (broken / "config.yaml").write_text("prune: [\n")
    dense = leave_run(tmp_path / "dense", **{"params/nonzero": 1000})
    runs = (named, chosen, broken, dense)
    assert [read_point(run).recipe for run in runs] == ["gradual", "l1", "pruned", "dense"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"test/accuracy": 0.9', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ("[1, 2]", "must hold an object, but holds a list"),
        ('{"params/nonzero": 5}', "'test/accuracy' is missing"),
        ('{"test/accuracy": 0.9}', "'params/nonzero' is missing"),
        ('{"test/accuracy": 1e300, "params/nonzero": 5}', "finite number, but is 1e+300"),
        ('{"test/accuracy": NaN, "params/nonzero": 5}', "finite number, but is nan"),
        ('{"test/accuracy": null, "params/nonzero": 5}', "finite number, but is None"),
        ('{"monitor": 5, "params/nonzero": 5}', "give the name of a validation metric"),
        ('{"monitor": "val/odd", "params/nonzero": 5}', "does not say whether higher"),
        ('{"monitor": "val/a", "mode": "up", "params/nonzero": 5}', "mode='up'"),
        ('{"monitor": "val/mse", "params/nonzero": 5}', "'test/mse' is missing"),
        ('{"test/accuracy": 0.9, "params/nonzero": -5}', "whole number, but is -5"),
        ('{"test/accuracy": 0.9, "params/nonzero": "5"}', "whole number, but is '5'"),
    ],
)
def test_a_broken_summary_is_named_with_what_is_wrong(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    file = tmp_path / "summary.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as caught:
        read_point(tmp_path)
    assert str(caught.value).startswith(f"{file}: ")
    assert complaint in str(caught.value)


def test_a_directory_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"summary\.json: missing"):
        read_point(tmp_path)


def test_runs_are_found_at_and_under_paths_each_once(tmp_path: Path) -> None:
    single, deep = leave_run(tmp_path / "single"), leave_run(tmp_path / "sweep" / "day" / "0")
    (tmp_path / "notes.txt").write_text("no run")
    (tmp_path / "empty").mkdir()
    assert find_runs([single]) == [single]
    assert find_runs([single / "summary.json"]) == [single]
    assert find_runs([tmp_path, single, tmp_path / "notes.txt"]) == [single, deep]
    assert find_runs([tmp_path / "empty"]) == []
    with pytest.raises(FileNotFoundError, match="elsewhere: no such file"):
        find_runs([tmp_path / "elsewhere"])


def test_one_broken_run_does_not_lose_the_others(tmp_path: Path) -> None:
    runs = [leave_run(tmp_path / day / "0") for day in ("mon", "tue")]
    figures = {"test/accuracy": None, "val/accuracy": None}
    broken = leave_run(tmp_path / "wed", **figures)
    points, problems = read_points([*runs, broken])
    # Both directories are called 0: the names tell them apart.
    assert [point.name for point in points] == [str(Path("mon/0")), str(Path("tue/0"))]
    assert problems == [f"{broken / 'summary.json'}: 'test/accuracy' is missing"]


def test_a_run_may_leave_settings_layers_and_curves_too(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run")
    (run / "config.yaml").write_text(f"seed: 3\nmodel: {{lr: 0.1}}\nrun_dir: {run}\n")
    (run / "report.csv").write_text("name,shape,total,nonzero,sparsity\na.weight,4x2,8,2,0.75\n")
    (run / "history.csv").write_text("epoch,train/loss,val/loss\n0,0.5,\n1,0.25,0.125\n")
    point = read_point(run)
    assert point.settings == {"seed": 3, "model.lr": 0.1}
    assert point.layers == (Layer("a.weight", (4, 2), 8, 2),)
    columns = {name: list(column) for name, column in point.history.items()}
    assert math.isnan(columns["val/loss"].pop(0))
    assert columns == {"epoch": [0, 1], "train/loss": [0.5, 0.25], "val/loss": [0.125]}


def test_a_deployed_run_says_what_it_costs(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "run")
    (run / "deploy").mkdir()
    assert read_point(run).costs == {}
    one = {"nbytes": 9, "macs": 8, "latency": {}, "figures": {"test/accuracy": 0.9}}
    tree: dict[str, Any] = {"version": 1, "metric": "test/accuracy", "variants": [one]}
    (run / "deploy" / "deploy.json").write_text(json.dumps(tree))
    assert read_point(run).costs == {"deploy/bytes": 9, "deploy/macs": 8}
    (run / "deploy" / "deploy.json").write_text(json.dumps({**tree, "version": 2}))
    point = read_point(run)
    assert point.costs == {} and "deploy.json: is of version 2" in point.unread[0]


@pytest.mark.parametrize("content", [b"", b"\xff", b"epoch\nthree\n", b"a,b\n1\n", b"[:\n\x00"])
@pytest.mark.parametrize("name", ["config.yaml", "report.csv", "history.csv", "other.txt"])
def test_what_else_a_run_leaves_may_be_broken(tmp_path: Path, name: str, content: bytes) -> None:
    run = leave_run(tmp_path / "run")
    (run / name).write_bytes(content)
    point = read_point(run)
    assert (point.nonzero, point.figure, point.settings) == (50, 0.97, {})
    assert not any(any(column) for column in point.history.values())
    assert not point.layers


def test_a_run_is_judged_by_what_it_says_and_chosen_by_validation(tmp_path: Path) -> None:
    figures = {"val/mse": 0.5, "test/mse": 0.4, "monitor": "val/mse", "mode": "min"}
    point = read_point(leave_run(tmp_path / "a", **figures))
    assert (point.monitor, point.figure, point.tested) == (Monitor("val/mse", "min"), 0.4, True)
    assert (point.validation, point.judged) == (0.5, 0.5)
    point = read_point(leave_run(tmp_path / "b", **figures | {"test/mse": None}))
    assert (point.figure, point.tested) == (0.5, False), "there is nothing else"


def test_every_stage_of_a_path_is_a_point(tmp_path: Path) -> None:
    run = leave_run(tmp_path / "path", **{"params/nonzero": 50})
    shares = {0.5: 500, 0.9: 100, 0.95: 50}
    stages = [
        {"sparsity": share, "params/nonzero": left, "val/accuracy": share, "test/accuracy": 0.9,
         "checkpoint": f"path/{100 * share:.2f}.ckpt"}
        for share, left in shares.items()
    ]  # fmt: skip
    (run / "frontier.json").write_text(json.dumps(stages))
    points, problems = read_points([run])
    assert not problems
    assert [point.name for point in points] == [
        "path/path/50.00.ckpt",
        "path/path/90.00.ckpt",
        "path",
    ]
    assert [point.nonzero for point in points] == [500, 100, 50]
    assert [point.judged for point in points] == [0.5, 0.9, 0.98], "the last is the run's own"
    assert {point.seed for point in points} == {3} and {p.prunable for p in points} == {1000}
    (run / "frontier.json").write_text("[5]")
    points, problems = read_points([run])
    assert len(points) == 1 and "must hold a list of stages" in problems[0]
