"""Bars: one for each form and figure, as long as it is times less."""

from __future__ import annotations

from pathlib import Path

import pytest

from l1prune.deploy.latency import Latency
from l1prune.runs import bars
from l1prune.runs.deployment import Deployment, Measurement


def deployment() -> Deployment:
    def one(name: str, times: int, batches: tuple[int, ...]) -> Measurement:
        latency = {n: Latency(1.0, float(times)) for n in batches}
        figures = {"test/accuracy": 0.5}
        sizes = (1200 // times, 600 // times, 240 // times)
        return Measurement(name, f"{name}.onnx", *sizes, 0.0, 0.0, latency, figures)

    return Deployment([one("dense", 1, (1, 16, 64)), one("$small_2", 4, (1,))], [], {})


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_deployment_draws_its_names_and_figures(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "new" / f"a.{suffix}"
    bars.draw(deployment(), file)
    assert file.stat().st_size > 5000


def test_a_bar_is_as_long_as_it_is_times_less() -> None:
    panels = bars._panels(deployment().measurements)
    assert panels["smaller"] == [("bytes", [1, 4])]
    assert panels["fewer"] == [("parameters", [1, 4]), ("MACs", [1, 4])]
    assert [values for _, values in panels["faster"]] == [[1, 4], [1, None], [1, None]]
