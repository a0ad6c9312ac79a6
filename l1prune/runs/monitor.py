"""Monitor: the metric by which a run is judged, whichever its unit and its better end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from l1prune.cuts.direction import SHARES, higher_is_better

Mode = Literal["max", "min"]
VALIDATION = r"^(validation|valid|val|dev|eval)(?=[^a-z]|$)"
EVALUATION = r"^(validation|valid|val|dev|eval|test)(?=[^a-z]|$)"


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
        return re.sub(VALIDATION, "test", self.name)

    @property
    def words(self) -> str:
        """What it measures, wherever: `"accuracy"` of `"val/accuracy"`."""
        return re.sub(EVALUATION + r"[^A-Za-z0-9]+", "", self.name)

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
        return bool(SHARES & _words(self.name))


def settled(logged: Iterable[str], name: str | None = None, mode: Mode | None = None) -> Monitor:
    """The metric by which a run is judged: the one that was asked for, else one that is logged.

    Left open, it is the first that is logged of the best kind there is: an accuracy or another
    share; then what else its name tells the better end of, as `val/mse`; then a loss. Of a kind,
    names of validation, as `val_mse`, come first.

    Args:
        logged: the names of what validation logs, in the order in which they are.
        name: what was asked for; None leaves it open.
        mode: its better end; None: as its name tells.

    Raises:
        ValueError: nothing is logged, not what was asked for, or nothing whose better end is known.

    >>> settled(["val_loss", "val_r2"]), settled(["val_loss"])
    (Monitor(name='val_r2', mode='max'), Monitor(name='val_loss', mode='min'))
    """
    known = [one for one in logged if not one.endswith("_step")]
    told = f"what validation logs: {', '.join(known) or 'nothing'}"
    if name is not None:
        if name not in known:
            raise ValueError(f"monitor={name} is not among {told}")
        return Monitor.of(name, mode)
    if not known:
        raise ValueError(
            "validation logs nothing to judge the run by: log a figure in validation_step, as "
            "self.log('val/loss', loss)"
        )
    if mode is not None:
        if len(known) > 1:
            raise ValueError(f"monitor.mode={mode}: of which? Give monitor.name too, of {told}")
        return Monitor(known[0], mode)
    candidates = [one for one in map(_told, known) if one]
    if not candidates:
        raise ValueError(
            f"no name says whether higher is better among {told}; say by which the run is judged, "
            f"as monitor.name={known[0]} monitor.mode=max"
        )
    return min(candidates, key=_preference)  # the first of several alike


def is_evaluation(name: str) -> bool:
    """Whether a figure is one of validation or test, by its name.

    >>> [is_evaluation(name) for name in ("val/mse", "test_acc", "valuable", "train/loss")]
    [True, True, False, False]
    """
    return bool(re.match(EVALUATION, name))


def _preference(monitor: Monitor) -> tuple[bool, ...]:
    words = _words(monitor.name)
    return not monitor.is_share, "loss" in words, not re.match(VALIDATION, monitor.name)


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower()))


def _told(name: str) -> Monitor | None:
    """The metric, if its name tells the better end."""
    try:
        return Monitor.of(name)
    except ValueError:
        return None


def _higher(name: str) -> bool:
    try:
        return higher_is_better(name)
    except ValueError:
        raise ValueError(
            f"monitor={name!r}: its name does not say whether higher is better; "
            "say it, as monitor.mode=max or monitor.mode=min"
        ) from None
