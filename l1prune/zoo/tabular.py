"""Networks for tables, as wide as the table and with the answers that its target asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from l1prune.zoo.classifier import Classifier
from l1prune.zoo.models import mlp
from l1prune.zoo.regressor import Regressor
from l1prune.zoo.supervised import HoldThenDecay, Supervised


def tabular_mlp(
    data: Any,
    optimizer: Callable[[Iterator[nn.Parameter]], Optimizer],
    schedule: Callable[[float], float] = HoldThenDecay(),
    hidden: Sequence[int] = (128, 64),
    dropout: float = 0.0,
) -> Supervised:
    """A multilayer perceptron that learns a table: a label by cross-entropy, a number by its error.

    Args:
        data: the table: its `inputs` say how wide a row is, its `classes` how many labels there
            are, None where a number is to be met, as those of `TableData` do.
        optimizer: parameters → optimizer.
        schedule: progress of the run in [0, 1] → factor of the learning rate, asked every step.
        hidden: units of each hidden layer, first to last.
        dropout: share of each row's numbers that are hidden at random while training, in [0, 1).

    Raises:
        ValueError: the data are no table, or an argument makes no sense.

    >>> from functools import partial
    >>> import torch
    >>> from l1prune.zoo import BreastCancer
    >>> tabular_mlp(BreastCancer(), partial(torch.optim.Adam, lr=2e-3)).network[1]
    Linear(in_features=30, out_features=128, bias=True)
    """
    if not (isinstance(getattr(data, "inputs", None), int) and hasattr(data, "classes")):
        raise ValueError(
            f"model=tabular_mlp learns tables, and {type(data).__name__} does not say how many "
            "inputs and classes there are: give data=csv, data=breast_cancer or data=isolet"
        )
    network = mlp((data.inputs,), data.classes or 1, hidden)
    if data.classes is None:
        return Regressor(network, optimizer, schedule, dropout)
    return Classifier(network, data.classes, optimizer, schedule, dropout)
