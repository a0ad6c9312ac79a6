"""Tables as data sets: rows of numbers and categories in, a label or a number out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from l1prune.checks import needing
from l1prune.weights.warning import warn
from l1prune.zoo.columns import (
    EMPTY,
    Category,
    Number,
    Texts,
    Variable,
    category_of,
    setting,
    useless,
    variable_of,
)
from l1prune.zoo.csv_files import read_csv
from l1prune.zoo.examples import Examples, InMemory
from l1prune.zoo.splits import LEAST, TEST, VALIDATION, held_out
from l1prune.zoo.targets import target_of


@dataclass(frozen=True, eq=False)
class Table:
    """A table whose columns are known for what they are.

    Attributes:
        variables: what is learned from.
        target: what is learned: a `Category` is a label, a `Number` a number to be met.
    """

    variables: tuple[Variable, ...]
    target: Category | Number

    @property
    def features(self) -> dict[str, tuple[int, ...]]:
        """The inputs of each variable, by its name: those of one-hot categories are together."""
        ends = [*accumulate(len(one.inputs) for one in self.variables)]
        return {
            one.name: tuple(range(end - len(one.inputs), end))
            for one, end in zip(self.variables, ends, strict=True)
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of all inputs of a network for it."""
        return tuple(name for one in self.variables for name in one.inputs)


class TableData(InMemory):
    """Rows of a table, held in memory: numbers scaled, categories one-hot.

    A subclass says where the table comes from, in :meth:`read`. A fifth of the rows are the test,
    always the same; an eighth of the others validate, drawn with the seed; both with all classes
    (or sizes of the target) in the same shares. Means and deviations are those of the training
    rows. A number to be met is scaled too: an error of 1 is that of always saying the mean.

    Args:
        batch_size: rows per training step, shared between the processes.
        seed: of the validation split and of the order of the training rows.
    """

    def __init__(self, batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size, seed)

    def read(self) -> Table:
        """The whole table."""
        raise NotImplementedError

    @cached_property
    def table(self) -> Table:
        """The table, read once.

        Raises:
            ValueError: it cannot be.
        """
        return self.read()

    @property
    def features(self) -> Mapping[str, tuple[int, ...]]:
        """The inputs of each variable, by its name."""
        return self.table.features

    @property
    def inputs(self) -> int:
        """How many inputs a network for it has."""
        return len(self.table.inputs)

    @property
    def classes(self) -> int | None:
        """How many labels there are; None: a number is to be met."""
        target = self.table.target
        return len(target.levels) if isinstance(target, Category) else None

    def setup(self, stage: str) -> None:
        """Read, split and scale; once, whatever the number of stages.

        Raises:
            ValueError: there are too few rows.
        """
        if self.train is not None:
            return
        target = self.table.target
        order = target.codes if isinstance(target, Category) else target.values
        pool, test = held_out(torch.arange(len(order)), order, TEST, 0)
        train, val = held_out(pool, order, VALIDATION, self.seed)
        inputs = torch.cat([one.encoded(train) for one in self.table.variables], 1)
        if not len(test) or not len(val):
            raise ValueError(
                f"{len(order)} rows are too few to hold some out for validation and test: give at "
                f"least {LEAST}"
            )
        labels = order if isinstance(target, Category) else target.encoded(train)[:, 0]
        self.train, self.val, self.test = (
            Examples(inputs[rows], labels[rows]) for rows in (train, val, test)
        )


class CsvTable(TableData):
    """A table of one's own, from a file of comma-separated values.

    Columns of numbers are scaled, all others are categories; what cannot be learned from (an empty
    column, a count of the rows, dates, a text that is another in each row) is left out with a
    warning.

    Args:
        path: of the file; its first line names the columns.
        target: the column that is to be known from the others.
        regression: whether the target is a number to be met; None: found from it. It is one where
            it is made of numbers, unless these are whole and at most twenty different ones.
        categories: columns that are no numbers although they look so; what is named here is kept.
        leave_out: columns that are not to be learned from.
        batch_size: rows per training step, shared between the processes.
        seed: of the validation split and of the order of the training rows.

    Raises:
        ValueError: at construction, for a file that is not there, names that it does not have, a
            target that is to be left out, or a category, or a column that is to be both;
            when it is read, for what is no table to learn from. It says what and where.
    """

    def __init__(
        self,
        path: str,
        target: str,
        regression: bool | None = None,
        categories: Sequence[str] = (),
        leave_out: Sequence[str] = (),
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.path, self.target, self.regression = Path(path).expanduser(), str(target), regression
        self.categories, self.leave_out = [*map(str, categories)], [*map(str, leave_out)]
        self.texts = read_csv(self.path)
        for option, names in (
            ("target", [self.target]),
            ("categories", self.categories),
            ("leave_out", self.leave_out),
        ):
            if unknown := [name for name in names if name not in self.texts]:
                raise ValueError(
                    f"data.{option}: {self.path} has no column {unknown[0]!r}; it has "
                    f"{', '.join(self.texts)}"
                )
        if self.target in self.leave_out:
            raise ValueError(
                f"data.leave_out=[{self.target}]: it is the target, which is not learned from "
                "anyway: take it out of this list, or name another target"
            )
        if self.target in self.categories:
            raise ValueError(
                f"data.categories=[{self.target}]: it is the target, and no column to learn from: "
                "for a target of labels give data.regression=false"
            )
        if twice := [name for name in self.leave_out if name in self.categories]:
            raise ValueError(
                f"data.categories and data.leave_out both name {twice[0]!r}: name it where it is "
                "to be learned from as a category, or where it is not to be learned from"
            )

    def read(self) -> Table:
        target = target_of(self.target, self.texts[self.target], self.regression)
        left = {name: why for name, cells in self.texts.items() if (why := useless(name, cells))}
        named = (self.target, *self.leave_out, *self.categories)
        left = {name: why for name, why in left.items() if name not in named}
        if left:
            told = ", ".join(f"{name} ({why})" for name, why in left.items())
            full = [name for name, why in left.items() if why != EMPTY]
            them = "them" if len(full) > 1 else "it"
            kept = f"; {setting('categories', full)} would keep {them}" if full else ""
            warn(f"{self.path}: left out: {told}{kept}")
        return Table(tuple(self._variables({*left, *self.leave_out, self.target})), target)

    def _variables(self, without: set[str]) -> list[Variable]:
        chosen: Texts = {n: cells for n, cells in self.texts.items() if n not in without}
        if not chosen:
            raise ValueError(f"data.path={self.path}: no column is left to learn from")
        return [
            category_of(name, cells) if name in self.categories else variable_of(name, cells)
            for name, cells in chosen.items()
        ]


class BreastCancer(TableData):
    """Breast cancer in Wisconsin (Wolberg et al., 1995): 569 rows of 30 numbers, as scikit-learn's.

    Raises:
        ImportError: scikit-learn is missing.
    """

    def read(self) -> Table:
        with needing("zoo", "the data set BreastCancer"):
            from sklearn.datasets import load_breast_cancer
        data = load_breast_cancer()
        names = [str(name) for name in data.feature_names]
        levels = tuple(str(name) for name in data.target_names)
        return numeric_table(names, torch.from_numpy(data.data), levels, data.target)


class Isolet(TableData):
    """Spoken letters (Fanty and Cole, 1991): 1,560 rows of 617 numbers, 60 of each letter.

    The file `Isolet.mat` of the feature selection collection of Arizona State University.

    Args:
        path: the folder with the file.
        batch_size: rows per training step, shared between the processes.
        seed: of the validation split and of the order of the training rows.

    Raises:
        ImportError: scikit-learn, which brings what reads the file, is missing.
        ValueError: the file is not there.
    """

    def __init__(self, path: str | None = None, batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.file = Path(path or ".").expanduser() / "Isolet.mat"
        if not self.file.is_file():
            raise ValueError(
                f"data.path={path}: there is no Isolet.mat; get it from the feature selection data "
                "sets of Arizona State University, and give its folder as data.path=FOLDER"
            )

    def read(self) -> Table:
        with needing("zoo", "the data set Isolet"):
            from scipy.io import loadmat
        found = loadmat(self.file)
        values = torch.from_numpy(found["X"]).double()
        names = [f"f{place}" for place in range(1, values.shape[1] + 1)]
        letters = tuple(chr(ord("A") + place) for place in range(26))
        return numeric_table(names, values, letters, found["Y"].ravel() - 1)


def numeric_table(
    names: Sequence[str], values: Tensor, levels: tuple[str, ...], labels: object
) -> Table:
    """A table of numbers `(N, columns)`, each row with one of some labels.

    >>> table = numeric_table(["x", "y"], torch.eye(2), ("no", "yes"), [0, 1])
    >>> table.features
    {'x': (0,), 'y': (1,)}
    """
    columns = tuple(
        Number(name, column.double()) for name, column in zip(names, values.unbind(1), strict=True)
    )
    return Table(columns, Category("label", levels, torch.as_tensor(labels).long()))
