"""The digits of scikit-learn, split once and for all."""

from __future__ import annotations

import torch

from l1prune.zoo import Digits


def test_the_test_set_is_the_same_360_images_for_every_seed() -> None:
    (pool, test), (other_pool, other_test) = Digits(seed=0).read(), Digits(seed=1).read()
    assert len(test) == 360
    assert len(pool) == 1797 - 360
    assert torch.equal(test.inputs, other_test.inputs)
    assert torch.equal(pool.inputs, other_pool.inputs)
    assert test.labels.bincount().min() >= 34  # 174 of the rarest digit: a fifth of each


def test_no_test_image_is_trained_on() -> None:
    pool, test = Digits().read()
    rows = {tuple(image.flatten().tolist()) for image in pool.inputs}
    assert not any(tuple(image.flatten().tolist()) in rows for image in test.inputs)
