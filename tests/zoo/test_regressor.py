"""The error of a regression is the mean over all rows, whatever the batches were."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tasks import trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune.zoo import Regressor


def test_the_error_is_the_mean_over_all_rows() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(23, 3), torch.randn(23)
    model = Regressor(nn.Linear(3, 1), partial(torch.optim.SGD, lr=0.1))
    expected = (model(x).squeeze(1) - y).square().mean().item()
    run = trainer()
    run.validate(model, DataLoader(TensorDataset(x, y), 5), verbose=False)
    assert run.callback_metrics["val/mse"].item() == pytest.approx(expected, rel=1e-5)
    run.test(model, DataLoader(TensorDataset(x, y), 5), verbose=False)
    assert run.callback_metrics["test/mse"].item() == pytest.approx(expected, rel=1e-5)
