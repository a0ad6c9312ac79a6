"""Tasks: what is to be predicted, how a network's output compares with it, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l1prune.features.rows import Scale


class Task(Protocol):
    """A kind of target."""

    outputs: int
    """How many numbers the network gives for a row."""

    y: Tensor
    """The targets, a row each, as the loss takes them."""

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of each row."""
        ...

    def predictions(self, output: Tensor) -> NDArray[Any]:
        """What the output says, in the form in which the targets were given."""
        ...


class Regression(Task):
    """One number or several, standardised; the loss is the squared error.

    >>> task = Regression(np.array([1.0, 3.0]))
    >>> task.losses(task.y + 1, task.y), task.predictions(task.y)
    (tensor([1., 1.]), array([1., 3.]))
    """

    def __init__(self, y: NDArray[Any]) -> None:
        columns = y.reshape(len(y), -1).astype(np.float64)
        self._flat, self._scale = y.ndim == 1, Scale(columns)
        self.y = self._scale(columns)
        self.outputs = columns.shape[1]

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        return (output - y).square().mean(1)

    def predictions(self, output: Tensor) -> NDArray[Any]:
        found: NDArray[Any] = output.double().numpy() * self._scale.deviation + self._scale.mean
        return found[:, 0] if self._flat else found


class Classes(Task):
    """One of several classes, of any type; the loss is the cross-entropy.

    >>> task = Classes(np.array(["no", "yes", "no"]))
    >>> task.predictions(torch.tensor([[0.1, 2.0]])), task.y
    (array(['yes'], dtype='<U3'), tensor([0, 1, 0]))
    """

    def __init__(self, y: NDArray[Any]) -> None:
        self.classes, codes = np.unique(y, return_inverse=True)
        self.y = torch.from_numpy(codes.astype(np.int64).reshape(-1))
        self.outputs = len(self.classes)

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output, y, reduction="none")

    def predictions(self, output: Tensor) -> NDArray[Any]:
        found: NDArray[Any] = self.classes[self.probabilities(output).argmax(1)]
        return found

    def probabilities(self, output: Tensor) -> NDArray[Any]:
        """Of each class, `(rows, classes)`."""
        found: NDArray[Any] = output.double().softmax(1).numpy()
        return found


class MultiClasses(Task):
    """Several outputs, each of which is one of several classes; the loss is the mean of theirs.

    >>> task = MultiClasses(np.array([["no", "red"], ["yes", "blue"], ["no", "green"]]))
    >>> task.predictions(torch.tensor([[0.1, 2.0, 0.0, 0.0, 1.0]])), task.outputs
    (array([['yes', 'red']], dtype='<U5'), 5)
    """

    def __init__(self, y: NDArray[Any]) -> None:
        self._each = [Classes(column) for column in y.T]
        self.classes = [one.classes for one in self._each]
        self.y = torch.stack([one.y for one in self._each], 1)
        self.outputs = sum(one.outputs for one in self._each)

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        each = zip(self._each, self._split(output), y.unbind(1), strict=True)
        return torch.stack([one.losses(part, of) for one, part, of in each]).mean(0)

    def predictions(self, output: Tensor) -> NDArray[Any]:
        each = zip(self._each, self._split(output), strict=True)
        return np.column_stack([one.predictions(part) for one, part in each])

    def probabilities(self, output: Tensor) -> list[NDArray[Any]]:
        """Of each class of each output, a list of `(rows, classes)`."""
        each = zip(self._each, self._split(output), strict=True)
        return [one.probabilities(part) for one, part in each]

    def _split(self, output: Tensor) -> Sequence[Tensor]:
        return torch.split(output, [one.outputs for one in self._each], 1)


class Labels(Task):
    """Labels, each of which holds or does not; the loss is the binary cross-entropy.

    >>> task = Labels(np.array([[0, 1], [1, 1]]))
    >>> task.predictions(torch.tensor([[-1.0, 2.0]])), task.outputs
    (array([[0, 1]]), 2)
    """

    def __init__(self, y: NDArray[Any]) -> None:
        self.classes: NDArray[Any] = np.arange(y.shape[1])
        self.y = torch.from_numpy(np.asarray(y, dtype=np.float32).copy())
        self.outputs = y.shape[1]

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, y, reduction="none").mean(1)

    def predictions(self, output: Tensor) -> NDArray[Any]:
        found: NDArray[Any] = (output > 0).numpy().astype(np.int64)
        return found

    def probabilities(self, output: Tensor) -> NDArray[Any]:
        """Of each label, `(rows, labels)`."""
        found: NDArray[Any] = output.double().sigmoid().numpy()
        return found
