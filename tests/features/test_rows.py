"""Rows: standardised the same whether they are in memory, on disk, or too many for a copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l1prune.features import rows as room
from l1prune.features.rows import Rows, Scale


def sample() -> np.ndarray:
    return np.random.RandomState(0).normal([0, 5, -1e6], [1, 1e-3, 1e3], size=(50, 3))


def test_columns_come_with_mean_zero_and_deviation_one() -> None:
    x = sample()
    z = Scale(x)(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_a_constant_column_is_zero_and_not_its_rounding_blown_up() -> None:
    x = np.column_stack([sample()[:, 0], np.full(50, 0.1)])
    assert not Scale(x)(x)[:, 1].abs().gt(1e-6).any()


def test_what_is_too_large_for_a_copy_is_standardised_as_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y, chosen = sample(), torch.arange(50), np.array([3, 7, 40])
    whole = Rows(x, y, Scale(x), chosen)
    monkeypatch.setattr(room, "IN_MEMORY", 1)
    monkeypatch.setattr(room, "AT_ONCE", 4)
    lazy = Rows(x, y, Scale(x), chosen)
    for a, b in zip(whole.batch(np.array([0, 2])), lazy.batch(np.array([0, 2]))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    parts = [*lazy.parts()]
    assert torch.cat([y for _, y in parts]).tolist() == [3, 7, 40] and len(parts) == 3


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e200])
def test_columns_of_any_size_and_far_from_zero_are_scaled(scale: float) -> None:
    x = np.random.RandomState(0).normal(size=(50, 1))
    for column in (scale * x, 1.7e9 + 900 * x, 1.7e18 + 1e9 * x):
        found = Scale(column)(column)
        assert abs(float(found.std(correction=0)) - 1) < 1e-3
    constant = np.full((7, 1), 1e22 / 3)
    assert not Scale(constant)(constant).any()


@pytest.mark.parametrize("in_memory", [0, 9, 2**20])
def test_some_columns_of_some_columns_are_those_of_the_whole(
    in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "IN_MEMORY", in_memory)
    x, y, chosen = sample(), torch.arange(50), np.array([3, 7, 40])
    rows = Rows(x, y, Scale(x), chosen).of(np.array([0, 2])).of(np.array([1]))
    found, targets = rows.batch(np.array([0, 2]))
    torch.testing.assert_close(found, Scale(x)(x)[[3, 40]][:, [2]], rtol=1e-4, atol=1e-4)
    assert targets.tolist() == [3, 40] and len(rows) == 3


def test_what_varies_far_from_zero_does_so_in_few_bits_too() -> None:
    x = (np.random.RandomState(0).normal(size=(400, 1)) + 1e6).astype(np.float32)
    assert Scale(x).varies.all()
    noise = np.float32(1e6) + np.random.RandomState(0).randint(2, size=(400, 1)) * 0.0625
    assert not Scale(noise.astype(np.float32)).varies.any()  # the last bit


def test_the_largest_numbers_do_not_overflow() -> None:
    x = 1.7e308 * np.random.RandomState(0).uniform(-1, 1, size=(50, 1))
    scale = Scale(x)
    assert scale.varies.all() and np.isfinite(scale.mean).all()
    assert 0.9e308 < float(scale.deviation[0]) < 1.1e308  # of a uniform one, a root of three
