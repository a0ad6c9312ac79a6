"""A group is what differs in the seed alone: its mean, its best by validation, its difference."""

from __future__ import annotations

from typing import Any

import pytest

from l1prune.runs.frontier import pareto
from l1prune.runs.groups import Group, by_scale, groups_of
from l1prune.runs.monitor import Monitor
from l1prune.runs.points import Point

MSE = Monitor("val/mse", "min")


def run(recipe: str, seed: int, sparsity: float, figure: float, **more: Any) -> Point:
    told = {"prune.threshold.sparsity": sparsity} if recipe != "dense" else {}
    counts = {"params/prunable": 1000, "params/total": 1010, "seed": seed}
    settings = {"seed": seed, "data.seed": seed, **told, **more.pop("settings", {})}
    left = round(1000 * (1 - sparsity))
    name = f"{recipe}/{sparsity}/{seed}"
    return Point(name, recipe, left, figure, counts, settings, **more)


def named(groups: list[Group]) -> list[tuple[str, float, str]]:
    return [(group.name, group.nonzero, group.seeds) for group in groups]


def test_runs_that_differ_in_the_seed_alone_are_one_result() -> None:
    points = [run("l1", n, s, 0.9 + n / 100) for n in range(3) for s in (0.9, 0.98)]
    points += [run("dense", n, 0, 0.95) for n in (0, 1, 5)]
    groups = groups_of(points)
    assert named(groups) == [("dense", 1000, "0, 1, 5"), ("l1", 100, "0–2"), ("l1", 20, "0–2")]
    assert groups[1].figure.mean == pytest.approx(0.91)
    assert groups[1].figure.error == pytest.approx(0.01 / 3**0.5)


def test_what_was_set_otherwise_is_another_result_and_says_so() -> None:
    points = [
        run("l1", n, 0.9, 0.9, settings={"model.lr": lr}) for n in (0, 1) for lr in (0.1, 0.2)
    ]
    assert [name for name, _, _ in named(groups_of(points))] == ["l1, lr 0.1", "l1, lr 0.2"]


def test_runs_of_other_kinds_go_by_what_is_trained_and_not_by_all_that_they_were_told() -> None:
    line = {"labels.model": "mlp", "threads": 1, "model.dropout": 0.1, "data.batch_size": 32}
    program = {"labels.model": "Net", "model.width": 30, "prune.prune_at": "0.1, " * 40}
    points = [run("l1", 0, 0.9, 0.9, settings=line)]
    points += [run("l1", 0, 0.9, 0.9, settings={**program, "model.lr": lr}) for lr in (0.1, 0.2)]
    assert [name for name, _, _ in named(groups_of(points))] == [
        *("l1, model Net, lr 0.1", "l1, model Net, lr 0.2", "l1, model mlp")
    ]


def test_of_a_long_value_the_ends_are_said_where_they_tell_it_from_the_others() -> None:
    def names(*values: str) -> list[str]:
        points = [run("l1", 0, 0.9, 0.9, settings={"prune.prune_at": one}) for one in values]
        return [name for name, _, _ in named(groups_of(points))]

    assert [len(name) for name in names("a" * 90, "b" * 90)] == [len("l1, prune_at ") + 40] * 2
    alike = [f"{'a' * 90}{middle}{'a' * 90}" for middle in "bc"]
    assert names(*alike) == [f"l1, prune_at {one}" for one in alike]


def test_sizes_that_a_budget_found_are_one_result() -> None:
    points = [Point(str(n), "budget", left, 0.9, {"seed": n}, {"seed": n, "lr": 1})
              for n, left in enumerate((10, 20, 60))]  # fmt: skip
    [group] = groups_of(points)
    assert group.nonzero == 30 and group.seeds == "0–2"


def test_a_run_that_was_made_twice_counts_once() -> None:
    points = [run("l1", 0, 0.9, 0.8), run("l1", 0, 0.9, 0.8), run("l1", 1, 0.9, 0.9)]
    [group] = groups_of(points)
    assert group.figure.count == 2 and group.figure.mean == pytest.approx(0.85)
    assert group.seeds == "0, 1 (3 runs)"


def test_how_a_run_was_told_what_all_are_told_is_no_other_result() -> None:
    points = [
        run("l1", 0, 0.9, 0.8, settings={"monitor.name": "None", "labels.objects": "None"}),
        run("l1", 1, 0.9, 0.8, settings={"monitor.name": "val/a", "labels.objects": "penalty=l1"}),
    ]
    assert named(groups_of(points)) == [("l1", 100, "0, 1")]


def test_runs_without_settings_are_grouped_by_their_size() -> None:
    points = [
        Point("a", "pruned", 5, 0.5),
        Point("b", "pruned", 5, 0.7),
        Point("c", "pruned", 6, 0.5),
    ]
    assert [(g.nonzero, g.figure.count) for g in groups_of(points)] == [(6, 1), (5, 2)]


def test_the_best_are_chosen_by_validation_whatever_the_test_set_says() -> None:
    good = run("l1", 0, 0.9, 0.5, validation=0.9)
    lucky = run("gradual", 0, 0.9, 0.99, validation=0.8)
    [best] = pareto(groups_of([good, lucky]))
    assert best.recipe == "l1" and best.figure.mean == 0.5


def test_differences_are_paired_by_seed_at_the_same_size() -> None:
    points = [run("l1", n, s, 0.9 + n / 10) for n in range(3) for s in (0.9, 0.98)]
    points += [run("gradual", n, s, 0.8 + n / 10) for n in range(3) for s in (0.9, 0.98)]
    points += [run("dense", n, 0, 1 + n / 10) for n in range(3)]
    groups = groups_of(points)
    found = {(g.recipe, g.nonzero): g.compared_with(groups, "gradual") for g in groups}
    for size in (100, 20):
        compared = found["l1", size]
        assert compared and (less := compared.less).paired
        assert less.spread.mean == pytest.approx(0.1)
        assert less.spread.error == pytest.approx(0, abs=1e-12)
    assert found["gradual", 100] is None and found["dense", 1000] is None
    dense = [group.compared_with(groups, "dense") for group in groups]
    means = [one and round(one.less.spread.mean, 9) for one in dense]
    assert means == [None, -0.2, -0.1, -0.2, -0.1]


def test_other_data_and_other_metrics_are_not_compared() -> None:
    ours = run("l1", 0, 0.9, 0.9, settings={"labels.data": "digits"})
    for other in (
        run("dense", 0, 0, 0.9, settings={"labels.data": "mnist"}),
        run("dense", 0, 0, 0.9, settings={"labels.data": "digits"}, monitor=MSE),
        run("dense", 0, 0, 0.9, settings={"labels.data": "digits"}, tested=False),
    ):
        groups = groups_of([ours, other])
        assert [group.compared_with(groups, "dense") for group in groups] == [None, None]


def test_each_metric_has_its_scale_the_one_of_most_runs_first() -> None:
    points = [run("l1", 0, 0.9, 0.9), *(run("l1", n, 0.9, 7, monitor=MSE) for n in range(2))]
    (mse, _), (accuracy, some) = by_scale(points)
    assert (mse.monitor, mse.percent, accuracy.percent) == (MSE, False, True)
    assert some == points[:1]
    assert len(groups_of(points)) == 2


def of_weights(recipe: str, seed: int, file: str | None, sparsity: float = 0.9) -> Point:
    return run(recipe, seed, sparsity, 0.9, settings={"model.pretrained": file})


def test_each_seed_may_begin_with_weights_of_its_own() -> None:
    points = [run("dense", n, 0, 0.95) for n in range(3)]
    points += [
        of_weights("l1", n, f"multirun/7/{3 * n}/network.safetensors", sparsity)
        for n in range(3)
        for sparsity in (0.9, 0.95)
    ]
    found = named(groups_of(points))
    assert found == [("dense", 1000, "0–2"), ("l1", 100, "0–2"), ("l1", 50, "0–2")]


def test_to_begin_with_weights_is_another_recipe_than_to_begin_without() -> None:
    points = [of_weights("l1", n, None) for n in range(3)]
    points += [of_weights("l1", n, f"dense-{n}.ckpt") for n in range(3)]
    names = sorted(name for name, _, _ in named(groups_of(points)))
    assert names == ["l1", "l1, pretrained dense-*.ckpt"]


def test_weights_of_two_kinds_are_two_recipes() -> None:
    points = [of_weights("l1", n, f"{kind}/{n}.ckpt") for n in range(3) for kind in ("a", "b")]
    names = sorted(name for name, _, _ in named(groups_of(points)))
    assert names == ["l1, pretrained a/*.ckpt", "l1, pretrained b/*.ckpt"]


@pytest.mark.parametrize(
    "files",
    [
        ("1.ckpt", "1.ckpt", "2.ckpt", "2.ckpt"),  # the same for several seeds
        ("1.ckpt", "2.ckpt", "3.ckpt", "3.ckpt"),
    ],
)
def test_a_file_that_does_not_follow_the_seed_tells_recipes_apart(files: tuple[str, ...]) -> None:
    points = [of_weights("l1", n, file) for n, file in enumerate(files)]
    assert len(groups_of(points)) == len(set(files))


def test_two_files_for_one_seed_are_two_recipes() -> None:
    points = [of_weights("l1", 0, f"{n}.ckpt") for n in (1, 2)]
    assert len(groups_of(points)) == 2


@pytest.mark.parametrize("values", [(0.1, 0.2), ("nets.resnet18", "nets.resnet34")])
def test_what_follows_the_seed_and_is_no_file_is_a_setting_all_the_same(
    values: tuple[Any, Any],
) -> None:
    points = [run("l1", n, 0.9, 0.9, settings={"model.is": v}) for n, v in enumerate(values)]
    points += [run("dense", 0, 0, 0.9, settings={"model.is": values[0]})]
    assert len(groups_of(points)) == 3


def test_runs_without_a_test_figure_are_compared_by_validation_all_of_them() -> None:
    dense = [run("dense", n, 0, 0.95, validation=0.9 + n / 100) for n in range(3)]
    ours = [
        run("l1", n, 0.9, 0.8 + n / 100, validation=0.8 + n / 100, tested=False) for n in (0, 1)
    ]
    groups = groups_of([*dense, *ours, run("l1", 2, 0.9, 0.5, validation=0.82)])
    assert [group.scale.title for group in groups] == ["validation accuracy"] * 2
    assert [group.figure.mean for group in groups] == pytest.approx([0.91, 0.81])
    assert groups[0].beside and groups[0].beside.mean == pytest.approx(0.95)
    assert groups[1].beside is None, "of two of its runs there is no such figure"
    compared = groups[1].compared_with(groups, "dense")
    assert compared and (less := compared.less).paired and less.spread.mean == pytest.approx(-0.1)


def test_runs_that_have_no_figure_in_common_are_apart() -> None:
    points = [run("l1", 0, 0.9, 0.9), run("l1", 1, 0.9, 0.4, validation=0.4, tested=False)]
    found = [(scale.title, some) for scale, some in by_scale(points)]
    assert found == [("validation accuracy", points[1:]), ("test accuracy", points[:1])]


def test_the_best_are_chosen_by_test_where_validation_is_not_known_of_all() -> None:
    old, new = run("l1", 0, 0.9, 0.8), run("gradual", 0, 0.9, 0.7, validation=0.99)
    groups = groups_of([old, new])
    assert groups[0].scale.chosen == "test"
    assert [group.recipe for group in pareto(groups)] == ["l1"]
