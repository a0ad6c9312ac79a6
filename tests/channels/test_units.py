"""Channels as units: what is cut is what `compact` removes, and costs what it says."""

from __future__ import annotations

import pytest
import torch
from dead_units import gap
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, coupled, network
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from l1prune.channels.units import ChannelUnits, Macs, Parameters
from l1prune.cuts.masks import hold_
from l1prune.deploy import compact
from l1prune.weights.rules import ByName
from l1prune.weights.targets import Target, find_targets


def targets_of(model: nn.Module, names: list[str]) -> list[Target]:
    return list(find_targets(model, [ByName(name) for name in names]))


class Given:
    """A threshold that keeps what it is told to."""

    def __init__(self, stays: torch.Tensor) -> None:
        self.stays = stays

    def check_channels(self, channels: ChannelUnits) -> None:
        return

    def keep_channels(self, channels: ChannelUnits, scores, progress):  # type: ignore[no-untyped-def]
        return [self.stays[stream] for stream in channels.coupling.streams]


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_what_is_cut_is_what_compact_removes_at_the_cost_that_was_foretold(
    name: str, seed: int
) -> None:
    model, example = network(name)
    coupling = coupled(name)
    targets = targets_of(model, [*coupling.places])
    units = ChannelUnits(coupling, targets)
    stays = torch.rand(units.coupling.count, generator=torch.Generator().manual_seed(seed)) < 0.6
    for stream in units.coupling.streams:
        stays[stream[0]] = True  # a layer cannot be without a channel
    scores = units.scores([target.parameter for target in targets], {})
    keeps = units.keep(Given(stays), scores, 1.0)  # type: ignore[arg-type]
    hold_(targets, {target.name: keep for target, keep in zip(targets, keeps)})

    model.eval().double()
    small = compact(model, example.double()).model
    assert gap(model, small, (example.double(),)) < 1e-12
    everything = torch.cat([stays, torch.ones(1, dtype=torch.bool)])
    assert units.cost(Parameters(), everything) == sum(p.numel() for p in small.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        small(example.double())
    assert units.cost(Macs(), everything) == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("measure", [Parameters(), Macs()])
def test_what_a_channel_saves_is_the_difference_that_it_makes(
    name: str, measure: Parameters | Macs
) -> None:
    model, _ = network(name)
    coupling = coupled(name)
    units = ChannelUnits(coupling, targets_of(model, [*coupling.places]))
    stays = torch.ones(coupling.count + 1, dtype=torch.bool)
    saved = units.marginal(measure, stays)
    for channel in range(coupling.count):
        without = stays.clone()
        without[channel] = False
        assert saved[channel] == units.cost(measure, stays) - units.cost(measure, without)


def test_scores_are_root_mean_squares_and_negative_once_removed() -> None:
    model, _ = network("perceptron")
    coupling = coupled("perceptron")
    targets = targets_of(model, [*coupling.places])
    units = ChannelUnits(coupling, targets)
    worth = [target.parameter.detach() for target in targets]
    first, _ = units.scores(worth, {})
    rows, bias, columns = model[0].weight, model[0].bias, model[2].weight  # type: ignore[index]
    squares = rows.square().sum(1) + bias.square() + columns.square().sum(0)
    assert torch.allclose(first, (squares.detach().double() / (6 + 1 + 9)).sqrt())

    stays = torch.ones(coupling.count, dtype=torch.bool)
    stays[3] = False
    keeps = units.keep(Given(stays), units.scores(worth, {}), 1.0)  # type: ignore[arg-type]
    masks = {target.name: keep for target, keep in zip(targets, keeps)}
    for known in (masks, {name: masks[name] for name in ("0.weight", "0.bias")}):
        first, second = units.scores(worth, known)
        assert (first < 0).nonzero().flatten().tolist() == [3] and bool((second > 0).all())


def test_channels_that_reach_beyond_the_targets_stay() -> None:
    model, _ = network("perceptron")
    targets = targets_of(model, ["0.weight", "0.bias", "2.weight"])
    assert ChannelUnits(coupled("perceptron"), targets).coupling.count == 12
