"""Models whose graph would not tell the whole truth are refused, each in a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from dead_units import Apply
from torch import Tensor, nn
from torch.nn.utils import prune

from l1prune.deploy import compact


def layer() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3)).eval()


def masked() -> nn.Module:
    model = layer()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def hooked() -> nn.Module:
    model = layer()
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


def replaced() -> nn.Module:
    """A closure over the original: a copy of the model would still compute with its weights."""
    model = layer()
    before = model[0].forward
    model[0].forward = lambda x: before(x) + 1
    return model


def counting() -> nn.Module:
    def call(m: nn.Module, x: Tensor) -> Tensor:
        m.count.add_(1)
        return x + m.count

    model = Apply(call)
    model.register_buffer("count", torch.zeros(1))
    return model.eval()


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own successor
        return torch.ao.quantization.quantize_dynamic(layer(), {nn.Linear}, dtype=torch.qint8)


class Wrapped(Tensor):
    """A tensor of a kind of its own, as quantised and sharded weights are."""


def wrapped() -> nn.Module:
    model = layer()
    model[0].register_buffer("extra", torch.ones(2).as_subclass(Wrapped))
    return model


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "training": (lambda: layer().train(), r"training mode.*model\.eval\(\)"),
    "one part in training": (
        lambda: nn.Sequential(layer(), nn.Dropout().train()).eval().append(nn.Dropout()),
        "2 .Dropout. is in training mode",
    ),
    "masks": (masked, "0 .Linear. is under masks.*prune.remove"),
    "hooks": (hooked, "0 .Linear. has hooks"),
    "another forward": (replaced, "0 .Linear. has a forward that was put on it"),
    "quantised": (quantised, "0 .Linear. is quantised"),
    "compiled": (lambda: torch.compile(layer()), "OptimizedModule.* is compiled"),
    "without values": (lambda: layer().to("meta"), "0.weight is on the meta device"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(2)).eval(), "run one batch"),
    "sharded": (wrapped, "0.extra is a Wrapped, quantised or sharded"),
    "control flow": (
        lambda: Apply(lambda m, x: x if x.sum() > 0 else -x).eval(),
        "forward of Apply cannot be exported",
    ),
    "changes": (counting, "changes count"),
    "random": (
        lambda: Apply(lambda m, x: nn.functional.dropout(m.part(x)), part=layer()).eval(),
        "something else each time",
    ),
    "sizes by values": (
        lambda: Apply(lambda m, x: x[x > 0]).eval(),
        "sizes depend on values",
    ),
    "no module": (lambda: torch.relu, "is no torch.nn.Module"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        compact(make(), torch.ones(2, 4))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_an_example_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be exported"):
        compact(layer(), torch.ones(2, 5))
