"""A model without the inputs that it does not read computes the same, or is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from l1prune.deploy import compact, select_inputs


def without(layer: nn.Linear | nn.Conv2d, *columns: int) -> None:
    with torch.no_grad():
        layer.weight[:, [*columns]] = 0


class Wide(nn.Module):
    """Two layers see the input, behind a norm; one more output adds what it is told to."""

    def __init__(self, reads: int | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.deep, self.skip = nn.Linear(6, 5), nn.Linear(6, 3)
        self.head, self.reads = nn.Linear(5, 3), reads

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        y: Tensor = self.head(torch.relu(self.deep(normed))) + self.skip(normed)
        return y if self.reads is None else y + x[:, self.reads : self.reads + 1]


def wide(reads: int | None = None) -> Wide:
    torch.manual_seed(0)
    model = Wide(reads)
    model(torch.randn(50, 6) * 3 + 1)  # statistics that are not those of nothing
    without(model.deep, 0, 2, 5)
    without(model.skip, 0, 1, 5)
    return model.eval()


def test_a_column_goes_when_no_layer_reads_it_and_the_rest_computes_the_same() -> None:
    model, x = wide(), torch.randn(9, 6)
    found = select_inputs(model, x)
    assert found.kept == (1, 2, 3, 4)
    assert (found.model.deep.in_features, found.model.norm.num_features) == (4, 4)
    torch.testing.assert_close(found.model(x[:, [1, 2, 3, 4]]), model(x))
    assert found.difference < 1e-12
    assert str(found).startswith("4 of 6 inputs: 1, 2, 3, 4; ")


def test_what_reads_an_input_elsewhere_is_found_out() -> None:
    with pytest.raises(ValueError, match=r"Wide (reads some of its inputs elsewhere|cannot be)"):
        select_inputs(wide(reads=5), torch.randn(2, 6))


def test_pixels_are_counted_in_flattened_images() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    without(model[1], *range(1, 11))
    images = torch.randn(3, 2, 2, 3)
    found = select_inputs(model, images)
    assert (found.kept, found.inputs) == ((0, 11), 12)
    torch.testing.assert_close(found.model(found.columns(images)), model(images))


def test_channels_of_a_convolution_go_as_a_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    without(model[0], 1)
    images = torch.randn(2, 3, 4, 4)
    found = select_inputs(model.eval(), images)
    assert found.kept == (0, 2)
    torch.testing.assert_close(found.model(images[:, [0, 2]]), model(images))


def test_the_original_is_left_as_it_is_and_the_smaller_one_can_be_compacted() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    without(model[0], 3)
    without(model[2], 4)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    x = torch.randn(4, 6)
    found = select_inputs(model, x)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    small = compact(found.model, found.columns(x)).model
    assert [tuple(p.shape) for p in small.parameters() if p.ndim > 1] == [(4, 5), (2, 4)]
    torch.testing.assert_close(small(found.columns(x)), model(x))


def test_where_all_is_read_all_is_kept() -> None:
    assert select_inputs(nn.Linear(3, 2).eval(), torch.randn(1, 3)).kept == (0, 1, 2)


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match="in training mode"):
        select_inputs(nn.Linear(3, 2), torch.randn(1, 3))
    with pytest.raises(ValueError, match="no linear layer or convolution"):
        select_inputs(nn.LayerNorm(3).eval(), torch.randn(1, 3))
    with pytest.raises(ValueError, match="no input is read"):
        dead = nn.Linear(3, 2).eval()
        without(dead, 0, 1, 2)
        select_inputs(dead, torch.randn(1, 3))
    with pytest.raises(ValueError, match="one tensor with a batch"):
        select_inputs(nn.Linear(3, 2).eval(), torch.randn(3))


def test_a_norm_that_mixes_columns_is_found_out() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.skip, self.head = nn.LayerNorm(4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.skip(x) + self.head(self.norm(x))
            return y

    model = Mixed().eval()
    without(model.skip, 1)
    without(model.head, 1)
    with pytest.raises(ValueError, match="Mixed"):
        select_inputs(model, torch.randn(2, 4))
