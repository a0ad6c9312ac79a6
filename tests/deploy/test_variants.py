"""Variants: what is read from a file is what was written, or near it; other files are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from l1prune.deploy import compact
from l1prune.deploy.variants import (
    FORMS,
    Form,
    Maker,
    Variant,
    compared,
    counted,
    filled,
    read_weights,
    timed,
)
from l1prune.zoo.gpt import GPT

WEIGHTS = [form for form in FORMS if form.read is read_weights]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 5)).eval()
    with torch.no_grad():
        model[0].weight[:25] = 0
        model[0].weight[:, ::2] = 0
    return model


CALL = ((torch.ones(2, 30),), {})


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    untrained = network()
    return Maker(tmp_path, CALL, lambda: copy.deepcopy(untrained))


def test_every_file_of_weights_gives_the_smaller_network_back(maker: Maker) -> None:
    small = compact(network(), CALL[0]).model
    variants = maker.made("compact", small, WEIGHTS)
    assert [one.name for one in variants] == [
        *("compact", "compact, sparse file", "compact, float16", "compact, int8"),
    ]
    assert counted(small, CALL) == (15 * 30 + 15 + 15 * 5 + 5, 15 * 30 + 15 * 5)
    differences = [compared(network(), one.run, CALL).relative for one in variants]
    assert max(differences[:2]) < 1e-6 < differences[2] < 1e-3 < 10 * differences[3] < 0.5
    sizes = [one.file.stat().st_size for one in variants]
    assert sizes == sorted(sizes, reverse=True)
    assert all(isinstance(one.run, nn.Module) and not one.run.training for one in variants)


def test_a_network_without_some_heads_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    full = GPT(vocabulary=11, length=8, layers=1, width=16, heads=4).eval()
    untrained = copy.deepcopy(full)
    with torch.no_grad():
        full.blocks[0].attention.out.weight[:, 4:8] = 0  # type: ignore[union-attr]
    call = ((torch.randint(11, (2, 8)),), {})
    small = compact(full, call[0]).model
    assert small.blocks[0].attention.heads == 3  # type: ignore[union-attr]
    [one] = Maker(tmp_path, call, lambda: copy.deepcopy(untrained)).made(
        "compact", small, FORMS[:1]
    )
    assert compared(full, one.run, call).relative < 1e-5


def test_a_form_that_a_network_has_not_is_missing_with_the_reason(maker: Maker) -> None:
    def write(network: nn.Module, call: object, file: Path) -> None:
        raise ImportError("such is missing")

    other = Form(", odd", ".odd", write, read_weights)
    one, two = Form(", one", ".1", write, read_weights), Form(", two", ".2", write, read_weights)
    found = maker.made("compact", network(), [one, WEIGHTS[0], two])
    assert [variant.name for variant in found] == ["compact"]
    assert maker.missing == {"such is missing": ["compact, one", "compact, two"]}
    assert maker.made("dense", network(), [other]) == []


def change(name: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (change("9.weight", torch.ones(1)), "the network has no 9.weight"),
        (lambda state: state.pop("0.bias"), "it lacks 0.bias"),
        (change("0.weight", torch.ones(99, 30)), "not a smaller form"),
        (change("0.weight", torch.ones(30)), "not a smaller form"),
    ],
)
def test_weights_of_another_network_are_refused(
    wrong: Callable[[dict[str, torch.Tensor]], None], complaint: str, tmp_path: Path
) -> None:
    state = dict(network().state_dict())
    wrong(state)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"is of another network: .*{complaint}"):
        filled(network(), tmp_path / "a.safetensors")


def test_what_takes_no_such_batch_is_not_timed_for_it() -> None:
    model = network()
    fixed = Variant("fixed", Path(), model, lambda x: model(x.view(2, 30)))
    found = timed([Variant("dense", Path(), model, model), fixed], CALL, (2, 3))
    assert [list(one) for one in found.values()] == [["dense", "fixed"], ["dense"]]
    assert found[2]["dense"].speed == 1
