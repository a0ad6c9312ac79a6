"""Running averages of the model, which callbacks of Lightning keep: as sparse as the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import lightning.pytorch as pl
import torch
from lightning.pytorch import callbacks as lightning_callbacks
from torch import Tensor, nn

from l1prune.cuts.masks import hold_copy_
from l1prune.training.lightning import average_of, count_of, keeps_average
from l1prune.weights.warning import warn

# By name: older versions of Lightning lack the first. The EMA callback is one of its subclasses.
NAMES = ("WeightAveraging", "StochasticWeightAveraging")
AVERAGING = tuple(
    getattr(lightning_callbacks, name) for name in NAMES if hasattr(lightning_callbacks, name)
)


def find_averages(callbacks: Iterable[pl.Callback]) -> list[nn.Module]:
    """Find the averaged copies of the model among a trainer's callbacks.

    A copy has the parameters of the model it averages, by the same names. There is none before the
    callback is set up for a fit. A callback that keeps its copy where it cannot be found is warned
    about.

    Args:
        callbacks: `trainer.callbacks`, in any order.

    >>> from lightning.pytorch.callbacks import StochasticWeightAveraging
    >>> find_averages([StochasticWeightAveraging(0.01)])
    []
    """
    averages: list[nn.Module] = []
    for callback in callbacks:
        if not isinstance(callback, AVERAGING):
            continue
        if not keeps_average(callback):
            warn(
                f"{type(callback).__name__} of this version of Lightning does not keep its average "
                "where it used to: the average will be dense, the trained model sparse; "
                "train without averaging, or with another version"
            )
            continue
        average = average_of(callback)
        if average is not None:
            averages.append(average)
    return averages


def names_of(callbacks: Iterable[pl.Callback]) -> list[str]:
    """The kinds of the callbacks that average the weights, as a message names them."""
    return [type(callback).__name__ for callback in callbacks if isinstance(callback, AVERAGING)]


def hold_averages_(callbacks: Iterable[pl.Callback], masks: Mapping[str, Tensor]) -> None:
    """Write the zeros into the averaged copies, in place, on whatever device they are.

    An average of zeros is zero: it is enough to do so whenever the masks have changed.

    Args:
        callbacks: `trainer.callbacks`, in any order.
        masks: True where a weight stays, by the weight's name in the model.
    """
    for average in find_averages(callbacks):
        hold_copy_(average, masks)


@torch.no_grad()
def renew_averages_(callbacks: Iterable[pl.Callback], model: nn.Module) -> None:
    """Let the averages begin anew, with the model as it is: those before it are not to count.

    An average that has not begun is left alone.

    Args:
        callbacks: `trainer.callbacks`, in any order.
        model: what they average.
    """
    own = dict(model.named_parameters())
    for callback in callbacks:
        count = count_of(callback) if isinstance(callback, AVERAGING) else None
        if count is None or not count:
            continue
        for average in find_averages([callback]):
            for name, parameter in average.named_parameters():
                if name in own:
                    parameter.copy_(own[name])
        count.zero_()
