"""A metric, its direction, its unit and its name on the test set."""

from __future__ import annotations

from typing import Any

import pytest

from l1prune.runs.monitor import Monitor, settled


@pytest.mark.parametrize(
    ("name", "mode"),
    [("val/accuracy", "max"), ("val_acc", "max"), ("val/r2", "max"), ("valid_loss", "min")],
)
def test_direction_follows_from_the_name(name: str, mode: str) -> None:
    assert Monitor.of(name).mode == mode


def test_a_name_that_says_nothing_needs_a_mode() -> None:
    with pytest.raises(ValueError, match=r"val/score.*monitor\.mode=max"):
        Monitor.of("val/score")
    assert Monitor.of("val/score", "max").better(2.0, than=1.0)


def test_what_is_given_wins_over_the_name() -> None:
    assert not Monitor.of("val/accuracy", "min").better(0.9, than=0.8)


@pytest.mark.parametrize("name, mode", [("", "max"), ("val/a", "up")])
def test_what_is_no_metric_is_refused(name: str, mode: str) -> None:
    with pytest.raises(ValueError, match=r"monitor=|mode="):
        Monitor(name, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "test", "words"),
    [
        ("val/accuracy", "test/accuracy", "accuracy"),
        ("val_acc", "test_acc", "acc"),
        ("validation-mse", "test-mse", "mse"),
        ("value", "value", "value"),
        ("accuracy", "accuracy", "accuracy"),
    ],
)
def test_names_of_the_test_set_begin_with_test(name: str, test: str, words: str) -> None:
    monitor = Monitor(name)
    assert (monitor.test, monitor.words) == (test, words)


def test_only_shares_are_said_in_percent() -> None:
    assert Monitor("val_acc").shown(0.5) == "50.00 %"
    assert Monitor("val/r2").shown(0.5) == "0.5000"
    assert Monitor("val/perplexity", "min").shown(12.345) == "12.35"


# ---- found from what is logged


@pytest.mark.parametrize(
    ("logged", "found"),
    [
        (["val/loss", "val/accuracy"], Monitor()),
        (["val_loss", "val_mse", "val_mae"], Monitor("val_mse", "min")),
        (["val_loss", "val_r2", "val_acc"], Monitor("val_acc", "max")),
        (["loss_step", "loss", "val_loss"], Monitor("val_loss", "min")),
        (["val_loss"], Monitor("val_loss", "min")),
        (["val/odd", "val/loss"], Monitor("val/loss", "min")),
        (["mse", "val/mse"], Monitor("val/mse", "min")),
    ],
)
def test_left_open_it_is_the_best_that_is_logged(logged: list[str], found: Monitor) -> None:
    assert settled(logged) == found


def test_what_is_asked_for_is_taken_if_it_is_logged() -> None:
    assert settled(["val/acc", "val/mse"], "val/mse") == Monitor("val/mse", "min")
    assert settled(["val/acc", "val/odd"], "val/odd", "min") == Monitor("val/odd", "min")
    assert settled(["val/odd"], mode="min") == Monitor("val/odd", "min")


@pytest.mark.parametrize(
    ("logged", "given", "message"),
    [
        (["val/mse", "val/loss"], ("val/msee",), "monitor=val/msee is not among .*val/mse, val/lo"),
        ([], (), "validation logs nothing"),
        ([], ("val/mse",), "what validation logs: nothing"),
        (["val/odd", "val/b"], (), r"val/odd, val/b; say .*monitor\.name=val/odd monitor\.mode="),
        (["val/odd"], ("val/odd",), r"does not say whether higher is better.*monitor\.mode=max"),
        (["val/a", "val/b"], (None, "max"), r"monitor\.mode=max: of which\?.*val/a, val/b"),
    ],
)
def test_a_run_that_cannot_be_judged_is_refused_with_the_list(
    logged: list[str], given: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        settled(logged, *given)
