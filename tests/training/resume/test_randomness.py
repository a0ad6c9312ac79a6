"""Randomness: drawn from the step alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from draws import drawn
from hypothesis import given
from hypothesis import strategies as st
from tasks import Save, Task, fit
from torch import nn
from torch.utils.data import DataLoader

from l1prune.training.resume.loader import ResumableLoader, Shuffle
from l1prune.training.resume.randomness import StepSeed, mixed


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_a_mixed_seed_depends_on_each_part_and_is_one_for_every_generator(parts: list[int]) -> None:
    made = mixed(*parts)
    assert 0 <= made < 2**32 and made == mixed(*parts)
    for index in range(len(parts)):
        other = [part + (at == index) for at, part in enumerate(parts)]
        assert mixed(*other) != made


# ---- the seed of a step


class Drawing(Task):
    """Writes down a number drawn in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[float, ...]] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor | None:
        self.drawn.append(drawn())
        return super().training_step(batch, batch_idx)

    def train_dataloader(self) -> ResumableLoader[Any]:
        return ResumableLoader(self.data, self.batch_size, sampler=Shuffle(len(self.data), seed=0))


class Draws(L.Callback):
    """Draws a number wherever a callback may, from one generator or another."""

    def on_train_batch_end(self, *_: Any) -> None:
        drawn()

    on_validation_batch_end = on_train_epoch_end = on_train_batch_end


def numbers(*callbacks: L.Callback, **options: Any) -> list[tuple[float, ...]]:
    task = Drawing()
    fit(task, *callbacks, **options)
    return task.drawn


def test_what_is_drawn_in_a_step_depends_on_seed_and_step_alone() -> None:
    plain = numbers(StepSeed(5))
    torch.manual_seed(99)
    assert numbers(StepSeed(5), limit_val_batches=0) == plain
    assert numbers(Draws(), StepSeed(5)) == plain
    assert len({*plain}) == len(plain)
    assert not {*numbers(StepSeed(6))} & {*plain}


def test_the_count_of_steps_goes_along_in_a_checkpoint(tmp_path: Path) -> None:
    class Save(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    whole = numbers(StepSeed(5), Save())
    assert numbers(StepSeed(5), resume=tmp_path / "half.ckpt") == whole[10:]


def test_a_second_fit_begins_anew() -> None:
    seeds = StepSeed(5)
    assert numbers(seeds) == numbers(seeds)


@pytest.mark.parametrize("seed", [-1, 0.5, "x", True])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match=f"seed={seed!r}"):
        StepSeed(seed)


def test_a_stock_loader_goes_on_in_the_order_that_it_would_have_had(tmp_path: Path) -> None:
    """Resumed, Lightning iterates it before the hooks of training seed anything."""

    class Shuffled(Task):
        def __init__(self) -> None:
            super().__init__(nn.Sequential(nn.Linear(8, 30), nn.Dropout(0.2), nn.Linear(30, 2)))

        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(self.data, self.batch_size, shuffle=True)

    file = tmp_path / "stopped.ckpt"
    torch.manual_seed(0)
    whole = Shuffled()
    again = copy.deepcopy(whole)
    fit(whole, StepSeed(3), Save(file, 2), epochs=4)
    torch.manual_seed(9)
    fit(again, StepSeed(3), resume=file, epochs=4)
    assert whole.losses[-10:] == again.losses[-10:]
