"""A name says what tells a result from the others, once, and as its readers would say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from l1prune.checks import flat
from l1prune.runs.monitor import Monitor
from l1prune.runs.names import names
from l1prune.runs.settings import differing, goes_without_saying, kinds

MONITOR = Monitor("val_rmse", "min")
STOP = "lightning.pytorch.callbacks.EarlyStopping"


@dataclass(frozen=True)
class Told:
    """A group of runs, as far as it is named."""

    settings: dict[str, Any]
    kind: tuple[Any, ...] = (None, None)
    recipe: str = "l1"
    nonzero: float = 100
    monitor: Monitor = MONITOR


def line(objects: str | None = None, **told: Any) -> dict[str, Any]:
    """The settings of a run of the command line; as `l1` brings it, its penalty is L1."""
    prune = {"penalty": {"_target_": "l1prune.L1"}, "criterion": None, **told.pop("prune", {})}
    labels = {"data": "tide", "model": "tide", "objects": objects, "prune": "l1"}
    return flat(
        {
            "data": {"_target_": "tide.TideData"},
            "labels": labels,
            "prune": {"_convert_": "all", **prune},
            "trainer": {"callbacks": None, **told},
        }
    )


def named(*runs: dict[str, Any], **more: Any) -> list[str]:
    groups = [Told(one, kind, **more) for one, kind in zip(runs, kinds(runs), strict=True)]
    keys = [key for key in differing(groups) if not goes_without_saying(key)]
    return [", ".join(words) for words in names(groups, keys)]


def test_an_object_is_said_once_by_its_class_and_the_recipes_own_is_not() -> None:
    log_sum = {"penalty": {"_target_": "l1prune.LogSum", "_convert_": "all", "eps": 0.1}}
    wanda = {"criterion": {"_target_": "l1prune.Wanda"}}
    assert named(
        line(), line("penalty=log_sum", prune=log_sum), line("criterion=wanda", prune=wanda)
    ) == ["", "penalty LogSum(eps=0.1)", "criterion Wanda"]


def test_of_the_arguments_of_an_object_those_are_said_that_differ() -> None:
    def refit(damping: float) -> dict[str, Any]:
        inside = {"_target_": "l1prune.Saliency", "least": damping, "shrinkage": 0.5}
        whole = {"_target_": "l1prune.Refit", "damping": damping, "most": 9, "criterion": inside}
        return line("criterion=refit", prune={"criterion": whole})

    assert named(refit(0.1), refit(0.2)) == [
        "criterion damping 0.1, criterion criterion Saliency(least=0.1)",
        "criterion damping 0.2, criterion criterion Saliency(least=0.2)",
    ]
    text = "criterion Refit(damping={0}, most=9, criterion=Saliency(least={0}, shrinkage=0.5))"
    assert named(line(), refit(0.1), refit(0.2)) == ["", text.format(0.1), text.format(0.2)]


def test_a_class_that_is_called_as_its_place_is_said_by_it_and_the_metric_by_the_column() -> None:
    stop = {"_target_": STOP, "monitor": "val_rmse", "patience": 10, "mode": None}
    stopped = line(callbacks={"early_stopping": stop})
    assert named(line(), stopped) == ["", "early_stopping patience 10"]
    bare = line(callbacks={"early_stopping": {"_target_": STOP, "monitor": "val_rmse"}})
    assert named(line(), bare) == ["", "early_stopping"]


def test_an_object_of_the_recipe_that_was_taken_out_is_missed() -> None:
    hold = {"rewind": {"_target_": "l1prune.HoldPeak"}}
    assert named(line(prune=hold), line("rewind=null", prune={"rewind": None})) == [
        "",
        "rewind none",
    ]


def test_what_stands_in_the_place_of_an_object_is_said_like_one() -> None:
    follow = {"strength": {"_target_": "l1prune.Follow", "start": 1.0}}
    runs = line(), line(prune={"strength": 0.1}), line("strength=follow", prune=follow)
    assert named(*runs) == ["", "strength 0.1", "strength Follow(start=1)"]


def test_classes_of_one_name_are_said_in_full() -> None:
    mine = {"criterion": {"_target_": "mine.Wanda"}}
    theirs = {"criterion": {"_target_": "l1prune.Wanda"}}
    assert named(line(), line(prune=mine), line("criterion=wanda", prune=theirs)) == [
        "",
        "criterion mine.Wanda",
        "criterion l1prune.Wanda",
    ]


def test_recipes_whose_own_objects_are_not_known_say_them_all() -> None:
    other = {"penalty": {"_target_": "mine.Huber"}}
    assert named(line(), line(prune=other)) == ["penalty L1", "penalty Huber"]


@pytest.mark.parametrize("size, words", [(100, "threshold sparsity 0.9"), (50, "")])
def test_what_asks_for_a_size_is_said_where_the_size_does_not_tell(size: int, words: str) -> None:
    def asked(sparsity: float) -> dict[str, Any]:
        whole = {"_target_": "l1prune.Sparsity", "sparsity": sparsity, "scope": None}
        return line(prune={"threshold": whole})

    groups = [Told(asked(0.9), ("tide", "tide")), Told(asked(0.95), ("tide", "tide"), nonzero=size)]
    assert ", ".join(names(groups, differing(groups))[0]) == words


def of_class(**told: Any) -> dict[str, Any]:
    """The settings of a run of another program on the same."""
    labels = {"data": "TideData", "model": "Tide", "prune": "l1"}
    return flat({"labels": labels, "prune": {"penalty": "L1()"}, "trainer": told})


def test_what_other_programs_do_not_know_is_not_said_and_what_both_were_told_is() -> None:
    told = line(max_epochs=30, deterministic=True) | {"model._target_": "tide.Tide"}
    assert named(told, of_class(max_epochs=24)) == ["max_epochs 30", "max_epochs 24"]
    # Nothing else tells them apart.
    alike = named(told, of_class(max_epochs=30))
    assert alike == ["data tide, model tide", "data TideData, model Tide"]


def test_a_long_object_in_words_is_its_class_where_that_tells_it() -> None:
    def told(criterion: str) -> dict[str, Any]:
        return flat({"labels": {"data": "A", "model": "B"}, "prune": {"criterion": criterion}})

    long = "Refit(Saliency(least={}, shrinkage=0.5), damping=0.1, most={})"
    assert named(told("Wanda()"), told(long.format(0.6, 9))) == [
        "criterion Wanda()",
        "criterion Refit(…)",
    ]
    both = named(told(long.format(0.6, 8)), told(long.format(0.6, 9)))
    assert all(name.endswith(f"most={n})") and "…" in name for name, n in zip(both, (8, 9)))


def test_what_all_of_a_recipe_share_is_not_said() -> None:
    assert named(line(max_epochs=9), line(max_epochs=9)) == [""] * 2
