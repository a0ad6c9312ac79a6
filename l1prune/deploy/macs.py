"""MACs: how much a network computes."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from l1prune.deploy.graph import first_line
from l1prune.deploy.inputs import Arguments, arguments, in_batches


def macs(model: nn.Module, example_input: Any) -> int:
    """Multiply-accumulates of a network for one example.

    Counted are matrix products, convolutions, recurrent layers and attention, its softmax left
    out; zeros count like other weights, and what a causal mask hides like what it shows. Not
    counted are biases, norms, activations, pooling, and what is looked up.

    Args:
        model: in eval mode.
        example_input: a tensor, a tuple of what the model takes, or a mapping of it by name; one
            example of the batch is run.

    Raises:
        ValueError: the model does not take a batch of one.

    Source: `torch.utils.flop_counter`, halved.

    >>> macs(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.ones(16, 4))
    48
    """
    try:
        return macs_of_call(model, in_batches(arguments(example_input), 1))
    except Exception as error:
        raise ValueError(
            f"model: {type(model).__name__} does not take one example alone: {first_line(error)}"
        ) from error


def macs_of_call(model: nn.Module, call: Arguments) -> int:
    """The same for a whole batch.

    >>> macs_of_call(nn.LSTM(4, 8), arguments(torch.ones(5, 1, 4))) == 5 * 4 * 8 * (4 + 8)
    True
    """
    args, kwargs = call
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model's own, and that of torch's switches
        # Attention and recurrent layers by their definitions: some kernels are not counted.
        by_definition = torch.backends.mkldnn.flags(enabled=False)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), by_definition, counter:
            model(*args, **kwargs)
    return counter.get_total_flops() // 2
