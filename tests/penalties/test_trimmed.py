"""Trimming: small units are pressed in full, large ones hardly or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from l1prune.penalties import L1, ElasticNet, GroupL1, LogSum, Penalty
from l1prune.penalties.trimmed import TrimmedPenalty


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("penalty", [L1(), ElasticNet(0.4), LogSum()], ids=str)
@pytest.mark.parametrize("ease", [0.0, 0.1, 1.0])
def test_each_weight_is_shrunk_by_its_own_share(penalty: Penalty, ease: float) -> None:
    w, spared = weights(20, 15), weights(15, 20).T > 0.3
    full, eased = penalty.prox_(w.clone(), 0.05), penalty.prox_(w.clone(), ease * 0.05)
    trimmed = TrimmedPenalty(penalty, spared, ease).prox_(w.clone(), 0.05)
    assert torch.allclose(trimmed, torch.where(spared, eased, full), atol=1e-12)


def test_a_group_is_shrunk_or_spared_as_a_whole() -> None:
    w, spared = weights(20, 15), (weights(20, 1) > 0.3).expand(20, 15)
    full = GroupL1().prox_(w.clone(), 0.05)
    trimmed = TrimmedPenalty(GroupL1(), spared, ease=0.0).prox_(w.clone(), 0.05)
    assert torch.allclose(trimmed, torch.where(spared, w, full), atol=1e-12)


@pytest.mark.parametrize("t", [0.01, 1e-7, 1e3])
def test_zeros_are_exact_and_the_spared_do_not_drift(t: float) -> None:
    w, spared = weights(300_000).float(), weights(300_000) > 0.3
    before = w.clone()
    for _ in range(50):
        TrimmedPenalty(L1(), spared, ease=0.0).prox_(w, t)
    if t > 0.1:
        assert (w[~spared] == 0).all()
    assert torch.allclose(w[spared], before[spared], rtol=1e-5)


@pytest.mark.parametrize("ease", [0.0, 0.5])
def test_one_threshold_for_all_and_one_for_each_agree(ease: float) -> None:
    spared = weights(200) > 0
    one = TrimmedPenalty(L1(), spared, ease).prox_(weights(200), 0.1)
    each = TrimmedPenalty(L1(), spared, ease).prox_(weights(200), torch.full((200,), 0.1).double())
    assert torch.allclose(one, each, atol=1e-12)
