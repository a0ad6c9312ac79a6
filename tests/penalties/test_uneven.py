"""Uneven steps: one solution however the weights are laid out."""

from __future__ import annotations

import torch

from l1prune.penalties import L1, GroupL1, LogSum
from l1prune.penalties.uneven import Members, Rows, lasso_norms, nearest


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(30, 4, dtype=torch.float64, generator=generator)
    return w, torch.rand(30, 4, dtype=torch.float64, generator=generator)


def test_units_may_be_rows_or_scattered() -> None:
    w, t = sample()
    order = torch.randperm(w.numel(), generator=torch.Generator().manual_seed(1))
    members = Members(torch.arange(30).repeat_interleave(4)[order], 30)
    rows = nearest(w, t, Rows(), LogSum(0.3)).flatten()[order]
    scattered = nearest(w.flatten()[order], t.flatten()[order], members, LogSum(0.3))
    torch.testing.assert_close(scattered, rows, rtol=1e-9, atol=1e-12)
    norms = lasso_norms(w, t, Rows()).flatten()
    torch.testing.assert_close(lasso_norms(w.flatten()[order], t.flatten()[order], members), norms)


def test_l1_needs_no_search_and_comes_to_the_same() -> None:
    w, t = sample()
    torch.testing.assert_close(nearest(w, t, Rows(), L1()), GroupL1().prox_(w.clone(), t))


def test_units_of_unequal_size_do_not_disturb_each_other() -> None:
    w, t = sample()
    w, t = w.flatten(), t.flatten()
    members = Members(torch.tensor([0] * 7 + [1] * 1 + [2] * 112), 3)
    x = nearest(w, t, members, LogSum(0.3))
    for start, stop in ((0, 7), (7, 8), (8, 120)):
        part = slice(start, stop)
        alone = nearest(w[None, part], t[None, part], Rows(), LogSum(0.3))[0]
        torch.testing.assert_close(x[part], alone, rtol=1e-9, atol=1e-12)
