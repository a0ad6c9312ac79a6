"""The picture of a run has a panel for each metric, and is none where there is nothing to draw."""

from __future__ import annotations

import sys

import pytest

from l1prune.training.picture import MOST, drawn
from l1prune.training.validations import Validations


def validations(*names: str) -> Validations:
    noted = Validations()
    for left, arrived in ((100, False), (0, True)):
        noted.note(left, arrived, dict.fromkeys(names, 0.5))
    return noted


def test_each_metric_has_a_panel() -> None:
    figure = drawn(validations("val/acc", "val_$x$"))
    assert figure is not None
    assert [axes.get_ylabel() for axes in figure.axes] == ["val/acc", r"val_\$x\$"]
    way, ends = figure.axes[0].lines
    assert list(way.get_xdata()) == [100, 1] and list(ends.get_xdata()) == [1]


def test_there_is_no_end_of_panels() -> None:
    figure = drawn(validations(*(f"val/{n}" for n in range(9))))
    assert figure is not None and len(figure.axes) == MOST


def test_without_validation_or_matplotlib_there_is_no_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert drawn(Validations()) is None
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert drawn(validations("val/acc")) is None
