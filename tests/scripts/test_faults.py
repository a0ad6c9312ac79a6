"""Faults are thrown and judged: what is no survival is not counted as one."""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[dict[str, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        names = ("faults", "harm", "hostile", "starts")
        yield {name: importlib.import_module(f"benchmarks.{name}") for name in names}


REFUSAL = "The run in a has stopped: no room; ..."


@pytest.mark.parametrize(
    ("code", "said", "sentence"),
    [
        (1, f"epoch 1\n{REFUSAL}\n", REFUSAL),
        (0, REFUSAL, ""),
        (1, f"Traceback (most recent call last):\n{REFUSAL}", ""),
        (1, f"{REFUSAL}\n{REFUSAL}", ""),
        (1, "", ""),
    ],
)
def test_a_refusal_is_one_sentence_and_fails(
    benchmarks: dict[str, ModuleType], code: int, said: str, sentence: str
) -> None:
    assert benchmarks["starts"].Ending(code, said).sentence == sentence


def test_the_table_counts_what_was_tried_and_what_survived(
    benchmarks: dict[str, ModuleType],
) -> None:
    verdict = benchmarks["faults"].Verdict
    came = (("kill", True), ("kill", False), ("torn-file", True))
    verdicts = [verdict(kind, survived, "") for kind, survived in came]
    rows = benchmarks["faults"].table(verdicts).splitlines()[2:]
    assert rows == ["| kill | 2 | 1 |", "| torn-file | 1 | 1 |", "| all | 3 | 2 |"]


def test_a_run_with_another_byte_has_not_survived(
    benchmarks: dict[str, ModuleType], tmp_path: Path
) -> None:
    for run in ("peace", "war"):
        (tmp_path / run).mkdir()
        for name in ("model.safetensors", "report.csv", "history.csv"):
            (tmp_path / run / name).write_bytes(b"the same")
    differences = benchmarks["faults"].differences
    assert differences(tmp_path / "war", tmp_path / "peace") == []
    (tmp_path / "war" / "report.csv").write_bytes(b"the samf")
    (tmp_path / "war" / "history.csv").unlink()
    assert differences(tmp_path / "war", tmp_path / "peace") == ["report.csv", "history.csv"]


def test_results_of_a_run_that_has_ended_are_not_torn(
    benchmarks: dict[str, ModuleType], tmp_path: Path
) -> None:
    harm = benchmarks["harm"]
    half = tmp_path / "half"  # it was to be stopped half-way, and was not
    half.mkdir()
    for name in ("last.ckpt", "summary.json", *harm.RESULTS):
        (half / name).write_bytes(bytes(range(100)))
    scene = harm.Scene([], half, half, 1.0)
    for seed in range(40):
        harm.torn_file(scene, tmp_path / str(seed), random.Random(seed))
        for name in harm.RESULTS:
            assert (tmp_path / str(seed) / name).read_bytes() == bytes(range(100))


@pytest.mark.parametrize("seed", range(3))
def test_every_hostile_run_is_another_one(
    benchmarks: dict[str, ModuleType], tmp_path: Path, seed: int
) -> None:
    for number, way in enumerate(benchmarks["hostile"].WAYS):
        run = tmp_path / str(number)
        run.mkdir()
        (run / "summary.json").write_text(json.dumps({"params/nonzero": 3, "test/accuracy": 0.5}))
        for name in ("config.yaml", "report.csv", "history.csv"):
            (run / name).write_text(f"a,b\n1,{name}\n")
        before = {file.name: file.read_bytes() for file in run.iterdir()}
        assert way(run, random.Random(seed))
        after = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
        assert before != after


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork servers and signals")
def test_one_of_each_quick_kind_is_survived(
    benchmarks: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = importlib.import_module("benchmark")
    options = ["+prune=l1", "logger=none", "trainer.max_epochs=2", "save_every=20"]
    chosen = ["--count", "3", "--kinds", "kill,terminate,torn-file"]
    assert benchmark.main(["faults", *chosen, *options]) == 0
    assert "| all | 3 | 3 |" in capsys.readouterr().out
