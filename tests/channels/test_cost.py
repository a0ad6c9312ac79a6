"""Cost: as many channels go as it takes, those first that are worth least for what they cost."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from networks import NETWORKS, coupled, network
from torch import Tensor

from l1prune import L1, Cost, Global, L1Pruning
from l1prune.channels.cost import MEASURES
from l1prune.channels.units import ChannelUnits
from l1prune.cuts.masks import check, cut
from l1prune.weights.rules import ByName
from l1prune.weights.targets import find_targets


def units_of(name: str) -> ChannelUnits:
    model, _ = network(name)
    coupling = coupled(name)
    return ChannelUnits(coupling, [*find_targets(model, [ByName(n) for n in coupling.places])])


def scores_of(units: ChannelUnits, seed: int = 0) -> list[Tensor]:
    source = torch.Generator().manual_seed(seed)
    return [torch.rand(len(stream), generator=source) for stream in units.coupling.streams]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("measure", MEASURES)
def test_no_channel_more_than_it_takes(name: str, measure: str) -> None:
    units, counted = units_of(name), MEASURES[measure]
    everything = torch.ones(units.coupling.count + 1, dtype=torch.bool)
    total = units.cost(counted, everything)
    scores = scores_of(units)
    stays = units.joined(Cost(measure, 0.6, least=0).keep_channels(units, scores, 1.0))
    assert units.cost(counted, stays) <= 0.6 * total
    gone = [c for c in range(units.coupling.count) if not stays[c]]
    back = []
    for channel in gone:
        more = stays.clone()
        more[channel] = True
        back.append(units.cost(counted, more))
    assert gone and max(back) > 0.6 * total


def test_rounds_come_down_step_by_step_and_what_is_gone_stays_gone() -> None:
    units = units_of("residual")
    scores, before = scores_of(units), torch.ones(units.coupling.count + 1, dtype=torch.bool)
    costs = [units.cost(MEASURES["macs"], before)]
    for progress in (0.2, 0.5, 1.0):
        keeps = Cost("macs", 0.4).keep_channels(units, scores, progress)
        stays = units.joined(keeps)
        assert bool((before | ~stays).all())
        # Whatever they are worth from now on, removed ones do not come back.
        scores = [new.masked_fill(~keep, -1.0) for new, keep in zip(scores_of(units, 9), keeps)]
        before = stays
        costs.append(units.cost(MEASURES["macs"], stays))
    assert all(more > less for more, less in pairwise(costs))


def test_of_what_is_worth_as_much_the_dearer_goes_first() -> None:
    units = units_of("residual")
    equal = [(1 / units.sizes[stream]).sqrt() for stream in units.coupling.streams]
    cost = Cost("macs", 0.9, least=0, scope=Global())
    stays = units.joined(cost.keep_channels(units, equal, 1.0))
    saved = units.marginal(MEASURES["macs"], torch.ones_like(stays))
    assert saved[~stays].unique().numel() == 1 and saved[~stays].max() == saved.max()


def test_each_stream_keeps_its_least_share() -> None:
    units = units_of("perceptron")
    scores = [torch.full((12,), 1e-9), torch.ones(9)]
    keeps = Cost("parameters", 0.25, least=0.25).keep_channels(units, scores, 1.0)
    assert int(keeps[0].sum()) == 3


@pytest.mark.parametrize("multiple", [2, 4])
def test_channels_come_in_multiples_in_each_round(multiple: int) -> None:
    units = units_of("residual")
    scores, counts = scores_of(units), set()
    for progress in (0.3, 0.7, 1.0):
        cost = Cost("macs", 0.4, multiple=multiple)
        keeps = cost.keep_channels(units, scores, progress)
        scores = [score.masked_fill(~keep, -1.0) for score, keep in zip(scores, keeps)]
        counts |= {int(keep.sum()) for keep in keeps if not keep.all()}
    assert counts and all(count % multiple == 0 for count in counts)


def test_the_best_of_a_stream_stay() -> None:
    units = units_of("residual")
    scores = scores_of(units)
    for score, keep in zip(scores, Cost("macs", 0.5).keep_channels(units, scores, 1.0)):
        assert not keep.any() or not (~keep).any() or score[keep].min() > score[~keep].max()


@pytest.mark.parametrize(
    "arguments",
    [
        {"measure": "flops", "left": 0.5},
        {"measure": "macs", "left": 0},
        {"measure": "macs", "left": 1},
        {"measure": "macs", "left": 0.5, "least": 1},
        {"measure": "macs", "left": 0.5, "multiple": 0},
        {"measure": "macs", "left": 0.5, "scope": "global"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Cost(**arguments)  # type: ignore[arg-type]


def test_more_than_there_is_to_save_is_refused() -> None:
    with pytest.raises(ValueError, match="stay whatever channels go"):
        Cost("macs", 0.01).check_channels(units_of("residual"))


def test_channels_have_to_be_asked_for() -> None:
    model, _ = network("perceptron")
    with pytest.raises(ValueError, match="penalty=ChannelL1"):
        check(find_targets(model), L1(), Cost("macs", 0.5))
    with pytest.raises(ValueError, match="penalty=ChannelL1"):
        cut(find_targets(model), L1(), Cost("macs", 0.5))
    assert L1Pruning(threshold=Cost("macs", 0.5)).phase == "press"
