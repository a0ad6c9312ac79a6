"""Data of the study of claims: images, tables of sparse and of dense truth, a regression; harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.battery.data import Sources, Split
from l1prune.zoo.digits import Digits
from l1prune.zoo.examples import Examples
from l1prune.zoo.hub import HubImages

NOISE_COLUMNS = 200
WRONG, GROSS = 0.2, 0.1
"""The share of wrong labels, and of rows that are outliers."""


def digits(sources: Sources, seed: int) -> Split:
    """Scikit-learn's digits: 500 to learn from, 400 to choose by, 897 that are always the test."""
    pool, test = Digits().read()
    every = Examples(*(torch.cat(both) for both in zip(_pair(pool), _pair(test), strict=True)))
    fixed = torch.randperm(len(every), generator=_source(0))
    drawn = fixed[897:][torch.randperm(900, generator=_source(seed + 1))]
    return _scaled(_split(every, drawn[:500], drawn[500:], fixed[:897]))


@lru_cache(maxsize=1)
def _mnist(sources: Sources) -> tuple[Examples, Examples]:
    data = HubImages(str(sources.mnist) if sources.mnist else "ylecun/mnist")
    return data.read()


def mnist(sources: Sources, seed: int, rows: int, raw: bool = False) -> Split:
    """So many of MNIST's images to learn from, 500 to choose by, its first 2,000 test images.

    Raw, pixels are from 0 to 1, so that those that never change are 0; else standardised together.
    """
    pool, test = _mnist(sources)
    drawn = torch.randperm(len(pool), generator=_source(seed + 1))
    train, val = pool.subset(drawn[:rows].tolist()), pool.subset(drawn[rows : rows + 500].tolist())
    split = Split(*(_flat(part) for part in (train, val, test.subset(range(2000)))))
    return split.map(lambda pixels: pixels / 255) if raw else _scaled(split)


def xor5(sources: Sources, seed: int) -> Split:
    """Ten of 500 columns matter, in five products: no column says anything by itself."""
    source = _source(seed + 1)
    chosen = torch.randperm(500, generator=source)[:10]
    x = torch.randn(4000, 500, generator=source)
    y = (x[:, chosen[:5]] * x[:, chosen[5:]]).sum(1) > 0
    return _rows(Examples(x, y.long()), 1750, 250)


def matters(task: str, seed: int) -> list[int] | None:
    """The columns that a task's answer depends on, where these are some of many."""
    if task == "xor5":
        chosen: list[int] = torch.randperm(500, generator=_source(seed + 1))[:10].tolist()
        return chosen
    known = {"waves": 5, "waves-absolute": 5, "dense": 100}
    return [*range(known[task])] if task in known else None


def dense(sources: Sources, seed: int) -> Split:
    """All of 100 columns matter: the answer of a random network of 30 units to each row."""
    source = _source(seed + 1)
    first = torch.randn(100, 30, generator=source) / 10
    second = torch.randn(30, generator=source)
    x = torch.randn(4000, 100, generator=source)
    return _rows(Examples(x, (torch.tanh(2 * x @ first) @ second > 0).long()), 1750, 250)


def waves(sources: Sources, seed: int) -> Split:
    """Friedman's regression (1991): five of 20 columns matter."""
    source = _source(seed + 1)
    x = torch.rand(3000, 20, generator=source)
    y = 10 * torch.sin(torch.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y = y + 10 * x[:, 3] + 5 * x[:, 4]
    y = (y - 14.4) / 4.9 + 0.2 * torch.randn(3000, generator=source)
    return _rows(Examples((x - 0.5) * 12**0.5, y), 500, 500)


DATA: Mapping[str, Callable[[Sources, int], Split]] = {
    "digits": digits,
    "mnist500": partial(mnist, rows=500),
    "raw500": partial(mnist, rows=500, raw=True),
    "mnist5000": partial(mnist, rows=5000),
    "xor5": xor5,
    "dense": dense,
    "waves": waves,
    "waves-absolute": waves,
}


def clean(split: Split, source: torch.Generator) -> Split:
    """As it is."""
    return split


def wrong(split: Split, source: torch.Generator) -> Split:
    """A fifth of the labels are others; of a regression, noise of Student's t with 1.5 degrees.

    Those to choose by suffer as those to learn from do; the test set does not.
    """

    def changed(part: Examples) -> Examples:
        labels = part.labels
        if labels.is_floating_point():
            seed = int(torch.randint(2**31, (1,), generator=source))
            tails = np.random.default_rng(seed).standard_t(1.5, len(labels))
            return Examples(part.inputs, labels + 0.5 * torch.from_numpy(tails).float())
        classes = int(split.train.labels.max()) + 1
        by = torch.randint(1, classes, labels.shape, generator=source)
        hit = torch.rand(labels.shape, generator=source) < WRONG
        return Examples(part.inputs, torch.where(hit, (labels + by) % classes, labels))

    return Split(changed(split.train), changed(split.val), split.test)


def outliers(split: Split, source: torch.Generator) -> Split:
    """A tenth of the rows are ten times as large, of either sign; not those of the test set."""

    def changed(part: Examples) -> Examples:
        hit = torch.rand(len(part), 1, generator=source) < GROSS
        sign = torch.randint(0, 2, (len(part), 1), generator=source) * 20.0 - 10
        return Examples(torch.where(hit, part.inputs * sign, part.inputs), part.labels)

    return Split(changed(split.train), changed(split.val), split.test)


def noise(split: Split, source: torch.Generator) -> Split:
    """200 more columns, which say nothing, in all parts."""

    def changed(inputs: Tensor) -> Tensor:
        more = torch.randn(len(inputs), NOISE_COLUMNS, generator=source)
        return torch.cat([inputs, more], 1)

    return split.map(changed)


CONDITIONS: Mapping[str, Callable[[Split, torch.Generator], Split]] = {
    "clean": clean,
    "wrong": wrong,
    "outliers": outliers,
    "noise": noise,
}


def data_of(task: str, condition: str, seed: int, sources: Sources) -> Split:
    """The data of a task, drawn and harmed by the seed, inputs `(N, columns)`."""
    return CONDITIONS[condition](DATA[task](sources, seed), _source(seed + 1000))


@dataclass(frozen=True)
class Judge:
    """What is learned by, and judged by, in per cent.

    Args:
        regression: whether the answer is a number.
        absolute: whether that is learned by its absolute error, not by its square.
    """

    regression: bool
    absolute: bool = False

    def loss(self, answers: Tensor, labels: Tensor) -> Tensor:
        if self.regression:
            error = F.l1_loss if self.absolute else F.mse_loss
            return error(answers.squeeze(1), labels)
        return F.cross_entropy(answers, labels)

    def score(self, answers: Tensor, labels: Tensor) -> float:
        """The accuracy; of a regression R², the share of the variance that is explained."""
        if self.regression:
            left = (answers.squeeze(1) - labels).square().mean() / labels.var(correction=0)
            return 100 * (1 - left.item())
        return 100 * (answers.argmax(1) == labels).float().mean().item()


def _source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pair(part: Examples) -> tuple[Tensor, Tensor]:
    return part.inputs, part.labels


def _flat(part: Examples) -> Examples:
    return Examples(part.inputs.float().flatten(1), part.labels)


def _rows(whole: Examples, train: int, val: int) -> Split:
    order = torch.arange(len(whole))
    return _split(whole, order[:train], order[train : train + val], order[train + val :])


def _split(whole: Examples, *rows: Tensor) -> Split:
    return Split(*(_flat(whole.subset(part.tolist())) for part in rows))


def _scaled(split: Split) -> Split:
    """By the mean and deviation of all pixels together: constant ones stay constant."""
    deviation, mean = torch.std_mean(split.train.inputs)
    return split.map(lambda inputs: (inputs - mean) / deviation)
