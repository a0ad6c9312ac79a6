"""How much of a run is done."""

from types import SimpleNamespace
from typing import Any

import pytest

from l1prune.training.clock import as_shares, progress


def trainer(**given: Any) -> Any:
    plan = {"max_epochs": 10, "max_steps": -1, "num_training_batches": 20, "global_step": 0}
    plan["callbacks"] = []
    return SimpleNamespace(**(plan | {"estimated_stepping_batches": 200} | given))


def test_progress_counts_batches_up_to_the_last_epoch() -> None:
    assert [progress(trainer(), batches) for batches in (0, 50, 200, 300)] == [0, 0.25, 1, 1]


def test_the_number_of_optimizers_or_their_steps_does_not_disturb_it() -> None:
    assert progress(trainer(global_step=100), 50) == progress(trainer(global_step=0), 50)


def test_max_steps_decides_when_it_ends_the_run_first() -> None:
    assert progress(trainer(max_steps=100, global_step=50), 50) == 0.5
    endless = trainer(max_epochs=-1, max_steps=100, num_training_batches=float("inf"))
    endless.global_step = 25
    assert progress(endless, 25) == 0.25


@pytest.mark.parametrize("steps", [7, 21500, 999983])
def test_a_share_is_reached_exactly_at_its_step(steps: int) -> None:
    run = trainer(max_epochs=1, num_training_batches=steps, estimated_stepping_batches=steps)
    (share,) = as_shares((steps // 2,), run)
    assert progress(run, steps // 2 - 1) < share <= progress(run, steps // 2)


@pytest.mark.parametrize("given", [{"max_epochs": -1}, {"num_training_batches": float("inf")}])
def test_a_run_without_an_end_is_refused_with_the_remedy(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give it an end"):
        progress(trainer(**given), 0)


@pytest.mark.parametrize(
    ("prune_at", "steps"), [(200, 200), (500, 200), (0.6, 1), (0.99, 5), (0.1, 5)]
)
def test_a_run_too_short_for_its_phases_is_refused(prune_at: float, steps: int) -> None:
    with pytest.raises(
        ValueError, match=f"prune_at={prune_at} does not fit a run of {steps} steps"
    ):
        as_shares((prune_at,), trainer(estimated_stepping_batches=steps))
