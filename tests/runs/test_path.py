"""Every stage of a path leaves a network that loads, and figures that are its own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import trainer

from l1prune import L1Pruning, PathCheckpoint, Sparsity, SparsityPath
from l1prune.runs.path import file_names, read_path, test_path
from l1prune.zoo import Classifier, Digits, mlp

test_path.__test__ = False  # type: ignore[attr-defined]
WALKED = SparsityPath((0.5, 0.8, 0.9))


def made() -> tuple[Classifier, Digits]:
    torch.manual_seed(0)
    network = mlp((1, 8, 8), 10, hidden=(8,))
    return Classifier(network, 10, partial(torch.optim.Adam, lr=0.01)), Digits(batch_size=100)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walked")
    model, data = made()
    run = trainer(L1Pruning(0.0, WALKED, prune_at=0.5), PathCheckpoint(folder), epochs=5)
    run.fit(model, data)
    final = {name: value.clone() for name, value in model.state_dict().items()}
    test_path(run, model, data, folder)
    assert all(torch.equal(final[name], value) for name, value in model.state_dict().items())
    return folder


def test_each_file_holds_what_its_entry_says(walked: Path) -> None:
    stages = read_path(walked)
    assert [stage["sparsity"] for stage in stages] == pytest.approx([0.5, 0.8, 0.9], abs=1e-3)
    for stage in stages:
        model, data = made()
        kept = torch.load(walked / stage["checkpoint"], weights_only=True)["state_dict"]
        model.load_state_dict(kept)
        left = sum(int(w.count_nonzero()) for name, w in kept.items() if name.endswith("weight"))
        assert left == stage["params/nonzero"]
        (validated,) = trainer().validate(model, data, verbose=False)
        (tested,) = trainer().test(model, data, verbose=False)
        assert validated["val/accuracy"] == pytest.approx(stage["val/accuracy"], abs=1e-6)
        assert tested["test/accuracy"] == pytest.approx(stage["test/accuracy"], abs=1e-6)


def test_figures_are_noted_with_six_digits_that_count(walked: Path) -> None:
    stages = json.loads((walked / "frontier.json").read_text())
    numbers = [one for stage in stages for one in stage.values() if isinstance(one, float)]
    assert len(numbers) >= 9 and all(one == float(f"{one:.6g}") for one in numbers)


def test_a_validation_after_the_run_is_no_stage(tmp_path: Path) -> None:
    model, data = made()
    run = trainer(L1Pruning(0.0, WALKED, prune_at=0.5), PathCheckpoint(tmp_path), epochs=5)
    run.fit(model, data)
    stages = read_path(tmp_path)
    run.validate(model, data, verbose=False)
    assert read_path(tmp_path) == stages


def test_the_curve_is_drawn(walked: Path) -> None:
    assert (walked / "frontier.png").stat().st_size > 10_000


def test_a_new_run_in_the_folder_begins_a_new_path(tmp_path: Path) -> None:
    (tmp_path / "frontier.json").write_text(json.dumps([{"sparsity": 0.1, "checkpoint": "old"}]))
    model, data = made()
    path = SparsityPath((0.5, 0.9))
    trainer(L1Pruning(0.0, path, prune_at=0.5), PathCheckpoint(tmp_path), epochs=5).fit(model, data)
    files = [stage["checkpoint"] for stage in read_path(tmp_path)]
    assert files == ["path/50.00.ckpt", "path/90.03.ckpt"]  # 59 of 592 weights are left


def test_a_run_without_stages_leaves_none(tmp_path: Path) -> None:
    model, data = made()
    run = trainer(L1Pruning(0.0, Sparsity(0.5), prune_at=0.5), PathCheckpoint(tmp_path), epochs=5)
    run.fit(model, data)
    test_path(run, model, data, tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(sparsities=st.lists(st.floats(0, 1) | st.sampled_from([0.5, 0.9999, 0.99994]), max_size=20))
def test_each_stage_has_a_name_of_its_own_that_later_ones_leave_alone(
    sparsities: list[float],
) -> None:
    names = file_names(sparsities)
    assert len(set(names)) == len(sparsities)
    for n, (name, sparsity) in enumerate(zip(names, sparsities)):
        assert file_names(sparsities[: n + 1])[-1] == name
        percent = float(name.removeprefix("path/").removesuffix(".ckpt").partition("-")[0])
        assert percent == pytest.approx(100 * sparsity, abs=0.006)


def test_stages_that_end_close_together_are_all_kept(tmp_path: Path) -> None:
    path = SparsityPath((0.5, 0.9, 0.9003, 0.902))  # the second and third leave as many weights
    model, data = made()
    trainer(L1Pruning(0.0, path, prune_at=0.5), PathCheckpoint(tmp_path), epochs=6).fit(model, data)
    stages = read_path(tmp_path)
    files = {stage["checkpoint"] for stage in stages}
    assert len(stages) == len(files) == 4
    assert {str(file.relative_to(tmp_path)) for file in (tmp_path / "path").iterdir()} == files


@pytest.mark.parametrize(
    "stage",
    [
        {"params/nonzero": 1, "checkpoint": "path/50.00.ckpt"},
        {"sparsity": 0.5, "params/nonzero": 1, "checkpoint": "../50.00.ckpt"},
        {"sparsity": 0.5, "params/nonzero": 1, "checkpoint": "/50.00.ckpt"},
        {"sparsity": 0.5, "params/nonzero": None, "checkpoint": "path/50.00.ckpt"},
        {"sparsity": 50, "params/nonzero": 1, "checkpoint": "path/50.00.ckpt"},
        "path/50.00.ckpt",
    ],
)
def test_notes_that_are_none_of_a_path_are_refused(tmp_path: Path, stage: object) -> None:
    (tmp_path / "frontier.json").write_text(json.dumps([stage]))
    with pytest.raises(ValueError, match=r"frontier\.json: must hold a list of stages"):
        read_path(tmp_path)
