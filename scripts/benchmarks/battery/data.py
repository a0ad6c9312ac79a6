"""Data of the battery: drawn by a formula, shipped with scikit-learn, or read by the zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from l1prune.zoo.digits import Digits
from l1prune.zoo.examples import Examples, InMemory
from l1prune.zoo.hub import HubImages
from l1prune.zoo.tables import Isolet
from l1prune.zoo.text import Text


@dataclass(frozen=True)
class Sources:
    """Where data lie that are not drawn by a formula; None: they are downloaded.

    Attributes:
        isolet: the folder of Isolet.mat, which nothing downloads.
    """

    mnist: Path | None = None
    text: Path | None = None
    isolet: Path | None = None


@dataclass(frozen=True)
class Split:
    """Examples to learn from, to choose by, and to judge by."""

    train: Examples
    val: Examples
    test: Examples

    def map(self, change: Callable[[Tensor], Tensor]) -> Split:
        """The same with other inputs."""
        return self.each(lambda part: Examples(change(part.inputs), part.labels))

    def each(self, change: Callable[[Examples], Examples]) -> Split:
        """The same with other examples in each part."""
        return Split(change(self.train), change(self.val), change(self.test))


@lru_cache(maxsize=1)
def _mnist(sources: Sources) -> Split:
    whole = _split(HubImages(str(sources.mnist) if sources.mnist else "ylecun/mnist"))
    return whole.map(lambda images: F.avg_pool2d(images, 2))


def images(sources: Sources, count: int = 4000) -> Split:
    """MNIST at 14 × 14, of which few are learned from."""
    whole = _mnist(sources)
    return Split(whole.train.subset(range(count)), whole.val, whole.test)


def rows(sources: Sources) -> Split:
    """The same, row by row."""
    return images(sources).map(lambda pixels: pixels.squeeze(1))


def pixels(sources: Sources) -> Split:
    """The same, to be drawn again by an autoencoder."""
    return images(sources).each(lambda part: Examples(part.inputs, part.inputs.flatten(1)))


@lru_cache(maxsize=1)
def digits(sources: Sources) -> Split:
    """Scikit-learn's digits."""
    return _split(Digits())


def strokes(sources: Sources) -> Split:
    """The same, row by row."""
    return digits(sources).map(lambda pixels: pixels.squeeze(1))


@lru_cache(maxsize=1)
def isolet(sources: Sources) -> Split:
    """Spoken letters, 617 numbers each."""
    return _split(Isolet(str(sources.isolet)))


@lru_cache(maxsize=1)
def characters(sources: Sources) -> Split:
    """Tiny Shakespeare in sequences of 48 characters; a part of it."""
    whole = _text(sources, 48)
    few = whole.train.subset(range(3000))
    return Split(few, whole.val.subset(range(1000)), whole.test.subset(range(1000)))


def _text(sources: Sources, length: int) -> Split:
    return _split(Text(str(sources.text) if sources.text else None, length=length))


def _split(data: InMemory) -> Split:
    data.prepare_data()
    data.setup("fit")
    assert data.train is not None and data.val is not None and data.test is not None
    return Split(data.train, data.val, data.test)


@lru_cache(maxsize=1)
def waves(sources: Sources) -> Split:
    """Friedman's regression (1991) with products and waves, 20 inputs of which 10 matter."""

    def answer(x: Tensor) -> Tensor:
        first = 10 * torch.sin(torch.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
        second = 10 * x[:, 3] + 5 * x[:, 4] + 6 * torch.sin(6 * x[:, 5]) * x[:, 6]
        return first + second + 8 * (x[:, 7] > x[:, 8]) * x[:, 9]

    return _drawn(torch.rand, answer, noise=1.0)


@lru_cache(maxsize=1)
def table(sources: Sources) -> Split:
    """Five classes in 40 columns: a random network's answer to 15 of them."""
    random = torch.Generator().manual_seed(1)
    first = torch.randn(15, 30, generator=random) / 15**0.5
    second = torch.randn(30, 5, generator=random)

    def answer(x: Tensor) -> Tensor:
        return (torch.tanh(2 * x[:, :15] @ first) @ second).argmax(1)

    whole = _drawn(torch.randn, answer, noise=0.0)
    more = torch.Generator().manual_seed(2)
    return whole.map(lambda x: torch.cat([x, torch.randn(len(x), 20, generator=more)], 1))


@lru_cache(maxsize=1)
def friedman(sources: Sources) -> Split:
    """Friedman's regression (1991) from 1,000 noisy rows, 12 inputs of which 5 matter."""

    def answer(x: Tensor) -> Tensor:
        curved = 10 * torch.sin(torch.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
        return curved + 10 * x[:, 3] + 5 * x[:, 4]

    whole = _drawn(torch.rand, answer, noise=1.0, columns=12)
    few = Split(whole.train.subset(range(1000)), whole.val, whole.test)
    return few.map(lambda x: 2 * x - 1)


@lru_cache(maxsize=1)
def centred_friedman(sources: Sources) -> Split:
    """The same, less the mean of what is learned from."""
    given = friedman(sources)
    mean = given.train.labels.mean()
    return given.each(lambda part: Examples(part.inputs, part.labels - mean))


def _drawn(
    draw: Callable[..., Tensor], answer: Callable[[Tensor], Tensor], noise: float, columns: int = 20
) -> Split:
    """5,000 examples to learn from, 5,000 to choose by, 20,000 to judge by."""
    random = torch.Generator().manual_seed(0)
    parts = []
    for count in (5000, 5000, 20000):
        x = draw(count, columns, generator=random)
        y = answer(x)
        if noise:
            y = (y + noise * torch.randn(count, generator=random)).unsqueeze(1) / 5
        parts.append(Examples(x, y))
    return Split(*parts)
