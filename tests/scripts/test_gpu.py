"""All that needs a GPU, in one command: each job has its time, and its failure stops no other."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import l1prune

SCRIPTS = Path(l1prune.__file__).parents[1] / "scripts"

with pytest.MonkeyPatch.context() as _patch:
    _patch.syspath_prepend(str(SCRIPTS))
    import benchmark
    from benchmarks import gpu
    from benchmarks.gpu import ddp
    from benchmarks.gpu.jobs import Job, Setting, do
    from benchmarks.measure import AtLeast


def says(program: str, setting: Setting, folder: Path) -> list[str]:
    return [setting.python, "-c", program, str(folder)]


def job(program: str, **other: Any) -> Job:
    return Job("a job", other.pop("limit", 30.0), partial(says, program), **other)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(sys.executable, "cpu", False, tmp_path / "data")


def test_a_job_says_how_it_ended(setting: Setting, tmp_path: Path) -> None:
    done = do(job("print('first'); print('== last ==')"), setting, tmp_path / "a", 60.0)
    assert (done.end, done.said, done.tail) == ("ok", "last", "")
    done = do(job("print('why'); raise SystemExit(3)"), setting, tmp_path / "b", 60.0)
    assert (done.end, done.tail) == ("failed (3)", "why")


@pytest.mark.parametrize(("limit", "left"), [(1.0, 60.0), (60.0, 1.0)])
def test_what_is_out_of_time_is_ended(
    setting: Setting, tmp_path: Path, limit: float, left: float
) -> None:
    done = do(job("import time; time.sleep(60)", limit=limit), setting, tmp_path / "a", left)
    assert done.end == "out of time" and done.seconds < 30


def test_what_a_job_has_begun_ends_with_it(setting: Setting, tmp_path: Path) -> None:
    child = f"open({str(tmp_path / 'pipe')!r}, 'w')"  # waits until it is read
    os.mkfifo(tmp_path / "pipe")
    program = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}])"
    program += "; print(p.pid)"
    done = do(job(program), setting, tmp_path / "a", 60.0)
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # until it has been waited for, by whoever has taken it over
            os.kill(int(done.said), 0)
            time.sleep(0.05)


def test_what_lacks_data_or_time_is_left_out_and_says_so(setting: Setting, tmp_path: Path) -> None:
    done = do(job("print(1)", needs="mnist"), setting, tmp_path / "a", 60.0)
    assert done.end == "left out" and "mnist" in done.said and "--data" in done.said
    assert do(job("print(1)"), setting, tmp_path / "a", 0.5).end == "left out"


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Job]]:
    leaves = "import json, sys; json.dump({'test/accuracy': 0.5, 'params/nonzero': 9, 'seconds': 1}"
    leaves += ", open(sys.argv[1] + '/run/summary.json', 'w'))"
    make = "import os, sys; os.mkdir(sys.argv[1] + '/run'); "
    rows = partial(gpu.trained, "a network", "test/accuracy", 0.9, AtLeast)
    known = {
        "first": job("raise SystemExit('no luck')"),
        "second": job(make + leaves, rows=rows),
        "third": job("raise SystemExit(1)", rows=gpu.measured),
    }
    monkeypatch.setattr(gpu, "JOBS", known)
    yield known


def test_one_that_fails_stops_no_other_and_both_files_have_all(
    jobs: dict[str, Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gpu.json"
    assert benchmark.main(["gpu", "--device", "cpu", "--output", str(output)]) == 1
    found = json.loads(output.read_text("utf-8"))
    ends = [one["end"] for one in found["jobs"]]
    assert ends == ["failed (1)", "ok", "failed (1)"] and found["torch"]
    assert found["jobs"][1]["said"] == "1 rows: 1 missed"
    (row,) = found["jobs"][1]["rows"]
    assert (row["measured"], row["sign"], row["verdict"]) == (0.5, "≥", "missed")
    page = output.with_suffix(".md").read_text("utf-8")
    assert "no luck" in page and "a network: test/accuracy" in page
    assert capsys.readouterr().out == page


def test_jobs_can_be_chosen_and_a_missing_one_is_named(
    jobs: dict[str, Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "gpu.json")
    assert benchmark.main(["gpu", "--device", "cpu", "--only", "second", "--output", output]) == 0
    assert benchmark.main(["gpu", "--device", "cpu", "--only", "fourth", "--output", output]) == 2
    assert "there are first, second, third" in capsys.readouterr().err


def test_all_of_it_takes_less_than_nine_minutes_and_each_job_can_be_called(tmp_path: Path) -> None:
    assert gpu.SECONDS < 9 * 60 and sum(one.limit for one in gpu.JOBS.values()) < 10 * 60
    for device, quick in (("cpu", True), ("cuda", False)):
        for one in gpu.JOBS.values():
            words = one.command(Setting("python", device, quick, tmp_path), tmp_path)
            if words[1].endswith("benchmark.py"):
                assert benchmark.read(words[2:]).device == device
            assert words[0] == "python" and all(isinstance(word, str) for word in words)


def test_ddp_comes_to_exact_zeros() -> None:
    found = ddp.together("cpu", 1)
    assert found["agreed"] and found["zeros"] == round(ddp.SPARSITY * found["weights"])
