"""A stand-in for the server of Weights & Biases, with three runs in `team/digits`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import wandb
from loopback import Loopback, serving

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
