"""Generators: taken down and put back."""

from __future__ import annotations

from pathlib import Path

import torch
from draws import drawn

from l1prune.training.resume import randomness
from l1prune.training.resume.generators import Generators, captured, restore


def test_all_generators_go_on_from_where_they_were() -> None:
    randomness.seed(3)
    drawn()  # `gauss` keeps a number for the next call: that too is state
    state = captured()
    first = [drawn() for _ in range(3)]
    restore(state)
    assert [drawn() for _ in range(3)] == first


def test_a_state_is_of_tensors_and_plain_types(tmp_path: Path) -> None:
    randomness.seed(3)
    torch.save(captured(), tmp_path / "state.pt")
    first = drawn()
    restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert drawn() == first


# ---- an entry of a run's state


def test_what_was_loaded_is_put_back_twice_until_training_goes_on() -> None:
    randomness.seed(3)
    state = Generators().state_dict()
    first = drawn()
    again = Generators()
    again.load_state_dict(state)
    assert drawn() == first
    again.restore_again()
    assert drawn() == first
    again.go_on()
    again.restore_again()
    assert drawn() != first


def test_with_another_number_of_processes_the_generators_are_left_alone() -> None:
    randomness.seed(3)
    (own,) = Generators().state_dict()["states"]
    first = drawn()
    Generators().load_state_dict({"states": [own, own]})
    assert drawn() != first
