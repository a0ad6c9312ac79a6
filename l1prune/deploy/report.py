"""The report of what was made smaller, what stayed, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from l1prune.deploy.attributes import Attribute
from l1prune.words import quantity, some_of

SHOWN = 4
"""Of how many weights the rows and columns of zeros are told, for each reason."""


@dataclass(frozen=True)
class Shortened:
    """Dimensions that got shorter together: of which parameters, and their size in the first."""

    names: tuple[str, ...]
    before: int
    after: int


@dataclass(frozen=True)
class CompactReport:
    """What became of a model.

    Attributes:
        before: parameters of the original.
        after: parameters of the smaller model.
        shortened: what got shorter.
        attributes: whole numbers of modules that held a size, and were changed with it.
        kept: how many units that no output needs stayed, by parameter and reason.
        empty: how many rows and columns of zeros stayed, as their units do something all the same:
            by reason, and by ("row" or "column", the parameter).
        refused: why some dimensions could not be made shorter although units of theirs are dead.
        difference64: the largest relative difference of the two models in float64, before
            constants were rounded to the weights' type.
        difference: the same in the weights' own type, as rounded.
        inputs: on how many random inputs they were compared.
    """

    before: int
    after: int
    shortened: tuple[Shortened, ...]
    attributes: tuple[Attribute, ...]
    kept: Mapping[str, Mapping[str, int]]
    empty: Mapping[str, Mapping[tuple[str, str], int]]
    refused: Mapping[str, str]
    difference64: float
    difference: float
    inputs: int

    @property
    def ratio(self) -> float:
        """How many times fewer parameters there are."""
        return self.before / self.after if self.after else float("inf")

    def __str__(self) -> str:
        lines = [
            f"{self.before:,} → {self.after:,} parameters ({self.ratio:.2f} × fewer); largest "
            f"relative difference {self.difference64:.1e} in float64, {self.difference:.1e} as "
            f"stored, on {self.inputs} inputs"
        ]
        for one in self.shortened:
            lines.append(f"  {some_of(one.names, 1)}: {one.before} → {one.after}")
        lines += [f"  {one}" for one in self.attributes]
        for name, reasons in self.kept.items():
            for reason, count in reasons.items():
                lines.append(f"  kept: {count} dead of {name}, {reason}")
        for reason, counts in self.empty.items():
            empty = [f"{quantity(n, what)} of {name}" for (what, name), n in counts.items()]
            lines.append(f"  kept: {some_of(empty, SHOWN)}, all zeros, {reason}")
        lines += [f"  left as it is: {name}, {why}" for name, why in self.refused.items()]
        return "\n".join(lines)
