"""Networks for tables."""

from __future__ import annotations

import torch

from l1prune.features.networks import perceptron


def test_a_perceptron_has_the_layers_asked_for() -> None:
    assert perceptron(7, 3, (5, 4))(torch.zeros(2, 7)).shape == (2, 3)
    assert len(perceptron(7, 3, ())) == 1
