"""A warning is of a line that its user wrote, and is told on the first process."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tasks import Task, fit
from torch import nn

from l1prune import L1Pruning
from l1prune.weights.warning import PruningWarning, format_in_words, warn


class Ends(L.Callback):
    """Ends a run in its first epoch."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = True


def test_it_is_of_the_line_that_led_there_whatever_is_in_between() -> None:
    layer = nn.Linear(1, 1)
    layer.register_forward_hook(lambda *_: warn("cut less"))
    with pytest.warns(PruningWarning, match="cut less") as told:
        layer(torch.ones(1, 1))  # through torch, and a hook of this file
    assert [one.filename for one in told] == [__file__]


def test_a_warning_of_a_fit_is_of_the_line_that_fits() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")  # torch has warnings of its own
        warnings.simplefilter("always", PruningWarning)
        fit(Task(), L1Pruning(), Ends(), epochs=5)
    assert any("of its cuts" in str(one.message) for one in told)
    assert {Path(one.filename).name for one in told} == {"tasks.py"}  # which calls trainer.fit


def test_all_processes_but_the_first_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l1prune.weights.warning.place", lambda: (1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn("cut less")


def test_a_command_says_its_own_in_words_and_others_as_ever() -> None:
    assert format_in_words("cut less", PruningWarning, "a.py", 3) == "warning: cut less\n"
    assert "a.py:3: UserWarning: mind" in format_in_words("mind", UserWarning, "a.py", 3, "x = 1")
