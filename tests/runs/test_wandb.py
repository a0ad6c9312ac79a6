"""What a run tells W&B: made and uploaded by the real client, with a stand-in for the server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hosting import bucket
from loopback import Loopback

from l1prune.runs.wandb import finish, kept_id, log_costs, wandb_logger

ROOT = Path(__file__).parents[2]


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


def readings(file: Path) -> Iterator[bytes]:
    """A file again and again, for half a minute."""
    for _ in range(300):
        yield file.read_bytes()
        time.sleep(0.1)


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
    # Its own process writes the file, and is done some time after it was told to finish.
    assert kept in file.name and any(b"deploy/bytes" in text for text in readings(file))


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
