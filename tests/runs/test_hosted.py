"""Runs on W&B, read and reported by the real client, with a stand-in for the server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from loopback import Loopback

from l1prune.commands.compare import main
from l1prune.runs.hosted import publish, read_hosted
from l1prune.runs.monitor import Monitor
from l1prune.runs.points import Point


def test_finished_runs_become_points_and_the_others_a_line(server: Loopback) -> None:
    points, problems = read_hosted("team/digits")
    assert points == [Point("dense", "dense", 900, 0.95), Point("small", "l1", 90, 0.94)]
    assert [point.costs for point in points] == [{}, {"deploy/bytes": 500}]
    assert problems == ["young (running): 'test/accuracy' is missing"]


def test_the_report_charts_accuracy_against_weights(server: Loopback) -> None:
    pytest.importorskip("wandb_workspaces", reason="needs the extra 'workspaces'")
    url = publish("team/digits", [Point("small", "l1", 90, 0.94, costs={"deploy/bytes": 500})])
    assert "/team/digits/reports/" in url
    (sent,) = server.variables("upsertView")
    assert (sent["entityName"], sent["projectName"]) == ("team", "digits")
    scatter, priced = (one for one in panels(sent) if one["viewType"] == "Scatter Plot")
    assert priced["config"]["xAxis"] == "summary:deploy/bytes"
    assert scatter["config"]["xAxis"] == "summary:params/nonzero"
    assert scatter["config"]["yAxis"] == "summary:test/accuracy"
    assert scatter["config"]["xAxisLogScale"] is True
    assert "| l1     |                    90 |" in sent["spec"]


def test_a_run_may_be_judged_by_any_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"params/nonzero": 5, "val/mse": {"min": 0.1, "max": 3.0, "last": 0.2}}
    told = {"monitor": "val/mse", "mode": "min", "labels.prune": "l1", "seed": 3}
    run = SimpleNamespace(name="a", state="finished", summary=figures, config=told)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(runs=lambda project, lazy: [run]))
    [point], problems = read_hosted("team/digits")
    assert not problems and point.monitor == Monitor("val/mse", "min")
    assert (point.figure, point.tested, point.recipe, point.seed) == (0.2, False, "l1", 3)


def panels(view: Mapping[str, Any]) -> Iterator[Any]:
    for block in json.loads(view["spec"])["blocks"]:
        if block["type"] == "panel-grid":
            yield from block["metadata"]["panelBankSectionConfig"]["panels"]


@pytest.mark.parametrize(
    ("told", "judged"),
    [
        ({"val/mse": 0.2, "val/mse.min": 0.1, "val/loss": 0.3, "train/acc": 1.0}, "val/mse"),
        ({"val/loss": 0.3, "val_acc": 0.9, "frontier/val_acc": 0.9}, "val_acc"),
    ],
)
def test_a_run_that_names_no_metric_is_judged_by_what_it_validates(
    told: dict[str, float], judged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a bare `L1Pruning`, of somebody's own program."""
    figures = {"params/nonzero": 5, "params/prunable": 9, **told}
    run = SimpleNamespace(
        name="a", state="finished", summary=figures, config={"labels.prune": "l1", "seed": 0}
    )
    monkeypatch.setattr("wandb.Api", lambda: SimpleNamespace(runs=lambda *_, **__: [run]))
    [point], problems = read_hosted("team/digits")
    assert (point.monitor.name, point.figure, problems) == (judged, told[judged], [])


@pytest.mark.parametrize(
    "figures",
    [
        {"params/nonzero": 10**400, "test/accuracy": 0.9},
        {"params/nonzero": 5, "test/accuracy": float("nan")},
        {"params/nonzero": 5, "test/accuracy": 1e999},
        {"params/nonzero": -5, "test/accuracy": 0.9},
        {"params/nonzero": 5, "test/accuracy": "0.9"},
        {"params/nonzero": 5, "test/accuracy": 0.9, "deep": [[[[[[]]]]]] * 3000},
    ],
    ids=range(6),
)
def test_a_run_with_odd_figures_is_named_and_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, Any]
) -> None:
    good = {"params/nonzero": 5, "test/accuracy": 0.9}
    hosted = [
        SimpleNamespace(name=name, state="finished", summary=summary, config={})
        for name, summary in (("odd", figures), ("good", good))
    ]
    api = SimpleNamespace(runs=lambda project, lazy: hosted)
    monkeypatch.setattr(wandb, "Api", lambda: api)
    points, problems = read_hosted("team/digits")
    assert [point.name for point in points] == ["good"]
    assert len(problems) == 1 and problems[0].startswith("odd (finished): ")


@pytest.mark.parametrize("project", ["digits", "team/", "/digits", "team/digits/runs"])
def test_a_project_has_an_owner_and_a_name(project: str) -> None:
    with pytest.raises(ValueError, match="ENTITY/PROJECT"):
        read_hosted(project)


def test_a_project_that_is_not_there_is_named(server: Loopback) -> None:
    with pytest.raises(ValueError, match=r"asked for team/other: .*not find project"):
        read_hosted("team/other")


def test_without_a_login_it_says_what_to_do(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()
    with pytest.raises(OSError, match="wandb login"):
        read_hosted("team/digits")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ImportError, match=r"l1prune\[workspaces\]"):
        publish("team/digits", [])


def test_compare_draws_the_project_and_says_where_the_report_is(
    server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces", reason="needs the extra 'workspaces'")
    picture = tmp_path / "frontier.png"
    assert main(["--wandb", "team/digits", "--output", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert "| l1     |                    90 |" in out
    assert "skipped young (running)" in err
    assert "The report is at http" in out.splitlines()[-1]
    assert picture.exists()
    assert main(["--wandb", "nobody"]) == 2
    assert "ENTITY/PROJECT" in capsys.readouterr().err
