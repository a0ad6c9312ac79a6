"""Networks of the kinds that people prune, small enough to be trained in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Skip(nn.Module):
    """x + body(x)."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """A recurrent layer over (B, T, inputs), read at its last step.

    Args:
        layer: `nn.LSTM` or `nn.GRU`.
        inputs: features of a step.
        width: of its state.
        outputs: of the linear layer that reads it.
    """

    def __init__(self, layer: type[nn.RNNBase], inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.layer = layer(inputs, width, batch_first=True)  # type: ignore[call-arg, arg-type]
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])  # type: ignore[no-any-return]


class Characters(nn.Module):
    """A GRU that foretells each next character."""

    def __init__(self, characters: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.layer = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, characters)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layer(self.embedding(tokens))[0])  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A transformer's encoder over tokens, whose mean is classified.

    Args:
        embedding: of tokens (B, T) or patches (B, T, F) to (B, T, width).
        length: T.
        width: of a token.
        layers: of the encoder, of four heads each.
        classes: to tell apart.
    """

    def __init__(
        self, embedding: nn.Module, length: int, width: int, layers: int, classes: int
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, 4, 4 * width, dropout=0.1, activation="gelu",
                    batch_first=True, norm_first=True,
                )
                for _ in range(layers)
            )
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.layers(self.embedding(x) + self.places)
        return self.head(self.norm(tokens).mean(1))  # type: ignore[no-any-return]


def chain(
    widths: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU, norm: bool = False
) -> nn.Sequential:
    """Linear layers of these widths, first the inputs', with an activation between.

    >>> sum(isinstance(layer, nn.Linear) for layer in chain([4, 8, 2]))
    2
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (before, after) in enumerate(pairwise(widths)):
        if number:
            layers += [nn.BatchNorm1d(before)] if norm else []
            layers.append(activation())
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)


def convolution(
    before: int, after: int, size: int = 3, groups: int = 1, stride: int = 1
) -> list[nn.Module]:
    """A convolution, BatchNorm and ReLU."""
    layer = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.ReLU()]


def separable(width: int, blocks: int, classes: int) -> nn.Sequential:
    """Depthwise and pointwise convolutions beside skips."""
    body = [Skip(*convolution(width, width, 3, width), *convolution(width, width, 1))
            for _ in range(blocks)]  # fmt: skip
    return _classified(*convolution(1, width, stride=2), *body, width=width, classes=classes)


def inverted(width: int, blocks: int, classes: int, wider: int = 4) -> nn.Sequential:
    """Inverted residuals: wide inside, with depthwise convolutions, narrow at the skips."""
    inner = wider * width
    body = [
        Skip(
            *convolution(width, inner, 1),
            *convolution(inner, inner, 3, inner),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        for _ in range(blocks)
    ]
    return _classified(*convolution(1, width, stride=2), *body, width=width, classes=classes)


def residual(width: int, blocks: int, classes: int) -> nn.Sequential:
    """Two convolutions beside each skip."""
    body = [Skip(*convolution(width, width), *convolution(width, width)) for _ in range(blocks)]
    return _classified(*convolution(1, width, stride=2), *body, width=width, classes=classes)


def plain(width: int, classes: int, norm: bool = True) -> nn.Sequential:
    """Three convolutions in a row; without `norm` no BatchNorm between them."""
    layers = [
        *convolution(1, width),
        nn.MaxPool2d(2),
        *convolution(width, 2 * width),
        nn.MaxPool2d(2),
        *convolution(2 * width, 4 * width),
    ]
    kept = [layer for layer in layers if norm or not isinstance(layer, nn.BatchNorm2d)]
    return _classified(*kept, width=4 * width, classes=classes)


def _classified(*body: nn.Module, width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
    )  # fmt: skip
