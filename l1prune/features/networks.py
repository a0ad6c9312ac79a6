"""Networks for tables: what a selector trains where nothing else is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

Network = Callable[[int, int], nn.Module]
"""From the number of columns and of outputs to a network."""


def perceptron(inputs: int, outputs: int, hidden: Sequence[int] = (100,)) -> nn.Sequential:
    """Linear layers with ReLU between them.

    >>> perceptron(4, 2, hidden=(8,))
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=2, bias=True)
    )
    """
    widths = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for wide, next_wide in pairwise(widths):
        layers += [nn.Linear(wide, next_wide), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
