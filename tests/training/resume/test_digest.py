"""Digest: a state that was edited is told from the one that was saved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from boring import boring_trainer
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.demos.boring_classes import BoringModel

from l1prune import L1Pruning
from l1prune.training.resume.digest import digest

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
STATES = st.dictionaries(
    st.text(max_size=5), st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3)), min_size=1
)


@given(STATES, st.data())
def test_any_plain_value_that_is_another_gives_another_digest(
    state: dict[str, Any], data: st.DataObject
) -> None:
    other = copy.deepcopy(state)
    key = data.draw(st.sampled_from(sorted(state)))
    other[key] = data.draw(PLAIN)
    assert (digest(state) == digest(other)) == (repr(state) == repr(other))


@given(st.lists(st.integers(0, 255), min_size=1, max_size=9))
def test_masks_count_and_the_device_and_layout_do_not(bits: list[int]) -> None:
    mask = torch.tensor(bits, dtype=torch.uint8)
    strided = torch.stack([mask, mask], 1)[:, 0]
    assert digest(mask) == digest(strided)
    assert digest(mask) != digest(mask ^ 1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("saved") / "last.ckpt"
    run = trainer(2)
    run.fit(BoringModel())
    run.save_checkpoint(file)
    return file


def trainer(epochs: int) -> L.Trainer:
    pruning = L1Pruning(threshold=0.01, prune_at=(0.25, 0.5))
    return boring_trainer(pruning, epochs=epochs, limit_train_batches=4, enable_checkpointing=False)


EDITS: dict[str, Any] = {
    "rounds_done": lambda state: state.update(rounds_done=1),
    "too many rounds": lambda state: state.update(rounds_done=99, digest=None),
    "no batches": lambda state: state["clock"].update(batches=-1) or state.update(digest=None),
    "batches": lambda state: state["clock"].update(batches=state["clock"]["batches"] - 1),
    "steps": lambda state: state.update(steps=[0]),
    "masks": lambda state: state["masks"].update(
        {name: torch.full_like(mask, 255) for name, mask in state["masks"].items()}
    ),
    "epoch": lambda state: state["clock"].update(_epoch=0, _in_epoch=1),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_checkpoint_is_refused(saved: Path, tmp_path: Path, edit: Any) -> None:
    checkpoint = torch.load(saved, weights_only=True)
    edit(checkpoint["callbacks"]["L1Pruning"])
    torch.save(checkpoint, tmp_path / "edited.ckpt")
    with pytest.raises(ValueError, match="the checkpoint contradicts itself") as refused:
        trainer(4).fit(BoringModel(), ckpt_path=tmp_path / "edited.ckpt")
    assert "\n" not in str(refused.value)


def test_a_state_of_another_step_is_refused(saved: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(saved, weights_only=True)
    checkpoint["global_step"] -= 1
    torch.save(checkpoint, tmp_path / "edited.ckpt")
    with pytest.raises(ValueError, match="the checkpoint contradicts itself"):
        trainer(4).fit(BoringModel(), ckpt_path=tmp_path / "edited.ckpt")


def test_a_checkpoint_that_was_only_copied_is_taken(saved: Path, tmp_path: Path) -> None:
    torch.save(torch.load(saved, weights_only=True), tmp_path / "copy.ckpt")
    trainer(4).fit(BoringModel(), ckpt_path=tmp_path / "copy.ckpt")
