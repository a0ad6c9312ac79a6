"""Refit: what is left is the network of the least validation loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l1prune.features.networks import perceptron
from l1prune.features.path import validated
from l1prune.features.refit import Refit, refit
from l1prune.features.rows import Rows, Scale
from l1prune.features.tasks import Classes


def test_it_stops_where_validation_says_and_goes_back_there() -> None:
    draw = np.random.RandomState(0)
    x, y = draw.normal(size=(120, 30)), draw.randint(0, 2, size=120)  # nothing to learn
    task, scale = Classes(y), Scale(x)
    train, check = (Rows(x, task.y, scale, some) for some in np.split(np.arange(120), [80]))
    torch.manual_seed(0)
    model = perceptron(30, 2)
    before, _ = validated(model, task.losses, check)
    epochs = refit(model, task.losses, train, check, Refit(patience=3, lr=0.01), draw)
    after, _ = validated(model, task.losses, check)
    assert epochs < 20 and after < before + 0.1  # memorised, it would be far above


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"patience": 0}, {"batch_size": 1.5}, {"lr": 0}])
def test_numbers_that_train_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"Refit\({next(iter(wrong))}="):
        Refit(**wrong)
