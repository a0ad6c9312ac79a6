"""Fitting: from what scikit-learn gives, and asks for, to what a network is trained with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from l1prune.checks import is_whole, needing
from l1prune.features.arguments import widths
from l1prune.features.entries import Groups
from l1prune.features.networks import Network, perceptron
from l1prune.features.rows import Rows, Scale
from l1prune.features.tasks import Classes, Labels, MultiClasses, Regression, Task
from l1prune.words import some_of

with needing("features", "feature selection as in scikit-learn"):
    from sklearn.utils.multiclass import check_classification_targets, type_of_target

SEEDS = 2**31 - 1
"""Seeds are below this."""

MANY = 20
"""More whole numbers than these, if half of the rows have their own, are no classes."""


def forget(estimator: Any) -> None:
    """Let go of what an earlier fit has learned: a fit that is broken off has learned nothing."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)


def task_of(task: str, y: NDArray[Any]) -> Task:
    """What is to be predicted.

    Args:
        task: `"classification"`, `"regression"`, or `"auto"`.
        y: the targets.

    Raises:
        ValueError: targets that are missing, that are no classes, or only one value of them.

    >>> type(task_of("auto", np.array(["no", "yes"]))).__name__
    'Classes'
    >>> type(task_of("auto", np.array([0.5, 1.5]))).__name__
    'Regression'
    """
    if y.dtype.kind == "O" and (missing := _rows_without(y)):
        raise ValueError(
            f"y is None in {len(missing)} of {len(y)} rows, first in row {missing[0]}: fill it in, "
            "or take these rows out"
        )
    numeric = task == "regression" or (task == "auto" and _is_regression(y))
    if is_constant(y):
        what = "value" if numeric else "class"
        raise ValueError(f"y has one {what}, {y[0].tolist()!r}: there is nothing to predict")
    if numeric:
        return Regression(np.asarray(y, dtype=np.float64))
    check_classification_targets(y)
    if y.ndim == 1 or y.shape[1] == 1:
        return Classes(y.reshape(-1))
    return Labels(y) if type_of_target(y) == "multilabel-indicator" else MultiClasses(y)


def _rows_without(y: NDArray[Any]) -> list[int]:
    rows = enumerate(y.reshape(len(y), -1).tolist())
    return [row for row, targets in rows if any(one is None for one in targets)]


def is_constant(y: NDArray[Any]) -> bool:
    """Whether all rows have the same targets.

    >>> is_constant(np.array([[1, 2], [1, 2]])), is_constant(np.array(["a", "b"]))
    (True, False)
    """
    return bool((y == y[:1]).all())


def dense(y: Any) -> NDArray[Any]:
    """Targets as an array, where labels were given as a sparse matrix, too."""
    found: NDArray[Any] = y.toarray() if hasattr(y, "toarray") else y
    return found


def _is_regression(y: NDArray[Any]) -> bool:
    kind = type_of_target(y)
    if kind.startswith("continuous"):
        return True
    different = len(np.unique(y)) if kind == "multiclass" and y.dtype.kind in "iuf" else 0
    return different > max(MANY, len(y) / 2)


def numbered(groups: Sequence[Sequence[Any]] | None, names: Sequence[str]) -> Groups | None:
    """Groups of columns by their numbers.

    Args:
        groups: lists of numbers, or of names.
        names: of all columns.

    Raises:
        ValueError: there is no such column, or it is there twice.

    >>> numbered([["b", "c"]], ["a", "b", "c"])
    [[1, 2]]
    """
    if groups is None:
        return None
    known = {name: number for number, name in enumerate(names)}
    found, seen = [], dict[int, Any]()
    for group in groups:
        if unknown := [one for one in group if not is_whole(one, 0) and one not in known]:
            raise ValueError(
                f"groups: there is no column {unknown[0]!r}; there are {some_of(names)}"
            )
        numbers = [int(one) if is_whole(one, 0) else known[one] for one in group]
        for number, one in zip(numbers, group, strict=True):
            if number in seen:  # here, where it is known by the name that was given
                called = one if isinstance(one, str) else seen[number]
                raise ValueError(
                    f"groups: {called!r} is there twice; give lists of different columns"
                )
            seen[number] = one
        found.append(numbers)
    return found


def joined_names(owners: NDArray[Any], names: Sequence[str]) -> list[str]:
    """Names of features: of one that is several columns, those of all of them.

    >>> joined_names(np.array([0, 1, 1]), ["age", "red", "blue"])
    ['age', 'red+blue']
    """
    found: list[list[str]] = [[] for _ in range(int(owners.max()) + 1)]
    for owner, name in zip(owners.tolist(), names, strict=True):
        found[owner].append(name)
    return ["+".join(some) for some in found]


def split(
    x: NDArray[Any], y: Tensor, held_back: float, generator: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Rows to train on, and rows to validate on: the same ones, where none are held back.

    Both are standardised by all rows.

    Raises:
        ValueError: no column varies.
    """
    scale = Scale(x)
    if not scale.varies.any():
        raise ValueError(f"X: none of its {x.shape[1]} columns varies: there is nothing to select")
    if held_back == 0:
        rows = Rows(x, y, scale)
        return rows, rows
    order = generator.permutation(len(x))
    count = min(max(1, round(held_back * len(x))), len(x) - 1)
    parts = (np.sort(order[count:]), np.sort(order[:count]))
    train, check = (Rows(x, y, scale, part) for part in parts)
    return train, check


@contextmanager
def seeded(generator: np.random.RandomState) -> Iterator[None]:
    """Draw weights by the generator, with gradients, and leave torch's own random state alone."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(int(generator.randint(SEEDS)))
        yield


def built(
    network: Network | None, hidden: Sequence[int] | int, inputs: int, task: Task
) -> nn.Module:
    """A network for a task.

    Raises:
        ValueError: it is no network, or its output is of another shape than the task asks for.
    """
    if network is None:
        return perceptron(inputs, task.outputs, widths(hidden) or ())
    asked, right = f"network({inputs}, {task.outputs})", (2, task.outputs)
    try:
        model = network(inputs, task.outputs)
    except Exception as error:
        raise ValueError(
            f"{asked}, of so many columns and outputs: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"network: it gave {model!r}, and has to give a torch.nn.Module")
    model = model.float()
    try:
        output = model(torch.zeros(2, inputs, dtype=torch.float32))
    except Exception as error:
        raise ValueError(
            f"{asked}: of 2 rows of {inputs} columns, {type(error).__name__}: {error}"
        ) from error
    if not isinstance(output, Tensor) or tuple(output.shape) != right:
        tensor = isinstance(output, Tensor)
        what = f"of shape {tuple(output.shape)}" if tensor else f"a {type(output).__name__}"
        raise ValueError(f"{asked}: of 2 rows its output is {what}, and has to be of shape {right}")
    return model
