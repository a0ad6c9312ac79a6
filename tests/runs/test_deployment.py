"""A deployment is the same in its table, in its file and in what is read from that again."""

from __future__ import annotations

import json
from pathlib import Path

from l1prune.deploy.latency import Latency
from l1prune.runs.costs import read_costs
from l1prune.runs.deployment import TRAINED, Deployment, Measurement, metric_of, shown


def measurement(name: str, nbytes: int, speed: float, accuracy: float) -> Measurement:
    return Measurement(
        name=name,
        file=f"{name}.onnx",
        nbytes=nbytes,
        parameters=nbytes // 4,
        macs=nbytes // 5,
        absolute=1e-7,
        relative=2e-7,
        latency={n: Latency(1e-3 / speed, speed) for n in (1, 16)},
        figures={"test/accuracy": accuracy, "test/loss": 0.5},
    )


def deployment() -> Deployment:
    forms = [measurement(TRAINED, 4000, 1, 0.975), measurement("small", 1000, 2.5, 0.975)]
    return Deployment(forms, ["odd: \x1b[31m is missing"], {"threads": 1})


def test_the_file_has_what_was_measured(tmp_path: Path) -> None:
    deployment().write(tmp_path)
    tree = json.loads((tmp_path / "deploy.json").read_text(encoding="utf-8"))
    small = tree["variants"][1]
    assert (small["nbytes"], small["latency"]["16"]["speed"]) == (1000, 2.5)
    assert (tree["metric"], tree["machine"]) == ("test/accuracy", {"threads": 1})
    assert read_costs(tmp_path / "deploy.json") == {
        "deploy/bytes": 1000,
        "deploy/macs": 200,
        "deploy/latency_1": 0.4,
        "deploy/latency_16": 0.4,
    }


def test_the_table_has_a_row_for_each_form_and_says_what_is_missing() -> None:
    lines = str(deployment()).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[2].split() == ["trained", "1,000", "800", "4,000", *["1.00×"] * 3, "97.50", "%"]
    assert lines[3].split() == [
        *("small", "250", "(4.0×)", "4.0×", "1,000", "(4.0×)", "2.50×", "2.50×", "–"),
        *("2e-07", "97.50", "%"),
    ]
    assert "trained: the network as the run left it" in str(deployment())
    assert lines[-1] == r"left out: odd: \x1b[31m is missing"


def test_a_module_that_logs_no_accuracy_has_another_figure() -> None:
    assert metric_of({"test/loss": 1, "test/f1": 2}) == "test/f1"
    assert metric_of({}) == "" and shown("", {}) == "–"
