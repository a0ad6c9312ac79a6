"""Runs on W&B, made, read and reported by the real client, with a stand-in for the server."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import yaml  # type: ignore[import-untyped]
from loopback import Loopback, serving

from l1prune.runs.points import Point
from l1prune.runs.wandb import (
    finish,
    kept_id,
    log_costs,
    publish,
    read_hosted,
    wandb_logger,
)

ROOT = Path(__file__).parents[2]
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dense": ({"labels.prune": None}, {"params/nonzero": 900, "test/accuracy": 0.95}),
    "small": (
        {"labels.prune": "l1"},
        {"params/nonzero": 90, "test/accuracy": 0.94, "deploy/bytes": 500, "deploy/macs": "?"},
    ),
    "young": ({"labels.prune": "l1"}, {"params/nonzero": 500}),
}


def run(name: str) -> dict[str, Any]:
    config, summary = RUNS[name]
    return {
        "id": name,
        "name": name,
        "displayName": name,
        "state": "running" if name == "young" else "finished",
        "tags": [],
        "projectId": "7",
        "config": json.dumps({key: {"value": value} for key, value in config.items()}),
        "summaryMetrics": json.dumps(summary),
        "systemMetrics": "{}",
        "createdAt": "2030-01-01T00:00:00",
        "heartbeatAt": "2030-01-01T00:00:00",
        "historyLineCount": 1,
        "user": {"name": "me", "username": "me"},
    }


def runs(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    if variables["project"] != "digits":
        return {"project": None}
    edges = [{"cursor": name, "node": run(name)} for name in RUNS]
    page = {"endCursor": "young", "hasNextPage": False}
    return {
        "project": {
            "internalId": "7",
            "readOnly": False,
            "runCount": len(RUNS),
            "runs": {"edges": edges, "pageInfo": page},
        }
    }


def project(_: object) -> Mapping[str, Any]:
    return {"project": {"id": "7", "internalId": "7"}}


def projects(_: object) -> Mapping[str, Any]:
    node = {"__typename": "Project", "id": "7", "name": "digits", "entityName": "team"}
    node |= {"createdAt": "2030-01-01T00:00:00", "isBenchmark": False, "user": None}
    page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"models": {"pageInfo": page, "edges": [{"node": node}]}}


def bucket(variables: Mapping[str, Any]) -> dict[str, Any]:
    owner = {"id": "7", "name": variables["project"], "entity": {"id": "1", "name": "team"}}
    named = {"id": "b", "name": variables["name"], "displayName": "", "description": ""}
    return {**named, "project": owner, "config": "{}", "tags": [], "historyLineCount": 0}


def view(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    project = {"id": "7", "name": variables["projectName"], "entityName": variables["entityName"]}
    return {"upsertView": {"view": {**variables, "id": "view==", "project": project}}}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    loopback = Loopback(Runs=runs, GetProjects=projects, ProjectInternalId=project, upsertView=view)
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb.teardown()
    with serving(loopback) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        yield loopback
        wandb.teardown()


def test_finished_runs_become_points_and_the_others_a_line(server: Loopback) -> None:
    points, problems = read_hosted("team/digits")
    assert points == [Point("dense", "dense", 900, 0.95), Point("small", "l1", 90, 0.94)]
    assert [point.costs for point in points] == [{}, {"deploy/bytes": 500}]
    assert problems == ["young (running): has no params/nonzero or no test/accuracy yet"]


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
    assert "| small | l1     |" in sent["spec"]


def panels(view: Mapping[str, Any]) -> Iterator[Any]:
    for block in json.loads(view["spec"])["blocks"]:
        if block["type"] == "panel-grid":
            yield from block["metadata"]["panelBankSectionConfig"]["panels"]


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


def wandb_command(*arguments: str) -> None:
    command = [sys.executable, "-m", "wandb", *arguments]
    subprocess.run(command, capture_output=True, check=True, timeout=60)


def test_two_starts_offline_are_uploaded_as_one_run(server: Loopback, tmp_path: Path) -> None:
    def status(variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the server knows of the run: nothing at first, then what it was sent."""
        rows = [row for _, piece in server.history for row in piece]
        model = {"id": "7", "name": "digits", "entity": {"id": "1", "name": "team"}}
        tail = json.dumps([json.dumps(row) for row in rows[-1:]])
        known = {"historyLineCount": len(rows), "historyTail": tail}
        rest = {"summaryMetrics": "{}", "logLineCount": 0, "eventsLineCount": 0, "notes": ""}
        rest |= {"eventsTail": "[]", "wandbConfig": '{"t": 1}'}
        return {"model": {**model, "bucket": bucket(variables) | rest | known if rows else None}}

    server.answers["RunResumeStatus"] = status
    server.answers["UpsertBucket"] = lambda variables: {
        "upsertBucket": {"bucket": bucket(variables), "inserted": not server.history}
    }
    server.answers["CreateRunFiles"] = lambda _: {
        "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}
    }
    for start in range(2):
        logger = wandb_logger(tmp_path / "run", project="digits", offline=True)
        for step in range(3):
            logger.log_metrics({"val/loss": 1.0}, step=10 * start + step)
        finish([logger])
    folders = sorted(map(str, (tmp_path / "run" / "wandb").glob("offline-run-*")))
    assert len(folders) == 2
    wandb_command("sync", "--yes", "--entity", "team", *folders)
    assert {sent["name"] for sent in server.variables("UpsertBucket")} == {logger.version}
    rows = [row["trainer/global_step"] for _, piece in server.history for row in piece]
    assert rows == [0, 1, 2, 10, 11, 12]
    offset, *_ = (offset for offset, piece in server.history if piece[0]["_step"] == 3)
    assert offset == 3  # after the first start's rows, not over them


def test_a_run_that_has_ended_is_told_what_it_costs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("cache", "data"):
        monkeypatch.setenv(f"WANDB_{name.upper()}_DIR", str(tmp_path / "wandb" / name))
    log_costs(tmp_path, {"deploy/bytes": 500}, "digits", offline=True)
    assert not [*tmp_path.iterdir()]  # that run took no notes
    kept = kept_id(tmp_path / "wandb" / "id")
    log_costs(tmp_path, {"deploy/bytes": 500}, "digits", offline=True)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    assert kept in file.name and b"deploy/bytes" in file.read_bytes()


@pytest.mark.parametrize("torn", [None, "", "3f", "3f2a9c1", "\0" * 8, "a run", "3f2a9c1b\n\n"])
def test_an_id_is_drawn_where_there_is_no_whole_one_and_then_kept(
    tmp_path: Path, torn: str | None
) -> None:
    file = tmp_path / "wandb" / "id"
    file.parent.mkdir()
    if torn is not None:
        file.write_text(torn)
    loggers = [wandb_logger(tmp_path, project="digits", offline=True) for _ in range(2)]
    (kept,) = {logger.version for logger in loggers}
    assert kept == file.read_text() != torn
    assert len(kept or "") == 8


def test_processes_that_begin_at_once_draw_one_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: kept_id(tmp_path / "wandb" / "id"), range(32)))
    assert len(set(ids)) == 1


def test_the_sweep_file_becomes_a_sweep(server: Loopback) -> None:
    file = ROOT / "conf" / "sweep" / "frontier.yaml"
    owner = {"id": "7", "name": "digits", "entity": {"id": "1", "name": "team"}}
    server.answers["UpsertSweep"] = lambda _: {
        "upsertSweep": {"sweep": {"name": "s1", "project": owner}, "configValidationWarnings": []}
    }
    wandb_command("sweep", "--entity", "team", "--project", "digits", str(file))
    (sent,) = server.variables("UpsertSweep")
    assert yaml.safe_load(sent["config"]) == yaml.safe_load(file.read_text())


def test_compare_draws_the_project_and_says_where_the_report_is(
    server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces", reason="needs the extra 'workspaces'")
    spec = importlib.util.spec_from_file_location("compare", ROOT / "scripts" / "compare.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    picture = tmp_path / "frontier.png"
    assert script.main(["--wandb", "team/digits", "--output", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert "| small | l1     |" in out
    assert "skipped young (running)" in err
    assert "The report is at http" in out.splitlines()[-1]
    assert picture.exists()
    assert script.main(["--wandb", "nobody"]) == 2
    assert "ENTITY/PROJECT" in capsys.readouterr().err
