"""Reference networks, sized by the shape of their images: plain modules with published counts."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


def mlp(shape: Sequence[int], classes: int, hidden: Sequence[int] = (256, 128)) -> nn.Sequential:
    """A multilayer perceptron: linear layers of ``hidden`` units with ReLU between.

    Args:
        shape: of one input, ``(C, H, W)`` or any other; it is flattened.
        classes: number of outputs.
        hidden: units of each hidden layer, first to last.

    >>> [tuple(p.shape) for p in mlp((1, 8, 8), 10).parameters() if p.ndim == 2]
    [(256, 64), (128, 256), (10, 128)]
    """
    layers: list[nn.Module] = [nn.Flatten()]
    width = prod(shape)
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, classes))


def lenet300(shape: Sequence[int], classes: int) -> nn.Sequential:
    """LeNet-300-100 (LeCun et al., 1998): 266,200 weights on 28 × 28 images.

    >>> sum(p.numel() for p in lenet300((1, 28, 28), 10).parameters() if p.ndim == 2)
    266200
    """
    return mlp(shape, classes, hidden=(300, 100))


def lenet5(shape: Sequence[int], classes: int) -> nn.Sequential:
    """LeNet-5 as Caffe ships it (20-50-500-10): 430,500 weights on 28 × 28 images.

    Two 5 × 5 convolutions, each followed by a 2 × 2 max pool and no nonlinearity but that, then
    two linear layers.

    Raises:
        ValueError: when an image is too small for two 5 × 5 convolutions and two pools.

    >>> sum(p.numel() for p in lenet5((1, 28, 28), 10).parameters() if p.ndim > 1)
    430500
    """
    channels, *size = shape
    height, width = (((side - 4) // 2 - 4) // 2 for side in size)
    if min(height, width) < 1:
        raise ValueError(
            f"model=lenet5 needs images of at least 16 × 16, these are {size[0]} × {size[1]}; "
            "use model=mlp or model=resnet20, or larger images, for example data=mnist"
        )
    return nn.Sequential(
        nn.Conv2d(channels, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * height * width, 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )


def resnet20(shape: Sequence[int], classes: int) -> nn.Sequential:
    """ResNet-20 for small images (He et al., 2016, section 4.2): 16, 32 and 64 channels.

    A shortcut that changes width is a 1 × 1 convolution ("option B"): unlike the padding of
    option A it is a layer of its own, with weights that can be pruned. 272,474 parameters on
    3 × 32 × 32 images.

    >>> sum(p.numel() for p in resnet20((3, 32, 32), 10).parameters())
    272474
    """
    blocks: list[nn.Module] = []
    before = 16
    for channels in (16, 32, 64):
        for _ in range(3):
            blocks.append(Residual(before, channels))
            before = channels
    return nn.Sequential(
        convolution(shape[0], 16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


class Residual(nn.Module):
    """Two 3 × 3 convolutions and a shortcut around them; halves the image where it widens.

    Args:
        before: channels of the input ``(B, before, H, W)``.
        after: channels of the output, ``(B, after, H, W)``, or half of H and W when wider.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.body = nn.Sequential(
            convolution(before, after, stride=stride), nn.ReLU(), convolution(after, after)
        )
        self.shortcut = nn.Identity() if stride == 1 else convolution(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def convolution(before: int, after: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A ``size`` × ``size`` convolution without bias, then BatchNorm, which has one."""
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(after),
    )
