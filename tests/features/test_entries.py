"""Entries: a feature's size is over all its weights, wherever they lie."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l1prune.features.entries import Entries, owners_of
from l1prune.features.places import places_of


def test_sizes_are_the_root_mean_square_over_layers_and_columns() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Conv1d(4, 2, 5)})
    places = places_of(model, ["a", "b"])
    weights = [place.weight.detach() for place in places]
    sizes = Entries(places, torch.tensor([0, 1, 1, 2])).sizes([0, 1], weights)
    for feature, inputs in enumerate([[0], [1, 2], [3]]):
        every = torch.cat([w[:, inputs].flatten() for w in weights])
        torch.testing.assert_close(sizes[feature], every.square().mean().sqrt())


def test_a_feature_of_several_inputs_is_worth_what_all_of_them_are() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    places, worth = places_of(layer), [torch.rand(3, 5)]
    single = Entries(places, torch.arange(5))
    torch.testing.assert_close(single.worths([0], worth), single.sizes([0], worth))
    grouped = Entries(places, torch.tensor([0, 1, 1, 1, 2])).worths([0], worth)
    losses = single.worths([0], worth).square()  # which add up
    torch.testing.assert_close(
        grouped.square(), losses.new_tensor([losses[0], losses[1:4].sum(), losses[4]])
    )


def test_a_table_of_embeddings_is_a_feature() -> None:
    model = nn.ModuleDict({"age": nn.Embedding(3, 2), "town": nn.Embedding(50, 2)})
    places = places_of(model, ["age", "town"])
    entries = Entries(places, owners_of(2, None))
    weights = [place.weight.detach() for place in places]
    expected = torch.stack([w.square().mean().sqrt() for w in weights])
    torch.testing.assert_close(entries.sizes([0, 1], weights), expected)
    torch.testing.assert_close(entries.sizes([1], weights[1:])[1], expected[1])


@pytest.mark.parametrize(
    "groups", [[[0, 5]], [[0, 1], [1, 2]], [[0, 0]], [[-1]], [["a"]], [[]], [0, 1], 5, "ab"]
)
def test_columns_belong_to_one_group_and_are_there(groups: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"groups[:=]"):
        owners_of(5, groups)
