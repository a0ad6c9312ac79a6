"""Pictures show as many bars as there are features, at most thirty, and blank pixels for none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l1prune.features import chart

pytest.importorskip("matplotlib", reason="needs the extra plots")


def test_there_is_a_bar_for_each_of_the_largest() -> None:
    few = chart.bars(["a", "b$"], [2.0, 1.0], 5)
    assert few is not None
    (axes,) = few.axes
    assert [bar.get_width() for bar in axes.patches] == [2.0, 1.0]
    assert axes.get_title() == "2 of 5 features"
    many = chart.bars([f"f{n}" for n in range(50)], [1.0] * 50, 50)
    assert many is not None and len(many.axes[0].patches) == chart.MOST
    assert "the 30 largest" in many.axes[0].get_title()


def test_pixels_that_are_gone_are_blank() -> None:
    sizes = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    figure = chart.heat_map(sizes, sizes > 0)
    assert figure is not None
    shown = figure.axes[0].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown)).tolist() == [
        [False, True],
        [True, False],
    ]


def test_without_any_feature_left_there_is_still_a_picture() -> None:
    assert chart.bars([], [], 3) is not None
