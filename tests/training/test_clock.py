"""How much of a run is done, by epochs, by steps and by time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from l1prune.training.clock import TrainerClock


class Run:
    """A trainer that does nothing but tell where it is."""

    def __init__(self, **given: Any) -> None:
        plan = {"max_epochs": 10, "max_steps": -1, "num_training_batches": 20, "global_step": 0}
        plan |= {"callbacks": [], "current_epoch": 0, "accumulate_grad_batches": 1}
        self.trainer: Any = SimpleNamespace(**(plan | given))
        self.clock = TrainerClock()
        self.clock.begin(self.trainer)

    def train(self, batches: int) -> None:
        """As many batches of one epoch as are told, if no other number is given."""
        for _ in range(batches):
            self.clock.begin_batch(self.trainer)
            self.clock.end_batch()
            self.trainer.global_step += 1

    def epoch(self, batches: int = 20) -> None:
        self.train(batches)
        self.trainer.current_epoch += 1

    @property
    def progress(self) -> float:
        self.clock.begin_batch(self.trainer)
        return self.clock.progress(self.trainer)

    @property
    def passes(self) -> float:
        self.clock.begin_batch(self.trainer)
        return self.clock.passes(self.trainer)


def test_progress_counts_batches_up_to_the_last_epoch() -> None:
    run = Run()
    assert run.progress == 0.0
    run.epoch()
    run.epoch()
    run.train(10)
    assert (run.progress, run.passes) == (0.25, 2.5)
    for _ in range(8):
        run.epoch(10 if _ == 0 else 20)
    assert run.progress == 1.0


def test_the_number_of_optimizers_or_their_steps_does_not_disturb_it() -> None:
    run = Run()
    run.train(10)
    run.trainer.global_step = 1000
    assert run.progress == 0.05


def test_max_steps_decides_when_it_ends_the_run_first() -> None:
    run = Run(max_steps=100)
    run.epoch()
    assert run.progress == 0.2


def test_a_stream_without_an_end_is_one_pass() -> None:
    run = Run(max_epochs=-1, max_steps=100, num_training_batches=float("inf"))
    run.train(25)
    assert run.progress == run.passes == 0.25


def test_a_stream_of_unknown_length_counts_by_what_its_last_pass_had() -> None:
    run = Run(max_epochs=4, num_training_batches=float("inf"))
    run.train(30)
    assert run.progress == 0.0
    run.epoch(10)
    run.train(20)
    assert run.progress == (1 + 20 / 40) / 4
    assert run.passes == 1.5


def test_what_was_announced_is_corrected_by_what_came() -> None:
    run = Run(max_epochs=4)
    run.epoch(10)
    run.train(5)
    assert run.progress == 1.5 / 4


def test_a_run_taken_up_half_way_counts_what_is_left() -> None:
    run = Run(current_epoch=5, global_step=100)
    assert (run.progress, run.passes) == (0.0, 0.0)
    run.epoch()
    assert (run.progress, run.passes) == (pytest.approx(0.2), 1.0)


@pytest.mark.parametrize("batches", [7, 21500, 999983])
def test_a_share_is_reached_exactly_at_its_batch(batches: int) -> None:
    run = Run(max_epochs=1, num_training_batches=batches)
    run.clock.load_state_dict(run.clock.state_dict() | {"_in_epoch": batches // 2})
    assert run.clock.progress(run.trainer) == (batches // 2) / batches


@pytest.mark.parametrize("then", [10, 40])
def test_with_another_number_of_batches_an_epoch_is_as_long(then: int) -> None:
    run, again = Run(), Run(num_training_batches=then)
    run.epoch()
    run.train(10)
    again.trainer.current_epoch = 1
    again.clock.load_state_dict(run.clock.state_dict())
    again.clock.begin(again.trainer)
    assert again.progress == run.progress == 0.15
    assert again.clock.batches == 30 * then / 20


@pytest.mark.parametrize(
    "given", [{"max_epochs": -1}, {"max_epochs": 1, "num_training_batches": float("inf")}], ids=str
)
def test_a_run_without_an_end_is_refused_with_the_remedy(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give it an end|give max_steps"):
        Run(**given)


@pytest.mark.parametrize("epochs", [15, 25, 105])
def test_a_run_taken_up_counts_from_the_same_epoch_however_long_it_is_to_be(epochs: int) -> None:
    run = Run(current_epoch=5, global_step=100)
    run.epoch()
    run.trainer.max_epochs = epochs
    assert run.progress == pytest.approx(1 / (epochs - 5))
