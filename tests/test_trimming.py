"""Trimming: small units are pressed in full, large ones hardly or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from l1prune.penalties import L1, ElasticNet, GroupL1, LogSum, Penalty
from l1prune.trimming import trimmed_prox_


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("penalty", [L1(), ElasticNet(0.4), LogSum(), GroupL1()], ids=str)
@pytest.mark.parametrize("ease", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_each_unit_is_shrunk_as_its_size_says(penalty: Penalty, ease: float, share: float) -> None:
    w = weights(20, 15)
    cap = float(penalty.score(w).quantile(share))
    small = (penalty.score(w) <= cap).expand_as(w)
    assert small.any() and not small.all()
    full, eased = penalty.prox_(w.clone(), 0.05), penalty.prox_(w.clone(), ease * 0.05)
    trimmed = trimmed_prox_(penalty, w.clone(), 0.05, cap, ease)
    assert torch.allclose(trimmed[small], full[small], atol=1e-12)
    assert torch.allclose(trimmed[~small], eased[~small], atol=1e-12)


def test_zeros_are_exact_and_the_large_do_not_drift() -> None:
    w = weights(300_000).float()
    before = w.clone()
    for _ in range(50):
        trimmed_prox_(L1(), w, 0.01, cap=0.4, ease=0.0)
    assert (w[before.abs() <= 0.4] == 0).all()
    assert torch.allclose(w[before.abs() > 0.4], before[before.abs() > 0.4], rtol=1e-5)


@pytest.mark.parametrize("cap", [0.0, -1.0])
def test_a_cap_below_every_weight_presses_only_what_is_zero(cap: float) -> None:
    w = weights(100)
    before = w.clone()
    assert torch.equal(trimmed_prox_(L1(), w, 0.3, cap, ease=0.0), before)


@pytest.mark.parametrize("ease", [0.0, 0.5])
def test_one_threshold_for_all_and_one_for_each_agree(ease: float) -> None:
    one = trimmed_prox_(L1(), weights(200), 0.1, 0.8, ease)
    each = trimmed_prox_(L1(), weights(200), torch.full((200,), 0.1).double(), 0.8, ease)
    assert torch.allclose(one, each, atol=1e-12)
