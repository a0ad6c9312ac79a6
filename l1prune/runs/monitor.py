"""Monitor: the metric by which a run is judged, whichever its unit and its better end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from l1prune.cuts.direction import SHARES, higher_is_better

Mode = Literal["max", "min"]


@dataclass(frozen=True)
class Monitor:
    """The metric by which a run is judged.

    Args:
        name: a validation metric, as the module logs it: `"val/accuracy"`, `"val_mse"`.
        mode: `"max"` where higher is better, or `"min"`.

    Raises:
        ValueError: `name` is empty, or `mode` neither of the two.

    >>> Monitor("val/mse", "min").test
    'test/mse'
    """

    name: str = "val/accuracy"
    mode: Mode = "max"

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ValueError(f"monitor={self.name!r}: give the name of a validation metric")
        if self.mode not in ("max", "min"):
            raise ValueError(f"mode={self.mode!r}: give 'max' where higher is better, or 'min'")

    @classmethod
    def of(cls, name: str, mode: Mode | None = None) -> Monitor:
        """A metric whose direction is given, or told by the words of its name.

        Raises:
            ValueError: they do not tell it.

        >>> Monitor.of("val_loss")
        Monitor(name='val_loss', mode='min')
        """
        return cls(name, mode or ("max" if _higher(name) else "min"))

    @property
    def test(self) -> str:
        """The same metric on the test set.

        >>> Monitor.of("valid_mse").test, Monitor.of("val/loss/dataloader_idx_0").test
        ('test_mse', 'test/loss/dataloader_idx_0')
        """
        return re.sub(r"^(validation|valid|val|dev|eval)(?=[^a-z]|$)", "test", self.name)

    @property
    def words(self) -> str:
        """What it measures, wherever: `"accuracy"` of `"val/accuracy"`."""
        return re.sub(r"^(validation|valid|val|dev|eval|test)[^A-Za-z0-9]+", "", self.name)

    def rank(self, value: float) -> float:
        """The value with the better end up: to sort by.

        >>> Monitor("val/mse", "min").rank(0.25)
        -0.25
        """
        return value if self.mode == "max" else -value

    def better(self, value: float, than: float) -> bool:
        """Whether a value is better than another.

        >>> Monitor("val/mse", "min").better(0.1, than=0.2)
        True
        """
        return self.rank(value) > self.rank(than)

    def shown(self, value: float) -> str:
        """The value in the metric's own unit: a share in percent, else four digits that count.

        >>> Monitor().shown(0.97431), Monitor("val/mse", "min").shown(0.0312345)
        ('97.43 %', '0.03123')
        """
        return f"{100 * value:.2f} %" if self.is_share else f"{value:#.4g}".rstrip(".")

    @property
    def is_share(self) -> bool:
        """Whether it is from 0 to 1, and said in percent: an accuracy, no error."""
        return bool(SHARES & set(re.split(r"[^a-z0-9]+", self.name.lower())))


def _higher(name: str) -> bool:
    try:
        return higher_is_better(name)
    except ValueError:
        raise ValueError(
            f"monitor={name!r}: its name does not say whether higher is better; "
            "say it, as monitor.mode=max or monitor.mode=min"
        ) from None
