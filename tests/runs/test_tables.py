"""Tables say what the runs came to: means with their errors, what is best, every digit in CSV."""

from __future__ import annotations

import csv
from dataclasses import replace

from l1prune.runs.monitor import Monitor
from l1prune.runs.points import Point
from l1prune.runs.tables import csv_table, runs_table, table

SUMMARY = {"params/prunable": 1000, "params/total": 5000}


def run(recipe: str, seed: int, left: int, figure: float, validation: float) -> Point:
    told = {"seed": seed, "prune.threshold.sparsity": 1 - left / 1000}
    summary = SUMMARY | {"seed": seed}
    return Point(f"{recipe}/{seed}", recipe, left, figure, summary, told, validation=validation)


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_row_is_a_recipe_and_a_size_with_mean_spread_and_difference() -> None:
    points = [run("dense", n, 1000, 0.95 + n / 100, 0.9) for n in range(3)]
    points += [run("l1", n, 100, 0.93 + n / 100, 0.8) for n in range(3)]
    points += [run("magnitude", n, 100, 0.99, 0.7) for n in range(3)]
    header, _, *found = rows(table(points))
    assert header == [
        "recipe", "prunable weights left", "all parameters left", "seeds", "test accuracy",
        "validation", "− dense (points)", "best",
    ]  # fmt: skip
    whole, small = ["1,000 (1.0×)", "5,000 (1.0×)"], ["100 (10.0×)", "4,100 (1.2×)"]
    assert found == [
        ["dense", *whole, "0–2", "96.00 ± 0.58 %", "90.00 ± 0.00 %", "", "*"],
        ["l1", *small, "0–2", "94.00 ± 0.58 %", "80.00 ± 0.00 %", "−2.00 ± 0.00", "*"],
        ["magnitude", *small, "0–2", "99.00 ± 0.00 %", "70.00 ± 0.00 %", "+3.00 ± 0.58", ""],
    ]  # fmt: skip
    against = rows(table(points, "magnitude"))
    assert [row[6] for row in against] == [
        "− magnitude (points)",
        "-" * 19 + ":",
        "",
        "−5.00 ± 0.58",
        "",
    ]


def test_differences_are_of_shared_seeds_and_the_note_says_where_there_is_none() -> None:
    dense = [run("dense", n, 1000, 0.90 + n / 100, 0.9) for n in range(2)]
    one = [*dense, run("path", 0, 500, 0.85, 0.9)]
    assert rows(table(one))[3][6] == "−5.00", "of seed 0, not of the mean of both"
    assert "differences seed by seed, over the seeds that both have." in table(one)
    other = [*one, run("l1", 7, 400, 0.85, 0.9)]
    assert rows(table(other))[4][6] == "−5.50"
    assert "over the seeds that both have, and of means where they share none." in table(other)
    assert "Differences of means, as they share no seed." in table([*dense[:1], *other[3:]])


def test_a_difference_of_runs_that_were_trained_otherwise_is_marked() -> None:
    def trained(recipe: str, left: int, epochs: int) -> Point:
        made = run(recipe, 0, left, 0.9, 0.9)
        told = {"trainer.max_epochs": epochs, "prune.strength": left, "data.seed": left}
        return replace(made, settings={**made.settings, **told})

    alike = [trained("dense", 1000, 10), trained("l1", 100, 10)]
    assert "†" not in table(alike)
    clipped = trained("clipped", 80, 10)
    clipped.settings["trainer.gradient_clip_val"] = 1.0  # type: ignore[index]
    clipped.settings["trainer.callbacks.path.every"] = 2  # type: ignore[index]
    assert "differ in trainer.gradient_clip_val." in table([*alike, clipped])
    other = [*alike, trained("short", 50, 3)]
    assert [row[6] for row in rows(table(other))[2:]] == ["", "±0.00", "±0.00 †"]
    assert "† beyond pruning the two differ in trainer.max_epochs." in table(other)


def test_runs_go_by_the_names_of_their_groups() -> None:
    points = [
        replace(run("l1", n, 100, 0.9, 0.9), settings={"seed": n, "trainer.max_epochs": epochs})
        for epochs in (3, 6)
        for n in (0, 1)
    ]
    found = {row[0] for row in rows(runs_table(points))[2:]}
    assert found == {"l1, max_epochs 3", "l1, max_epochs 6"}


def test_recipes_are_compared_at_equal_size_and_so_it_is_said() -> None:
    points = [run(name, n, left, 0.9, 0.9) for name, left in (("l1", 100), ("gradual", 300))
              for n in (0, 1)]  # fmt: skip
    points += [run("l1", n, 300, 0.9, 0.9) for n in (0, 1)]
    text = table(points, "gradual")
    assert "differences at equal size seed by seed" in text
    assert sum("±0.00" in row[6] for row in rows(text)[2:]) == 1


def test_the_star_of_a_run_is_that_of_its_recipe_and_size_and_so_it_is_said() -> None:
    points = [run("l1", n, 100, 0.9 - n / 10, 0.9 - n / 10) for n in range(2)]
    text = runs_table([*points, untested("l1", 2, 100, 0.5)])
    assert [row[-2] for row in rows(text)[2:]] == ["*", "*", "*"], "seed 0 is as good with as many"
    note = text.rpartition("|\n")[2]
    assert "* its recipe and size is one of the best trade-offs, by the mean on" in note
    assert "no other is as good" not in note
    assert "— where it has no figure on test." in note


def test_every_run_has_a_row_with_its_seed_and_folder() -> None:
    points = [run("l1", n, 100, 0.93 + n / 100, 0.8) for n in range(2)]
    assert rows(runs_table(points))[2:] == [
        ["l1", "100 (10.0×)", "4,100 (1.2×)", "0", "93.00 %", "80.00 %", "*", "l1/0"],
        ["l1", "100 (10.0×)", "4,100 (1.2×)", "1", "94.00 %", "80.00 %", "*", "l1/1"],
    ]


def test_all_parameters_stand_beside_the_prunable_weights_or_else_a_dash() -> None:
    told = run("l1", 0, 100, 0.9, 0.9)
    foreign = Point("foreign", "theirs", 50, 0.8, validation=0.8)
    for text in (table([told, foreign]), runs_table([told, foreign])):
        assert [row[1:3] for row in rows(text)[2:]] == [
            ["100 (10.0×)", "4,100 (1.2×)"],
            ["50", "—"],
        ]
    assert "— where not every run of it says how many parameters it has" in table([told, foreign])
    assert "how many parameters" not in table([told])
    said = replace(told, summary=told.summary | {"params/left": 4200})
    assert rows(table([said]))[2][2] == "4,200 (1.2×)"


def test_an_error_is_in_its_own_unit_and_best_where_it_is_lowest() -> None:
    mse = Monitor("val/mse", "min")
    points = [Point("a", "l1", 5, 0.0312345, monitor=mse), Point("b", "l2", 5, 1.5, monitor=mse)]
    text = table(points)
    assert "%" not in text and "points" not in text
    assert [(row[0], row[4], row[5]) for row in rows(text)[2:]] == [
        ("l2", "1.5", ""),
        ("l1", "0.03123", "*"),
    ]


def test_different_metrics_have_a_table_each() -> None:
    mse = Monitor("val/mse", "min")
    text = table([Point("a", "l1", 5, 0.5), Point("b", "l1", 5, 0.5, monitor=mse)])
    accuracy, error = text.split("Judged by ")[1:]
    assert accuracy.startswith("val/accuracy, higher is better:") and "50.00 %" in accuracy
    assert error.startswith("val/mse, lower is better:") and "%" not in error


def test_csv_keeps_every_figure_as_it_was_and_the_settings_that_differ() -> None:
    awkward = 'a, "b"'
    points = [
        Point("a", "l1", 10, 0.9, {"val/accuracy": 0.123456, "seed": 0}, {"seed": 0, "lr": 0.1}),
        Point(awkward, "l1", 20, 0.8, {"seed": 1}, {"seed": 1, "lr": 0.2, "hold": 0.6}),
    ]
    worse, best = csv.DictReader(csv_table(points).splitlines())
    assert best["val/accuracy"] == "0.123456" and worse["val/accuracy"] == ""
    assert (best["best"], best["lr"], best["seed"]) == ("1", "0.1", "0")
    assert (worse["run"], worse["best"], worse["lr"], worse["seed"]) == (awkward, "0", "0.2", "1")


def untested(recipe: str, seed: int, left: int, validation: float) -> Point:
    one = run(recipe, seed, left, validation, validation)
    return replace(one, tested=False)


def test_a_run_without_a_test_figure_has_a_dash_there() -> None:
    points = [run("dense", n, 1000, 0.95, 0.9) for n in range(2)]
    points += [untested("l1", n, 100, 0.8) for n in range(2)]
    header, _, *found = rows(table(points))
    assert header[4:] == ["validation accuracy", "test", "− dense (points)", "best"]
    assert [row[4:] for row in found] == [
        ["90.00 ± 0.00 %", "95.00 ± 0.00 %", "", "*"],
        ["80.00 ± 0.00 %", "—", "−10.00 ± 0.00", "*"],
    ]
    assert "— where not every run of it has a figure on test" in table(points)
    assert [row[5] for row in rows(runs_table(points))[2:]] == ["95.00 %", "95.00 %", "—", "—"]


def test_runs_that_nothing_compares_have_a_table_each() -> None:
    text = table([Point("a", "l1", 5, 0.9), untested("l1", 1, 5, 0.4)])
    validation, test = text.split("Judged by ")[1:]
    assert validation.startswith("val/accuracy (validation), higher") and "40.00 %" in validation
    assert test.startswith("val/accuracy (test), higher") and "90.00 %" in test
