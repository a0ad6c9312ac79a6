"""Extremes and frontier are of networks that are what the run is for, whatever came before."""

from __future__ import annotations

from l1prune.training.validations import Validations, is_validation


def test_what_came_before_the_last_cut_has_no_say() -> None:
    validations = Validations()
    validations.note(100, False, {"val/acc": 0.99})
    assert validations.extremes() == {} and validations.frontier() == []
    for value in (0.5, 0.9, 0.7):
        validations.note(
            10, True, {"val/acc": value, "params/nonzero": 10, "val/odd": float("nan")}
        )
    assert validations.extremes() == {"val/acc": (0.5, 0.9)}
    [(left, figures)] = validations.frontier()
    assert (left, figures["val/acc"]) == (10, 0.7) and "params/nonzero" not in figures


def test_each_stage_is_a_point_and_the_last_has_the_extremes() -> None:
    validations = Validations()
    for left, value in ((50, 0.9), (50, 0.8), (20, 0.7), (20, 0.6)):
        validations.note(left, True, {"val_acc": value})
    assert validations.frontier() == [(50, {"val_acc": 0.8}), (20, {"val_acc": 0.6})]
    assert validations.extremes() == {"val_acc": (0.6, 0.7)}
    assert validations.trajectory("val_acc") == [(50, 0.9), (50, 0.8), (20, 0.7), (20, 0.6)]


def test_a_resumed_run_has_those_before() -> None:
    before, after = Validations(), Validations()
    before.note(10, True, {"val/acc": 0.5})
    after.load_state_dict(before.state_dict())
    assert after.rows == before.rows


def test_names_of_validation_are_told_by_their_first_word() -> None:
    names = ("val/acc", "val_acc", "valid-acc", "validation", "value", "train/val", "test_acc")
    assert [is_validation(name) for name in names] == [True] * 4 + [False] * 3
