"""The benchmark runs from end to end and says something of everything; how fast is not tested."""

from __future__ import annotations

import importlib.util
import json
import math
import mmap
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
NETWORKS = ["digits MLP", "LeNet-300-100", "ResNet-20", "GPT-192", "GPT-384"]

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
def output(main: Main, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that was begun, and then gone on with."""
    output = tmp_path_factory.mktemp("benchmark") / "result.json"
    threads, patch = torch.get_num_threads(), pytest.MonkeyPatch()
    try:
        patch.setattr("benchmarks.measure.SHORTEST", 0.001)
        for only in ("passes,launches,steps", "steps/mlp,cuts,fits/lenet"):
            asked = ["--quick", "--only", only, "--continue", "--output", str(output)]
            assert main(["pressure", *asked]) == 0
    finally:
        patch.undo()
        torch.set_num_threads(threads)
    return output


@pytest.fixture(scope="module")
def result(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize(
    ("work", "networks"),
    [
        ("soft threshold, over w.mul_(1.0)", [""]),
        ("soft threshold in Adam's metric, over w.mul_(1.0)", [""]),
        ("soft threshold in Adam's metric, eager", [""]),
        ("soft threshold in Adam's metric, by torch.compile", [""]),
        ("soft threshold, over autograd", [""]),
        ("memory that a soft threshold allocates", [""]),
        ("launches of a step", [""]),
        ("step with plain pressure, over one without", NETWORKS),
        ("step with pressure under Follow", NETWORKS),
        ("step with the default pressure, over one without", NETWORKS),
        ("step with the default pressure and masks", NETWORKS),
        ("step while holding masks", NETWORKS),
        ("memory while holding masks", NETWORKS),
        ("step with plain pressure, over torchao's PAT", NETWORKS),
        ("step with the default pressure, over torchao's PAT", NETWORKS),
        ("cut of 1,600 weights in 4 layers", ["", ""]),
        ("fit with L1Pruning(), over one without", ["LeNet-300-100"]),
    ],
)
def test_each_work_has_its_row(result: dict[str, Any], work: str, networks: list[str]) -> None:
    found = [row["work"] for row in result["rows"] if row["work"].startswith(work)]
    assert len(found) == len(networks)
    assert all(network in name for network, name in zip(networks, found))


def test_ratios_are_positive_and_judged_by_their_goal(result: dict[str, Any]) -> None:
    for row in result["rows"]:
        if row["measured"] is None:
            assert row["verdict"] == "not measured" and row["note"]
            continue
        assert math.isfinite(row["measured"]) and row["measured"] >= 0
        assert row["verdict"] == ("ok" if row["measured"] <= row["goal"] else "missed")
        if row["unit"] == "×":
            low, high = row["spread"]
            assert 0 < low <= row["measured"] <= high


def test_parts_are_in_their_order_whatever_was_asked_for_first(result: dict[str, Any]) -> None:
    parts = [*dict.fromkeys(row["part"] for row in result["rows"])]
    steps = [f"steps/{name}" for name in ("mlp", "lenet", "resnet", "gpt192", "gpt384")]
    assert parts == ["passes", "launches", *steps, "cuts/large", "cuts/many", "fits/lenet"]


def test_what_is_there_is_not_measured_again_unless_asked_for(
    main: Main, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = output.read_text("utf-8")
    asked = ["pressure", "--quick", "--only", "launches", "--output", str(output)]
    assert main([*asked, "--continue"]) == 0
    assert output.read_text("utf-8") == before and not capsys.readouterr().err
    assert main(asked) == 0
    assert "launches of a step" in capsys.readouterr().err


def test_a_page_gets_the_whole_table(
    main: Main, output: Path, tmp_path: Path, result: dict[str, Any]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Before.\n\n| work | goal | measured | quartiles | |\n|---|\n| old |\n\nAfter.\n"
    )
    asked = ["--only", "launches", "--continue", "--output", str(output), "--page", str(page)]
    assert main(["pressure", "--quick", *asked]) == 0
    text = page.read_text("utf-8")
    assert text.startswith("Before.\n\n| work |") and text.endswith("|\n\nAfter.\n")
    assert "| old |" not in text and text.count("\n| ") == len(result["rows"]) + 1
    page.write_text("no table\n")
    assert main(["pressure", "--quick", *asked]) == 2


def test_figures_of_other_circumstances_are_not_mixed(
    main: Main, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pressure", "--threads", "2", "--quick", "--output", str(output)]) == 2
    assert "threads=1, this is 2" in capsys.readouterr().err
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert main(["pressure", "--quick", "--output", str(other)]) == 2
    assert "no results to add to" in capsys.readouterr().err


def test_a_part_that_is_not_there_is_named(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pressure", "--only", "steps,step"]) == 2
    assert "no part 'step'; there are passes, " in capsys.readouterr().err


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
    assert {row["part"] for row in rows} >= {"two_of_four", "compacted", "large"}
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
    assert memory.pop("memory that a soft threshold allocates") == 0
    assert set(memory.values()) == {1.0}


def test_memory_of_a_fit_is_told_by_phase() -> None:
    from benchmarks.pressure.memory import Sample, figures

    def samples(*rows: tuple[str, int, int, int]) -> list[Sample]:
        return [Sample(*row) for row in rows]

    bare = samples(("", 0, 100, 110), ("", 0, 100, 110))
    pruned = samples(
        ("press", 0, 100, 110),
        ("press", 1, 109, 121),  # a cut: keeps 9, takes 12 more for a moment, of which 9 stay
        ("press", 1, 109, 119),
        ("tune", 2, 101, 123),  # the last cut: what only cuts need is let go
        ("tune", 2, 101, 112),
    )
    found = [bytes_ for _, _, bytes_ in figures(bare, pruned)]
    assert found == [123 - 110, 109 - 100, 101 - 100, 112 - 110, 121 - 100]


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_memory_of_a_process_is_what_it_holds(main: Main) -> None:
    from benchmarks.pressure.memory import forget, taken

    cpu, size = torch.device("cpu"), 64 * 2**20
    forget(cpu)
    before, _ = taken(cpu)
    with mmap.mmap(-1, size) as memory:  # not what an allocator has left over
        memory.write(bytes(size))
    after, most = taken(cpu)
    assert most - before > 0.9 * size > after - before
    forget(cpu)
    assert taken(cpu)[1] - before < 0.5 * size


def test_no_absolute_time_gets_out(result: dict[str, Any]) -> None:
    assert {row["unit"] for row in result["rows"]} == {"×", "B/weight", ""}


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
