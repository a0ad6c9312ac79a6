"""The benchmark runs from end to end and says something of everything; how fast is not tested."""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
NETWORKS = ("LeNet-300-100", "ResNet-20", "GPT")

Main = Callable[[Sequence[str]], int]


@pytest.fixture(scope="module")
def main() -> Main:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        spec = importlib.util.spec_from_file_location("benchmark", SCRIPT)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    command: Main = module.main
    return command


@pytest.fixture(scope="module")
def result(main: Main, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("benchmark") / "result.json"
    threads = torch.get_num_threads()
    try:
        assert main(["pressure", "--quick", "--output", str(output)]) == 0
    finally:
        torch.set_num_threads(threads)
    loaded: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize(
    ("work", "networks"),
    [
        ("plain prox, over w.mul_(1.0)", [""]),
        ("prox in Adam's metric, eager", [""]),
        ("prox in Adam's metric, compiled", [""]),
        ("plain prox, over autograd", [""]),
        ("extra memory under plain pressure", [""]),
        ("step with plain pressure, over one without", NETWORKS),
        ("step with trimmed pressure", NETWORKS),
        ("step with pressure in Adam's metric (the default)", NETWORKS),
        ("step while holding masks", NETWORKS),
        ("memory while holding masks", NETWORKS),
        ("step with plain pressure, over torchao's PAT", NETWORKS),
    ],
)
def test_each_work_has_its_row(result: dict[str, Any], work: str, networks: list[str]) -> None:
    found = [row["work"] for row in result["rows"] if row["work"].startswith(work)]
    assert len(found) == len(networks)
    assert all(network in name for network, name in zip(networks, found))


def test_ratios_are_positive_and_judged_by_their_goal(result: dict[str, Any]) -> None:
    assert len(result["rows"]) == 26
    for row in result["rows"]:
        if row["measured"] is None:
            assert row["verdict"] == "not measured" and row["note"]
            continue
        assert math.isfinite(row["measured"]) and row["measured"] >= 0
        assert row["verdict"] == ("ok" if row["measured"] <= row["goal"] else "missed")
        if row["unit"] == "×":
            low, high = row["spread"]
            assert 0 < low <= row["measured"] <= high


def test_deployment_has_its_rows_and_more_is_better(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "result.json"
    threads = torch.get_num_threads()
    try:
        arguments = ["deploy", "--quick", "--runs", str(tmp_path), "--output", str(output)]
        assert main(arguments) == 0
    finally:
        torch.set_num_threads(threads)
    assert "| ≥ 0.95 × |" in capsys.readouterr().out
    rows = json.loads(output.read_text(encoding="utf-8"))["rows"]
    layers = [row for row in rows if row["work"].startswith(("Linear ", "Conv2d "))]
    assert len(layers) == 3 + 1
    for row in layers:
        assert row["verdict"] == ("ok" if row["measured"] >= row["goal"] else "missed")
        assert row["note"]  # which kernel
    trained = [row for row in rows if row["work"].endswith(", deployed")]
    assert len(trained) == 6
    for row in trained:
        assert row["verdict"] == "not measured" and "python scripts/train.py" in row["note"]


def test_masks_take_a_byte_and_plain_pressure_none(result: dict[str, Any]) -> None:
    # Not a timing: these are the same on every machine.
    memory = {row["work"]: row["measured"] for row in result["rows"] if row["unit"] == "B/weight"}
    assert memory.pop("extra memory under plain pressure") == 0
    assert set(memory.values()) == {1.0}


def test_no_absolute_time_gets_out(result: dict[str, Any]) -> None:
    assert {row["unit"] for row in result["rows"]} == {"×", "B/weight"}


def test_a_missing_device_is_named(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pressure", "--device", "nonsense"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("benchmark.py: there is no device nonsense here: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("threads", "waiting_counts"), [(1, False), (2, True)])
def test_one_thread_is_not_charged_for_waiting(
    main: Main, threads: int, waiting_counts: bool
) -> None:
    from benchmarks.measure import now

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        start = now(torch.device("cpu"))
        time.sleep(0.05)
        assert (now(torch.device("cpu")) - start > 0.04) == waiting_counts
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "option",
    [
        ("pressure", "--threads"),
        ("pressure", "--rounds"),
        ("faults", "--count"),
        ("frontier", "--jobs"),
    ],
)
def test_nothing_is_measured_with_none(
    main: Main, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*option, "0"])
    assert f"argument {option[1]}: give a whole number from 1, not 0" in capsys.readouterr().err
