"""A device without float64, as MPS is one: nothing that a cut does asks it for any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from l1prune import L1, Criterion, Saliency, Sparsity, Threshold, Wanda, find_targets
from l1prune.cuts.criteria import Size
from l1prune.cuts.masks import cut
from l1prune.cuts.scopes import LAMP, Global, PerLayer, PerOutput, Relative
from l1prune.cuts.semi_structured import SemiStructured
from l1prune.cuts.thresholds import Magnitude
from l1prune.pressure.pressure import Pressure
from l1prune.weights import pieces

SCOPES = [Global(), Global(0.5), LAMP(), PerLayer(), PerOutput(), Relative()]
THRESHOLDS: list[Threshold] = [Sparsity(0.9, scope=scope) for scope in SCOPES]
THRESHOLDS += [Magnitude(0.05, floor=2), SemiStructured(2, 4)]
CRITERIA: list[Criterion] = [Size(), Saliency(), Wanda()]


class WithoutFloat64(TorchDispatchMode):
    """Fails, as MPS does, where an operation makes a tensor of float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        wide = [t for t in tree_leaves(made) if isinstance(t, Tensor) and t.dtype == torch.float64]
        if wide:
            raise TypeError(f"{func}: the device has no float64")
        return made


@pytest.fixture(autouse=True)
def _without_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pieces, "WITHOUT_FLOAT64", {"cpu"})
    yield


def test_the_guard_sees_float64() -> None:
    with WithoutFloat64(), pytest.raises(TypeError, match="no float64"):
        torch.ones(2).double()


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=str)
@pytest.mark.parametrize("criterion", CRITERIA, ids=str)
def test_a_cut_needs_none(threshold: Threshold, criterion: Criterion) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.Linear(8, 16))
    targets, optimizer = find_targets(model), torch.optim.Adam(model.parameters())
    with WithoutFloat64():
        pressure = Pressure(optimizer, targets, strength=0.01)
        with criterion.watch(model, targets):
            masks: dict[str, Tensor] = {}
            for progress in (0.5, 1.0):
                model(torch.randn(4, 8)).square().mean().backward()
                optimizer.step()
                worth = criterion.weigh(targets, [optimizer])
                masks = cut(targets, L1(), threshold, masks, progress, worth)
        pressure.remove()
    assert 0 < sum(int(mask.sum()) for mask in masks.values()) < 8 * 16 * 3
