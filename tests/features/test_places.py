"""Features are found where each kind of layer has them, and are gone when all their weights are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l1prune.features.places import Features, count_inputs, features_of, places_of


@pytest.mark.parametrize(
    ("layer", "dim"),
    [
        (nn.Linear(4, 3), 1),
        (nn.Conv2d(4, 3, 2), 1),
        (nn.ConvTranspose2d(4, 3, 2), 0),
        (nn.Conv2d(4, 4, 2, groups=4), 0),
        (nn.Embedding(4, 3), None),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_zero_input_changes_nothing_that_the_layer_says(
    layer: nn.Module, dim: int | None
) -> None:
    """The dimension is that of the inputs: with its weights at zero, an input is not read."""
    torch.manual_seed(0)
    (place,) = places_of(nn.Sequential(layer), "0")
    assert place.dim == dim
    features = features_of(place.inputs)
    with torch.no_grad():
        weight = place.weight if dim is None else place.weight.select(dim, 0)
        weight.zero_()
    _, left = features.sizes([place])
    assert left.tolist() == [False] + [True] * (place.inputs - 1)
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        x = torch.randn(2, 4, *[5] * (place.weight.ndim - 2))
        other = x.clone()
        other[:, 0] += 1
        if not (isinstance(layer, nn.Conv2d) and layer.groups > 1):
            assert torch.equal(layer(x), layer(other))


def test_the_first_layer_is_that_after_norms_and_embeddings() -> None:
    model = nn.Sequential(nn.LayerNorm(4), nn.Embedding(3, 4), nn.Linear(4, 2), nn.Linear(2, 1))
    assert [place.name for place in places_of(model)] == ["2.weight"]


def test_a_layer_that_is_called_first_is_meant_wherever_it_is() -> None:
    model = nn.ModuleDict({"head": nn.Linear(2, 1), "first": nn.Linear(4, 2)})
    assert [place.name for place in places_of(model)] == ["first.weight"]


def test_a_feature_is_left_as_long_as_one_layer_reads_it() -> None:
    model = nn.ModuleDict({"skip": nn.Linear(3, 1), "deep": nn.Linear(3, 5)})
    places = places_of(model, ["skip", "deep"])
    features = features_of(count_inputs(places))
    with torch.no_grad():
        places[0].weight[:, :2] = 0
        places[1].weight[:, 1:] = 0
    sizes, left = features.sizes(places)
    assert left.tolist() == [True, False, True]
    expected = torch.cat([places[0].weight[:, 0], places[1].weight[:, 0]]).square().mean().sqrt()
    assert sizes[0].item() == pytest.approx(expected.item(), rel=1e-6)


def test_tables_of_embeddings_are_a_feature_each() -> None:
    model = nn.ModuleDict({"city": nn.Embedding(3, 2), "job": nn.Embedding(7, 2)})
    places = places_of(model, "*")
    with torch.no_grad():
        places[1].weight.zero_()
    _, left = features_of(count_inputs(places)).sizes(places)
    assert left.tolist() == [True, False]


def test_a_tiny_weight_is_no_zero() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1e-30, 0.0]]))
    _, left = features_of(2).sizes(places_of(layer))
    assert left.tolist() == [True, False]


def test_groups_of_unequal_size_have_the_size_of_their_mean_square() -> None:
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 2.0, 2.0]]))
    sizes, _ = Features(("a", "b"), torch.tensor([0, 1, 1])).sizes(places_of(layer))
    assert sizes.tolist() == [2.0, 2.0]


def test_pixels_of_flattened_images_have_a_column_for_each_channel() -> None:
    images = torch.arange(2 * 3 * 5).view(1, 2, 3, 5)
    owners = features_of(30, parts=2).owners
    pixels = images % 15  # the number of each pixel, in both channels
    assert owners.tolist() == pixels.flatten(1)[0].tolist()


def test_what_does_not_fit_is_refused() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(4, 1), "c": nn.Embedding(3, 1)})
    with pytest.raises(
        ValueError, match=r"layer='z': ModuleDict has no such weight; it has a\.weight"
    ):
        places_of(model, "z")
    with pytest.raises(ValueError, match=r"a\.weight has 3, b\.weight has 4"):
        count_inputs(places_of(model, ["a", "b"]))
    with pytest.raises(ValueError, match="do not see the same"):
        count_inputs(places_of(model, ["a", "c"]))
    with pytest.raises(ValueError, match="in 2 groups"):
        places_of(nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)))
    with pytest.raises(ValueError, match="7 inputs do not divide"):
        features_of(7, parts=2)
    with pytest.raises(ValueError, match="2 names, where there are 3"):
        features_of(3, ["a", "b"])
    with pytest.raises(ValueError, match="two features are called 'a'"):
        features_of(2, ["a", "a"])
    with pytest.raises(ValueError, match="each of the inputs 0 to 2 once"):
        features_of(3, {"a": [0, 1], "b": [1]})
