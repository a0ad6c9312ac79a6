"""What all tests and examples share: random numbers are the same whenever they run."""

from __future__ import annotations

import random

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    torch.manual_seed(0)
