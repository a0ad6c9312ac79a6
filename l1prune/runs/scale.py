"""Scale: how the figures of one metric are written and drawn: unit, digits, and what is in view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import quantiles

from l1prune.runs.monitor import Monitor
from l1prune.runs.spread import Spread

FAR = 3.0
"""How many times the middle half of the figures one must lie beyond it, to be far from them."""
SQUEEZED = 3.0
"""How many times longer an axis may become by what lies far from all else."""


@dataclass(frozen=True)
class Scale:
    """How the figures of a metric are shown.

    Args:
        monitor: the metric.
        percent: whether they are shares, and said in percent.
        tested: whether they are of the test set, or else of validation: never some of each.
        validated: whether those of validation are known for all, which they are chosen by then.
    """

    monitor: Monitor
    percent: bool
    tested: bool = True
    validated: bool = False

    @classmethod
    def of(
        cls,
        monitor: Monitor,
        figures: Iterable[float],
        tested: bool = True,
        validated: bool = False,
    ) -> Scale:
        """That of some figures: an accuracy that somebody logs in percent is no share.

        >>> Scale.of(Monitor("val_acc"), [97.5]).percent
        False
        """
        share = monitor.is_share and all(0 <= value <= 1 for value in figures)
        return cls(monitor, share, tested, validated)

    @property
    def title(self) -> str:
        """What its figures are.

        >>> Scale(Monitor(), True).title
        'test accuracy'
        """
        return f"{self.data} {self.monitor.words}"

    @property
    def direction(self) -> str:
        """What follows the title at an axis that is turned over, since the better end is up.

        >>> Scale(Monitor("val/mse", "min"), False).direction
        ' (lower is better)'
        """
        return " (lower is better)" if self.monitor.mode == "min" else ""

    @property
    def data(self) -> str:
        """What they are of."""
        return "test" if self.tested else "validation"

    @property
    def chosen(self) -> str:
        """What the best are chosen by."""
        return "validation" if self.validated else self.data

    @property
    def beside(self) -> str:
        """What other figures runs may have."""
        return "validation" if self.tested else "test"

    @property
    def factor(self) -> int:
        """What a figure is multiplied by to be shown."""
        return 100 if self.percent else 1

    @property
    def unit(self) -> str:
        """What follows the number."""
        return " %" if self.percent else ""

    def shown(self, value: float) -> str:
        """One figure.

        >>> Scale(Monitor(), True).shown(0.9764), Scale(Monitor("val/mse", "min"), False).shown(0.5)
        ('97.64 %', '0.5')
        """
        return self.spread(Spread(value, None, 1))

    def spread(self, spread: Spread) -> str:
        """A mean with its standard error, both with the digits that the error leaves sure.

        >>> Scale(Monitor("val/mse", "min"), False).spread(Spread(0.0312345, 0.00041, 3))
        '0.03123 ± 0.00041'
        """
        if self.percent:
            error = "" if spread.error is None else f" ± {100 * spread.error:.2f}"
            return f"{100 * spread.mean:.2f}{error} %"
        if not spread.error:
            return f"{spread.mean:.4g}"
        digits = _decimals(spread.error)
        if digits > 12 or abs(spread.mean) >= 1e9:
            return f"{spread.mean:.4g} ± {spread.error:.2g}"
        return f"{spread.mean:,.{digits}f} ± {spread.error:,.{digits}f}"

    def difference(self, spread: Spread) -> str:
        """A difference, with its sign; that of percentages is in points.

        >>> Scale(Monitor(), True).difference(Spread(-0.0018, 0.0009, 20))
        '−0.18 ± 0.09'
        """
        sign = "−" if spread.mean < 0 else "+" if spread.mean > 0 else "±"
        size = Spread(abs(spread.mean), spread.error, spread.count)
        return f"{sign}{self.spread(size).removesuffix(' %')}"


@dataclass(frozen=True)
class View:
    """How much of an axis is shown.

    Args:
        monitor: which end is the better one; it is never cut.
        worst: the worst figure that is in view; None: all are.
    """

    monitor: Monitor
    worst: float | None

    @classmethod
    def of(cls, monitor: Monitor, figures: Sequence[float]) -> View:
        """That of some figures: without what is so far off that it would squeeze all else.

        Out of view is what lies beyond the far fence of Tukey's (1977), three times the middle
        half below it, where the axis would be more than three times as long with it.

        >>> View.of(Monitor(), [0.98, 0.97, 0.975, 0.96, 0.965, 0.1]).worst
        0.96
        """
        if len(figures) < 5:
            return cls(monitor, None)
        ranks = sorted(map(monitor.rank, figures))
        low, _, high = quantiles(ranks, n=4, method="inclusive")
        near = [rank for rank in ranks if rank >= low - FAR * (high - low)]
        length = near[-1] - near[0]
        if len(near) == len(ranks) or not 0 < SQUEEZED * length < ranks[-1] - ranks[0]:
            return cls(monitor, None)
        return cls(monitor, monitor.rank(near[0]))  # a rank is its own inverse

    def hides(self, figure: float) -> bool:
        """Whether a figure is out of view."""
        return self.worst is not None and self.monitor.better(self.worst, than=figure)


def _decimals(error: float) -> int:
    """As many as leave an error two digits that count."""
    return max(0, 1 - math.floor(math.log10(error)))
