"""Figures are shown in their own unit, and one far off does not squeeze the rest."""

from __future__ import annotations

import pytest

from l1prune.runs.monitor import Monitor
from l1prune.runs.scale import Scale, View
from l1prune.runs.spread import Spread

MSE = Monitor("val/mse", "min")


def test_a_share_is_said_in_percent_and_its_differences_in_points() -> None:
    scale = Scale.of(Monitor(), [0.5, 0.9])
    assert scale.spread(Spread(0.97634, 0.0009, 20)) == "97.63 ± 0.09 %"
    assert scale.difference(Spread(0.0026, None, 1)) == "+0.26"
    assert scale.difference(Spread(0.0, 0.0, 2)) == "±0.00 ± 0.00"


def test_nothing_else_has_a_percent_sign() -> None:
    for scale in (Scale.of(MSE, [0.5]), Scale.of(Monitor("val_acc"), [97.5])):
        assert "%" not in scale.shown(0.5) + scale.spread(Spread(0.5, 0.1, 2)) + scale.unit
    assert Scale.of(MSE, [1]).spread(Spread(1234.5678, 12.3, 4)) == "1,235 ± 12"
    assert Scale.of(MSE, [1]).spread(Spread(1e30, 1e25, 4)) == "1e+30 ± 1e+25"
    assert Scale.of(MSE, [1]).difference(Spread(-0.5, 0.015, 4)) == "−0.500 ± 0.015"


@pytest.mark.parametrize(("monitor", "sign"), [(Monitor("val/x", "max"), 1), (MSE, -1)])
def test_the_worse_end_is_cut_where_one_figure_squeezes_the_rest(
    monitor: Monitor, sign: int
) -> None:
    near = [sign * value for value in (0.98, 0.97, 0.96, 0.965, 0.975)]
    view = View.of(monitor, [*near, sign * -3.0])
    assert view.worst == sign * 0.96
    assert view.hides(sign * -3.0) and not any(map(view.hides, near))
    assert View.of(monitor, [*near, sign * 5.0]).worst is None, "the better end is never cut"
    assert View.of(monitor, [*near, sign * 0.955]).worst is None, "nothing is squeezed"
    assert View.of(monitor, [sign * 0.9, sign * -3.0]).worst is None, "of two none is far off"
