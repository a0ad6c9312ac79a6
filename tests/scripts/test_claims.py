"""The study of claims: harm is what it says, runs are resumed, λ is chosen by validation."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import l1prune

SCRIPTS = Path(l1prune.__file__).parents[1] / "scripts"

with pytest.MonkeyPatch.context() as _patch:
    _patch.syspath_prepend(str(SCRIPTS))
    from benchmarks import claims
    from benchmarks.battery.data import Sources
    from benchmarks.claims import answers, data, runs

DRAWN = ["digits", "xor5", "dense", "waves"]
"""Tasks whose data need nothing but this machine."""


@pytest.mark.parametrize("task", DRAWN)
def test_harm_comes_to_what_is_learned_from_and_never_to_the_test(task: str) -> None:
    clean = data.data_of(task, "clean", 0, Sources())
    for condition in ("wrong", "outliers"):
        harmed = data.data_of(task, condition, 0, Sources())
        assert torch.equal(harmed.test.inputs, clean.test.inputs)
        assert torch.equal(harmed.test.labels, clean.test.labels)
        inputs = harmed.train.inputs.ne(clean.train.inputs).any(1).float().mean().item()
        labels = harmed.train.labels.ne(clean.train.labels).float().mean().item()
        if condition == "wrong":
            assert inputs == 0 and (labels == 1 if task == "waves" else 0.15 < labels < 0.25)
        else:
            assert labels == 0 and 0.06 < inputs < 0.14
    more = data.data_of(task, "noise", 0, Sources())
    assert more.test.inputs.shape[1] - clean.test.inputs.shape[1] == data.NOISE_COLUMNS
    assert torch.equal(more.train.inputs[:, : clean.train.inputs.shape[1]], clean.train.inputs)


def test_the_answer_of_the_products_depends_on_the_columns_that_are_said_to_matter() -> None:
    split = data.data_of("xor5", "clean", 3, Sources())
    right = data.matters("xor5", 3)
    assert right is not None and len({*right}) == 10
    x = split.test.inputs
    answer = (x[:, right[:5]] * x[:, right[5:]]).sum(1) > 0
    assert torch.equal(answer.long(), split.test.labels)


@pytest.mark.parametrize("kind", [*runs.KINDS])
def test_every_pressure_is_on_the_weights_that_it_is_said_to_be_on(kind: str) -> None:
    torch.manual_seed(0)
    network = runs.TASKS["digits"].network(20)
    before = [p.detach().clone() for p in network.parameters()]
    optimizer, some = runs.prepared("digits", kind, runs.KINDS[kind].strengths[-1], network)
    first = network[0].weight
    assert (len(some) == 1 and some[0] is first) == runs.KINDS[kind].first
    for parameter in network.parameters():  # what moves them apart from the loss
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = [not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True)]
    pressed = [any(p is one for one in some) for p in network.parameters()]
    assert moved == ([False] * len(moved) if kind == "none" else pressed)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of few steps."""
    few = {name: replace(task, steps=20) for name, task in runs.TASKS.items()}
    monkeypatch.setattr(runs, "TASKS", few)


@pytest.mark.usefixtures("short")
def test_what_has_been_run_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = runs.Trial("waves", "noise", "l1", 1e-3, 0)
    found = runs.run(trial, tmp_path, Sources())
    assert found["inputs"] == 220 and len(found["top"]) == 5

    def refuse(*_: Any) -> None:
        raise AssertionError("run again")

    monkeypatch.setattr(runs, "train", refuse)
    assert runs.run(trial, tmp_path, Sources()) == found
    trial.file(tmp_path).write_text("{", encoding="utf-8")  # torn
    with pytest.raises(AssertionError, match="run again"):
        runs.run(trial, tmp_path, Sources())


def figures(val: float, test: float) -> dict[str, Any]:
    return {"val": val, "test": test, "train": 100.0, "top": [1, 2]}


def test_strengths_are_chosen_by_validation_and_compared_by_seed() -> None:
    found: answers.Found = {}
    for seed in (0, 1):
        found[runs.Trial("digits", "clean", "none", 0.0, seed)] = figures(50, 60 + 10 * seed)
        for place, strength in enumerate(runs.KINDS["l1"].strengths):
            # The second strength validates best, the last one tests best.
            trial = runs.Trial("digits", "clean", "l1", strength, seed)
            found[trial] = figures(60 if place == 1 else 55, 65 + 10 * seed + 5 * place)
    best = answers.chosen(found, "digits", "clean", "l1")
    assert {one.strength for one in best.values()} == {runs.KINDS["l1"].strengths[1]}
    gain = answers.gain(found, "digits", "clean", "l1")
    assert (gain.mean, gain.error, gain.count) == (10.0, 0.0, 2)
    del found[runs.Trial("digits", "clean", "l1", runs.KINDS["l1"].strengths[0], 1)]
    assert [*answers.chosen(found, "digits", "clean", "l1")] == [0]  # a seed that is not complete


@pytest.mark.usefixtures("short")
def test_the_command_prints_a_line_for_each_pressure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    claims.add_arguments(parser)
    options = ["--only", "waves", "--conditions", "clean", "--seeds", "0"]
    assert claims.run(parser.parse_args([*options, "--folder", str(tmp_path)])) == 0
    text = capsys.readouterr().out
    assert all(f"\n| {kind.words} | " in text for kind in runs.KINDS.values())
    with pytest.raises(SystemExit):
        parser.parse_args(["--only", "mnist"])
