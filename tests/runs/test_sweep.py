"""Sweeps: jobs fail alone, whoever launches them, and what failed is said at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from l1prune.runs.sweep import check_launcher, conclude

ROOT = Path(__file__).parents[2]


def finished(run: Path, accuracy: float = 0.9) -> None:
    run.mkdir(parents=True)
    figures = {"params/nonzero": 10, "test/accuracy": accuracy, "params/prunable": 100}
    (run / "summary.json").write_text(json.dumps(figures))


def failed(run: Path, why: str) -> None:
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text(f"- seed={run.name}\n")
    (run / "error.txt").write_text(f"{why}\n\nTraceback (most recent call last): ...\n")


def sweep(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A sweep by the command line into `folder/runs`; modules in `folder` can be imported."""
    options = ("-m", "logger=none", "trainer.max_epochs=1", *options)
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/train.py"), *options, "hydra.sweep.dir=runs"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_a_sweep_without_failures_ends_with_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "0")
    finished(tmp_path / "1", accuracy=0.8)
    conclude(tmp_path)
    assert "85.00 ± 5.00 %" in capsys.readouterr().out
    assert (tmp_path / "frontier.png").exists()
    assert "<html" in (tmp_path / "compare.html").read_text(encoding="utf-8")


def test_failures_are_named_in_their_order_with_the_reason_alone(tmp_path: Path) -> None:
    finished(tmp_path / "0")
    for number in (10, 9):
        failed(tmp_path / str(number), f"ValueError: {number} is wrong")
    with pytest.raises(SystemExit) as exit_:
        conclude(tmp_path)
    lines = [line.strip() for line in str(exit_.value.code).strip().splitlines()]
    assert lines == [
        "2 of 3 jobs failed:",
        f"{tmp_path / '9'}: seed=9",
        "ValueError: 9 is wrong",
        f"{tmp_path / '10'}: seed=10",
        "ValueError: 10 is wrong",
    ]


def test_whatever_a_job_has_left_the_sweep_ends_with_its_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "0")
    (tmp_path / "0" / "history.csv").write_text("epoch\n\x00")
    failed(tmp_path / "1", "first\nsecond \x1b[31m line")
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text("a: &a [*a]")
    for name, write in (("2", os.mkfifo), ("²", os.mkdir)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "error.txt")
    failed(tmp_path / "3", "killed after its summary")
    finished(tmp_path / "3" / "below")
    (tmp_path / "3" / "below" / "summary.json").rename(tmp_path / "3" / "summary.json")
    with pytest.raises(SystemExit) as exit_:
        conclude(tmp_path)
    told = str(exit_.value.code)
    assert told.startswith("\n4 of 5 jobs failed:")
    assert "first\n    second \\x1b[31m line" in told and "killed after" in told
    assert told.count("not a regular file") == 2
    assert "skipped" in capsys.readouterr().err


def test_where_all_failed_there_is_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(tmp_path / "0", "RuntimeError: out of memory")
    with pytest.raises(SystemExit, match="1 of 1 jobs failed"):
        conclude(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("launcher", "extra"), [("joblib", "joblib"), ("slurm", "submitit")])
def test_a_launcher_that_is_missing_is_told_by_its_extra(
    launcher: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"hydra_plugins.hydra_{extra}_launcher", None)
    with pytest.raises(SystemExit, match=rf"^hydra/launcher={launcher} needs .*l1prune\[{extra}\]"):
        check_launcher(["-m", f"hydra/launcher={launcher}"])


@pytest.mark.parametrize(
    ("launcher", "package"),
    [("joblib", "hydra_joblib_launcher"), ("submitit_local", "hydra_submitit_launcher")],
)
def test_jobs_in_processes_of_their_own_fail_alone(
    tmp_path: Path, launcher: str, package: str
) -> None:
    pytest.importorskip(f"hydra_plugins.{package}", reason="needs the launcher's extra")
    done = sweep(tmp_path, f"hydra/launcher={launcher}", "seed=-1,1")
    assert done.returncode == 1
    assert "1 of 2 jobs failed:" in done.stderr
    assert "Cannot train like this: seed=-1" in done.stderr
    assert (tmp_path / "runs" / "1" / "summary.json").exists()
    assert (tmp_path / "runs" / "frontier.png").exists()


# Data that a job dies of: by itself, as out of memory, or with the worker of the launcher.
DEADLY = """
import os, signal
from l1prune.zoo import Digits

def deadly(seed, victim, **settings):
    if seed == 1:
        os.kill(getattr(os, victim)(), signal.SIGKILL)
    return Digits(seed=seed, **settings)
"""


@pytest.mark.parametrize("victim", ["getpid", "getppid"])
def test_a_killed_job_is_a_failed_job(tmp_path: Path, victim: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra 'joblib'")
    (tmp_path / "deadly.py").write_text(DEADLY)
    data = ["data._target_=deadly.deadly", f"+data.victim={victim}", "data.seed=${seed}"]
    # One after the other, as the loss of a worker is that of whatever else runs then.
    jobs = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"]
    jobs += ["hydra.launcher.pre_dispatch=1"] if victim == "getppid" else []
    done = sweep(tmp_path, *jobs, *data)
    assert done.returncode == 1
    assert "1 of 2 jobs failed:" in done.stderr
    assert f"{Path('runs') / '1'}: " in done.stderr and "was killed" in done.stderr
    assert (tmp_path / "runs" / "0" / "summary.json").exists()
    assert not (tmp_path / "runs" / "0" / "error.txt").exists()
    assert "<html" in (tmp_path / "runs" / "compare.html").read_text(encoding="utf-8")
