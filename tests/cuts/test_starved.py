"""Starved layers: a person is told which of them a cut left at their floor, or mostly dead."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
import torch
from tasks import Task, fit
from torch import Tensor, nn

from l1prune import Budget, Global, L1Pruning, Saliency, Sparsity, find_targets
from l1prune.cuts.scopes import Scope
from l1prune.cuts.starved import at_floor, dead_outputs, remarks


def masks_of(model: nn.Module, keep: float) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {t.name: torch.rand(t.parameter.shape) < keep for t in find_targets(model)}


def test_a_layer_above_its_floor_is_not_at_it() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    masks = masks_of(model, 0.5)
    assert at_floor(find_targets(model), masks, Global(least=0.3)) == {}
    masks["1.weight"] &= torch.rand(20, 20) < 0.1
    left = int(masks["1.weight"].sum())
    assert at_floor(find_targets(model), masks, Global(0.3)) == {"1.weight": (left, 400)}
    assert at_floor(find_targets(model), masks, Global(0.0)) == {}


class AllOfIt(Scope):
    """Of the user's own: each layer is to keep all."""

    def comparable(self, scores: Tensor) -> Tensor:
        return scores

    def floors(self, shapes: Sequence[Sequence[int]], sizes: Sequence[int], room: int) -> list[int]:
        return [torch.Size(shape).numel() for shape in shapes]


def test_a_layer_that_is_kept_whole_is_not_starved() -> None:
    model = nn.Linear(4, 4)
    assert at_floor(find_targets(model), masks_of(model, 1.1), AllOfIt()) == {}


def test_dead_outputs_are_those_of_the_layer_whichever_way_its_weight_lies() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(2, 4, 3))
    masks = masks_of(model, 1.1)
    for name in ("0.weight", "1.weight"):
        masks[name][1:] = False
    assert dead_outputs(find_targets(model), masks) == {"0.weight": (3, 4), "1.weight": (3, 4)}
    masks["2.weight"][:, 1:] = False
    assert dead_outputs(find_targets(model), masks)["2.weight"] == (3, 4)


def test_many_layers_are_counted_and_few_are_named() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(8)))
    (said,) = remarks(find_targets(model), masks_of(model, 0.0), None)
    assert "0.weight (4 of 4)" in said and "4.weight" in said and "5.weight" not in said
    assert "and 3 more" in said


@pytest.mark.filterwarnings("always")
def test_a_run_says_so_once_after_its_last_cut() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(Task(), L1Pruning(threshold=Sparsity(0.97), criterion=Saliency(0.9)), epochs=10)
    said = [str(one.message) for one in caught if "the cut left" in str(one.message)]
    assert sum("no more than the least share" in one for one in said) == 1
    assert sum("most outputs without a weight" in one for one in said) == 1


class Dear(Task):
    """Each zero costs: the budget says how many there may be."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        zeros = [w == 0 for name, w in self.named_parameters() if name.endswith("weight")]
        self.log("val/loss", torch.cat([zero.flatten() for zero in zeros]).float().mean())


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(("may_drop", "times"), [(0.0, 0), (0.95, 1)])
def test_a_run_that_may_go_back_says_it_of_the_network_that_it_ends_with(
    may_drop: float, times: int
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prune = L1Pruning(threshold=Budget("val/loss", may_drop), criterion=Saliency(0.9))
        fit(Dear(), prune, epochs=24)
    said = [str(one.message) for one in caught if "the cut left no more" in str(one.message)]
    assert len(said) == times


def test_gates_of_a_recurrent_layer_are_no_outputs() -> None:
    model = nn.GRU(4, 8)
    masks = {t.name: torch.zeros(t.parameter.shape, dtype=bool) for t in find_targets(model)}
    assert len(masks) == 2 and not dead_outputs(find_targets(model), masks)
