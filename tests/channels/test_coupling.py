"""Coupling: a channel is all that is removed with it."""

from __future__ import annotations

import pytest
import torch
from networks import NETWORKS, coupled, network
from torch import nn

from l1prune.channels.coupling import coupling_of


def test_neurons_are_rows_biases_and_the_next_layers_columns() -> None:
    coupling = coupled("perceptron")
    assert [len(stream) for stream in coupling.streams] == [12, 9]
    found = {(name, dim) for name in coupling.places for dim, _ in coupling.members(name)}
    assert found == {
        *(("0.weight", 0), ("0.bias", 0), ("2.weight", 1)),
        *(("2.weight", 0), ("2.bias", 0), ("4.weight", 1)),
    }


def test_a_residual_stream_is_one_over_all_that_write_and_read_it() -> None:
    coupling = coupled("residual")
    of = {
        (name, dim): tuple(index.tolist())
        for name in coupling.places
        for dim, index in coupling.members(name)
    }
    stream = of["stem.weight", 0]
    same = {place for place, index in of.items() if index == stream}
    assert same == {
        *(("stem.weight", 0), ("norm0.weight", 0), ("norm0.bias", 0), ("up.weight", 1)),
        *(("down.weight", 0), ("down.bias", 0), ("norm2.weight", 0), ("norm2.bias", 0)),
        ("head.weight", 1),
    }


def test_behind_a_flattened_image_a_channel_has_all_its_pixels() -> None:
    coupling = coupled("flattened")
    (_, columns) = next(iter(coupling.members("4.weight")))
    assert torch.equal(columns, torch.arange(6).repeat_interleave(16))


def test_layers_that_are_concatenated_have_a_stream_each() -> None:
    assert [len(stream) for stream in coupled("concatenated").streams] == [12, 4, 6]


def test_an_empty_example_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="a batch of at least 1"):
        coupling_of(nn.Linear(3, 2), torch.ones(0, 3))


def test_a_depthwise_filter_goes_with_its_channel() -> None:
    coupling = coupled("depthwise")
    assert [dim for dim, _ in coupling.members("2.weight")] == [0]
    assert [len(stream) for stream in coupling.streams] == [8, 5]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_is_left_in_the_mode_in_which_it_was(name: str) -> None:
    model, example = network(name)
    first = next(iter(model.children()))
    first.eval()
    coupling_of(model, example)
    assert model.training and not first.training


def test_a_place_is_a_multiplication() -> None:
    coupling = coupled("flattened")
    assert coupling.positions == {"0.weight": 2 * 64, "4.weight": 2}  # of a batch of two


def test_what_has_no_channels_still_costs() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 8, batch_first=True)
            self.body = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.body(self.lstm(x)[0][:, -1])
            return y

    coupling = coupling_of(Recurrent(), torch.ones(2, 5, 4))
    assert coupling.rest == 2 * 5 * 4 * 8 * (4 + 8)
    assert coupled("residual").rest == 0


def test_fewer_streams_are_numbered_anew() -> None:
    coupling = coupled("perceptron")
    second = coupling.only([False, True])
    assert second.count == 9
    assert set(second.places) == {"2.weight", "2.bias", "4.weight"}
    assert [dim for dim, _ in second.members("2.weight")] == [0]
    within = coupling.within(["2.weight", "2.bias", "4.weight"])
    assert within.streams[0].equal(second.streams[0]) and within.count == 9


def test_sums_and_factors_are_each_others_transpose() -> None:
    """⟨sums(values), c⟩ = Σ over dimensions of ⟨values, factor of c⟩."""
    coupling = coupled("residual")
    source = torch.Generator().manual_seed(3)
    c = torch.rand(coupling.count + 1, dtype=torch.double, generator=source)
    for name in coupling.places:
        value = torch.rand(coupling.shapes[name], dtype=torch.double, generator=source)
        by_channel = coupling.sums({name: value}) @ c
        by_weight = sum((value * factor).sum() for factor in coupling.factors(name, c))
        assert torch.allclose(by_channel, by_weight)


def test_inputs_and_outputs_stay() -> None:
    coupling = coupling_of(nn.Linear(3, 2), torch.ones(1, 3))
    assert coupling.count == 0 and not coupling.places
