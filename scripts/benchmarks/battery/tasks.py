"""Tasks of the battery: what is learned, by which network, and how sparse it is to become."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer

from benchmarks.battery.data import (
    Sources,
    Split,
    centred_friedman,
    characters,
    digits,
    friedman,
    images,
    isolet,
    pixels,
    rows,
    strokes,
    table,
    waves,
)
from benchmarks.battery.networks import (
    Characters,
    Encoder,
    Recurrent,
    chain,
    inverted,
    plain,
    residual,
    separable,
)
from l1prune.zoo.gpt import GPT


@dataclass(frozen=True)
class Metric:
    """How a network's answers are judged.

    Attributes:
        loss: that it is trained by.
        figure: that is compared: higher is better.
        unit: in which it is shown.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    figure: Callable[[Tensor, Tensor], Tensor]
    unit: str


def cross_entropy(answers: Tensor, labels: Tensor) -> Tensor:
    """Over (N, classes), or over (N, T, classes)."""
    return F.cross_entropy(answers.flatten(0, -2), labels.flatten())


ACCURACY = Metric(cross_entropy, lambda a, y: 100 * (a.argmax(-1) == y).float().mean(), "%")
LIKELIHOOD = Metric(cross_entropy, lambda a, y: -cross_entropy(a, y), "-loss")
ERROR = Metric(F.mse_loss, lambda a, y: -F.mse_loss(a, y).sqrt(), "-RMSE")


ADAM = partial(Adam, lr=2e-3)
ADAMW = partial(AdamW, lr=2e-3)
DECAYED = partial(AdamW, lr=2e-3, weight_decay=0.1)
MOMENTUM = partial(SGD, lr=0.05, momentum=0.9)


@dataclass(frozen=True)
class Task:
    """What is learned, by which network, and how sparse it is to become.

    Attributes:
        optimizer: of the parameters.
        warm: passes in which the dense network is trained before the task begins; 0: none.
    """

    name: str
    sparsity: float
    data: Callable[[Sources], Split]
    network: Callable[[], nn.Module]
    passes: int
    metric: Metric = ACCURACY
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = ADAM
    batch: int = 64
    warm: int = 0

    @property
    def before(self) -> Task:
        """The training that it begins after."""
        return replace(self, passes=self.warm, warm=0)


def _rows() -> nn.Module:
    return Encoder(nn.Linear(14, 64), 14, 64, layers=3, classes=10)


def _strokes() -> nn.Module:
    return Encoder(nn.Linear(8, 64), 8, 64, layers=2, classes=10)


def _lstm() -> nn.Module:
    return Recurrent(nn.LSTM, 14, 96, 10)


def _gru() -> nn.Module:
    return Recurrent(nn.GRU, 14, 96, 10)


_FRIEDMAN = Task(
    "friedman", 0.97, friedman, partial(chain, [12, 192, 192, 1], nn.GELU), 60, ERROR,
    optimizer=ADAMW, batch=32,
)  # fmt: skip

FRESH = (
    Task("separable", 0.8, images, partial(separable, 48, 3, 10), 12),
    Task("inverted", 0.9, images, partial(inverted, 24, 3, 10), 12),
    Task("residual", 0.95, images, partial(residual, 24, 3, 10), 12),
    Task("plain", 0.98, images, partial(plain, 24, 10), 12),
    Task("bare", 0.95, images, partial(plain, 24, 10, norm=False), 12),
    Task("lstm", 0.95, rows, _lstm, 15),
    Task("gru", 0.98, rows, _gru, 15),
    Task("rows", 0.95, rows, _rows, 15, optimizer=DECAYED),
    Task("strokes", 0.95, strokes, _strokes, 40, optimizer=DECAYED, batch=32),
    Task("gpt", 0.9, characters, partial(GPT, 65, 48, 2, 64, heads=4), 6, LIKELIHOOD),
    Task("characters", 0.95, characters, partial(Characters, 65, 96), 6, LIKELIHOOD),
    Task("deep", 0.98, images, partial(chain, [196, *[96] * 7, 10]), 20),
    Task("deepest", 0.995, images, partial(chain, [196, *[200] * 4, 10]), 20),
    Task("wide", 0.99, digits, partial(chain, [64, 1500, 10]), 30, batch=32),
    Task("small", 0.95, digits, partial(chain, [64, 300, 200, 10], norm=True), 30, batch=32),
    Task("isolet", 0.95, isolet, partial(chain, [617, 300, 200, 26], norm=True), 30, batch=32),
    Task("waves", 0.98, waves, partial(chain, [20, 200, 200, 200, 1], nn.SiLU), 30, ERROR),
    _FRIEDMAN,
    replace(_FRIEDMAN, name="centred", data=centred_friedman),
    Task("table", 0.98, table, partial(chain, [40, 200, 200, 5], norm=True), 20),
    Task("again", 0.97, pixels, partial(chain, [196, 200, 24, 200, 196]), 20, ERROR),
)  # fmt: skip
"""From a fresh network, under Adam."""

UNSCALED = (
    Task("plain-sgd", 0.98, images, partial(plain, 24, 10), 12, optimizer=MOMENTUM),
    Task("separable-sgd", 0.8, images, partial(separable, 48, 3, 10), 12, optimizer=MOMENTUM),
    Task("deep-sgd", 0.95, images, partial(chain, [196, *[128] * 4, 10]), 20, optimizer=MOMENTUM),
    Task("wide-sgd", 0.99, digits, partial(chain, [64, 1500, 10]), 30, optimizer=MOMENTUM),
    Task("table-sgd", 0.98, table, partial(chain, [40, 200, 200, 5], norm=True), 20,
         optimizer=MOMENTUM),
    Task("residual-sgd", 0.95, images, partial(residual, 24, 3, 10), 12, optimizer=MOMENTUM),
)  # fmt: skip
"""Under SGD, which keeps no squares of gradients."""


def _fresh(name: str) -> Task:
    return next(task for task in FRESH if task.name == name)


TRAINED = tuple(
    replace(_fresh(name), name=f"{name}-{passes}", sparsity=0.95, passes=passes, warm=warm)
    for name, warm in (("plain", 12), ("residual", 12), ("deep", 20), ("lstm", 15), ("rows", 15))
    for passes in (1, 3, 10)
)
"""From a trained network, in few passes."""

TASKS = {task.name: task for task in (*FRESH, *UNSCALED, *TRAINED)}
