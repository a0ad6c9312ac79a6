"""Fits: what pruning by default costs a whole fit of Lightning's Trainer, over one without."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import nn

from benchmarks.measure import Row, Work, once_each, over, row_of
from benchmarks.scale import Scale
from l1prune import L1Pruning, Saliency, rounds
from l1prune.zoo import Classifier, Digits, lenet300, mlp
from l1prune.zoo.examples import Examples, InMemory
from l1prune.zoo.gpt import GPT

CUTS = 50
"""Of a run by default."""


class Drawn(InMemory):
    """Examples that are drawn at random: what is learned does not change how long it takes."""

    def __init__(self, train: Examples, val: Examples, batch_size: int) -> None:
        super().__init__(batch_size, seed=0)
        self.train, self.val = train, val


def pictures(count: int, validation: int = 1) -> Drawn:
    """Images of 28 × 28 whose margin is empty, as it is in MNIST, in batches of 128."""
    generator = torch.Generator().manual_seed(0)

    def some(number: int) -> Examples:
        images = torch.zeros(number, 1, 28, 28)
        images[..., 4:24, 4:24] = torch.rand(number, 1, 20, 20, generator=generator)
        return Examples(images, torch.randint(10, (number,), generator=generator))

    return Drawn(some(count), some(validation), 128)


def characters(count: int) -> Drawn:
    """Sequences of 64 characters, in batches of 16; to validate by, an eighteenth, as of a text."""
    generator = torch.Generator().manual_seed(0)

    def some(number: int) -> Examples:
        text = torch.randint(65, (number, 65), generator=generator)
        return Examples(text[:, :-1].contiguous(), text[:, 1:].contiguous())

    return Drawn(some(count), some(count // 18), 16)


@dataclass(frozen=True)
class Fit:
    """A network that is trained, and the most that pruning may cost.

    Attributes:
        name: of network, data and length.
        goal: of the ratio.
        network: makes it.
        data: makes them.
        classes: that they have.
        epochs: how long.
        validates: whether it does, after each.
        cuts: fewer than a run's fifty where the fit is a part of one: as many as that part has.
    """

    name: str
    goal: float
    network: Callable[[], nn.Module]
    data: Callable[[], InMemory]
    classes: int = 10
    epochs: int = 1
    validates: bool = True
    cuts: int = CUTS


FITS: Mapping[str, Fit] = {
    "digits": Fit(
        "digits MLP, 30 epochs",
        1.10,
        lambda: mlp((1, 8, 8), 10),
        lambda: Digits(batch_size=32),
        epochs=30,
    ),
    "lenet": Fit(
        "LeNet-300-100, 3 epochs of 100 batches",
        1.20,
        lambda: lenet300((1, 28, 28), 10),
        lambda: pictures(12_800),
        epochs=3,
        validates=False,
    ),
    "mnist": Fit(
        "LeNet-300-100, a tenth of 50 epochs of MNIST, with 5 of 50 cuts",
        1.05,
        lambda: lenet300((1, 28, 28), 10),
        lambda: pictures(54_000, 6_000),
        epochs=5,
        cuts=5,
    ),
    "gpt192": Fit(
        "GPT-192, a tenth of one pass over tiny Shakespeare, with 5 of 50 cuts",
        1.03,
        lambda: GPT(65, 64, layers=6, width=192, heads=6),
        lambda: characters(1_568),
        classes=65,
        cuts=5,
    ),
}

TINY = Fit(
    "a tiny network",
    1.0,
    lambda: mlp((1, 28, 28), 10, hidden=(8,)),
    lambda: pictures(1_280),
    epochs=2,
    cuts=10,
)


def fits(fit: Fit, scale: Scale) -> Iterator[Row]:
    """One fit with, over one without."""
    chosen = TINY if scale.quick else fit
    with fitting(TINY, scale.device, TINY.cuts) as warm_up:
        warm_up()
    contenders = {
        "without": partial(fitting, chosen, scale.device, None),
        "with": partial(fitting, chosen, scale.device, chosen.cuts),
    }
    seconds = once_each(contenders, scale.device, scale.rounds)
    ratios = over(seconds, "with", "without")
    yield row_of(f"fit with L1Pruning(), over one without: {fit.name}", "×", fit.goal, ratios)


@contextmanager
def fitting(fit: Fit, device: torch.device, cuts: int | None) -> Iterator[Work]:
    """A fit that is ready to begin, with so many cuts; None: without."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    make = partial(torch.optim.AdamW, lr=2e-3, fused=True)
    module = Classifier(fit.network(), fit.classes, make)
    data = fit.data()
    data.setup("fit")
    trainer = L.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        max_epochs=fit.epochs,
        callbacks=[] if cuts is None else [pruning(cuts)],
        limit_val_batches=1.0 if fit.validates else 0,
        **SILENT,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice for large runs
        yield partial(trainer.fit, module, data)


SILENT: dict[str, Any] = {
    "num_sanity_val_steps": 0,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def pruning(cuts: int) -> L1Pruning:
    """The default, with so many cuts in the time in which it has fifty, and by what it goes."""
    if cuts == CUTS:
        return L1Pruning()
    return L1Pruning(prune_at=rounds(0.1, 0.6, cuts), criterion=Saliency())
