"""Columns: a table's variables, as numbers or as categories, and the inputs that they become."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
"""What stands in a cell that nothing is known of, in small letters."""

MOSTLY = 0.9
"""The share of numbers from which the rest of a column are taken for mistakes."""

FEW = 20
"""How many texts are categories even if each row has its own, and whole numbers labels."""

DATE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3\d{4})([T ]\d{1,2}:.*)?")
"""A day as ISO, or as people write it, and perhaps a time of it."""

EMPTY = "it is empty"
"""Why nothing can be learned from a column, whatever it is taken for."""

Texts = Mapping[str, Sequence[str]]
"""The cells of a table as they are written, by the name of their column."""


class Variable(Protocol):
    """A column of a table, and the inputs of a network that stand for it."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that it becomes."""
        ...

    def encoded(self, train: Tensor) -> Tensor:
        """Those inputs `(N, inputs)`, float32, scaled by what the training rows say."""
        ...


@dataclass(frozen=True, eq=False)
class Number:
    """Numbers: one input of mean 0 and deviation 1, and one that says where they are missing.

    Args:
        name: of the column.
        values: `(N,)`, float64; NaN where it is missing.

    >>> Number("age", torch.tensor([1.0, 3.0, float("nan")])).encoded(torch.tensor([0, 1]))
    tensor([[-1.,  0.],
            [ 1.,  0.],
            [ 0.,  1.]])
    """

    name: str
    values: Tensor

    @property
    def inputs(self) -> tuple[str, ...]:
        missing = (f"{self.name} is missing",) if bool(self.values.isnan().any()) else ()
        return (self.name, *missing)

    def encoded(self, train: Tensor) -> Tensor:
        known = self.values[train]
        known = known[~known.isnan()] if not known.isnan().all() else known.new_zeros(1)
        power = math.frexp(float(known.abs().max()))[1]
        unit = math.ldexp(1.0, min(power, 1023))  # squares shall not overflow, nor shall it
        mean = (known / unit).mean()
        deviation = (known / unit).std(correction=0)
        varies = deviation > 16 * torch.finfo(torch.float64).eps * mean.abs()  # beyond rounding
        missing = self.values.isnan()
        scaled = (self.values / unit - mean) / (deviation if varies else torch.inf)
        both = torch.stack([scaled.masked_fill(missing, 0.0), missing.to(scaled.dtype)], 1)
        return both[:, : len(self.inputs)].float()


@dataclass(frozen=True, eq=False)
class Category:
    """Texts of a few kinds: an input for each, 1 where a row has it; missing is a kind, too.

    Args:
        name: of the column.
        levels: the kinds.
        codes: `(N,)`, int64: which one each row has, or, where it is missing, how many there are.

    >>> Category("colour", ("green", "red"), torch.tensor([1, 0])).encoded(torch.tensor([0]))
    tensor([[0., 1.],
            [1., 0.]])
    """

    name: str
    levels: tuple[str, ...]
    codes: Tensor

    @property
    def inputs(self) -> tuple[str, ...]:
        missing = (f"{self.name} is missing",) if int(self.codes.max()) == len(self.levels) else ()
        return (*(f"{self.name}={level}" for level in self.levels), *missing)

    def encoded(self, train: Tensor) -> Tensor:
        return F.one_hot(self.codes, len(self.inputs)).float()


def is_missing(text: str) -> bool:
    """Whether a cell says that nothing is known.

    >>> is_missing("NA"), is_missing("0")
    (True, False)
    """
    return text.lower() in MISSING


def setting(option: str, names: Sequence[str]) -> str:
    """A list of columns as a command line takes it, in the quotes of Hydra and of a shell.

    >>> print(setting("categories", ["id"]), setting("leave_out", ["order no", "id"]))
    data.categories=[id] "data.leave_out=[order no,id]"
    >>> print(setting("categories", ["size (cm)"]))
    "data.categories=['size (cm)']"
    """
    words = [
        n if re.fullmatch(r"[\w .-]+", n) else "'" + n.replace("'", r"\'") + "'" for n in names
    ]
    text = f"data.{option}=[{','.join(words)}]"
    return f'"{text}"' if re.search(r"[\s'()]", text) else text


def is_dates(cells: Sequence[str]) -> bool:
    """Whether all cells are dates, perhaps with a time.

    >>> is_dates(["2024-03-01", "2024-03-02 12:30"]), is_dates(["1.2.2024"]), is_dates(["1.2"])
    (True, True, False)
    """
    return all(map(DATE.fullmatch, cells))


def as_number(text: str) -> float | None:
    """The finite number that a text is.

    >>> as_number("1e3"), as_number("12a"), as_number("inf")
    (1000.0, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def number_of(name: str, cells: Sequence[str]) -> Number:
    """A column of numbers.

    Raises:
        ValueError: one cell is neither a number nor missing.
    """
    values = []
    for row, cell in enumerate(cells, 1):
        value = math.nan if is_missing(cell) else as_number(cell)
        if value is None:
            raise ValueError(f"column {name!r}: {cell!r} in row {row} is no number")
        values.append(value)
    return Number(name, torch.tensor(values, dtype=torch.float64))


def category_of(name: str, cells: Sequence[str]) -> Category:
    """A column of categories, numbers in their order.

    >>> category_of("grade", ["10", "9", "10", ""]).levels
    ('9', '10')
    """
    found = {cell for cell in cells if not is_missing(cell)}
    numbers = {cell: as_number(cell) for cell in found}
    whole = all(number is not None for number in numbers.values())
    levels = tuple(sorted(found, key=lambda cell: (numbers[cell] if whole else 0.0, cell)))
    places = {level: place for place, level in enumerate(levels)}
    codes = [places.get(cell, len(levels)) for cell in cells]
    return Category(name, levels, torch.tensor(codes))


def variable_of(name: str, cells: Sequence[str], advice: str = "") -> Variable:
    """What a column is, found from its cells.

    Args:
        name: of the column.
        cells: of it.
        advice: settings that help where it is neither; empty: those of what is learned from.

    Raises:
        ValueError: it is mostly numbers, and some cells are none.
    """
    known = [cell for cell in cells if not is_missing(cell)]
    odd = [cell for cell in known if as_number(cell) is None]
    if not odd:
        return number_of(name, cells)
    if len(odd) <= (1 - MOSTLY) * len(known):
        as_categories = len({*known}) <= most_kinds(known)
        advice = advice or (
            (f"{setting('categories', [name])}, or " if as_categories else "")
            + setting("leave_out", [name])
        )
        raise ValueError(
            f"column {name!r}: {odd[0]!r} in row {cells.index(odd[0]) + 1} is no number, and "
            f"{1 - len(odd) / len(known):.1%} of the cells are: mend it, or give {advice}"
        )
    return category_of(name, cells)


def useless(name: str, cells: Sequence[str]) -> str | None:
    """Why nothing can be learned from a column, if so: it is empty, names the rows, or has dates.

    >>> useless("id", ["0", "1", "2"]), useless("x", ["0", "1", "1"])
    ('it counts the rows', None)
    """
    known = [cell for cell in cells if not is_missing(cell)]
    if not known:
        return EMPTY
    numbers = [as_number(cell) for cell in cells]
    if len(numbers) > 2 and numbers in ([*range(len(cells))], [*range(1, len(cells) + 1)]):
        return "it counts the rows"
    if is_dates(known):
        return f"it holds dates, as {known[0]}, where the days since the first would be numbers"
    missing = len(cells) - len(known)  # which are no numbers either
    texts = numbers.count(None) - missing
    if texts > (1 - MOSTLY) * len(known) and (kinds := len({*known})) > most_kinds(known):
        return f"it has {kinds:,} different texts in {len(known):,} rows"
    return None


def most_kinds(known: Sequence[str]) -> float:
    """Of how many kinds categories are at most, whose cells are these."""
    return max(FEW, len(known) / 2)
