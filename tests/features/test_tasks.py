"""Tasks: predictions come in the form in which targets were given."""

from __future__ import annotations

import numpy as np
import torch

from l1prune.features.tasks import Classes, Labels, MultiClasses, Regression


def test_numbers_come_back_in_their_own_units() -> None:
    y = np.array([[1e6, 0.1], [3e6, 0.2], [2e6, 0.6]])
    task = Regression(y)
    np.testing.assert_allclose(task.predictions(task.y), y, rtol=1e-5)
    assert Regression(y[:, 0]).predictions(Regression(y[:, 0]).y).shape == (3,)


def test_classes_are_of_any_type() -> None:
    for y in (["b", "a", "b"], [7, 3, 7], [True, False, True]):
        task = Classes(np.array(y))
        sure = torch.nn.functional.one_hot(task.y).float() * 9
        assert task.predictions(sure).tolist() == y
        np.testing.assert_allclose(task.probabilities(sure).sum(1), 1)


def test_the_loss_is_least_where_the_output_is_right() -> None:
    labels = Labels(np.array([[0, 1], [1, 1]]))
    right = labels.y * 20 - 10
    assert labels.losses(right, labels.y).max() < 1e-4 < labels.losses(-right, labels.y).min()


def test_each_of_several_outputs_has_classes_of_its_own() -> None:
    y = np.array([["no", "red"], ["yes", "blue"], ["no", "green"]])
    task = MultiClasses(y)
    alone = [Classes(column) for column in y.T]
    output = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    parts = [output[:, :2], output[:, 2:]]
    each = [one.losses(part, one.y) for one, part in zip(alone, parts, strict=True)]
    torch.testing.assert_close(task.losses(output, task.y), (each[0] + each[1]) / 2)
    for one, part, found in zip(alone, parts, task.probabilities(output), strict=True):
        np.testing.assert_allclose(found, one.probabilities(part))
