"""Masks: made by torch.nn.utils.prune, written in place, held."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.profiler import ProfilerActivity, profile

from l1prune.cuts.masks import Cut, Masks, cut, hold_, hold_gradients_, moved
from l1prune.cuts.scopes import Global
from l1prune.cuts.thresholds import Magnitude, Sparsity
from l1prune.penalties import L1, GroupL1
from l1prune.pressure.pressure import Pressure
from l1prune.weights.targets import find_targets


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))


def test_a_cut_leaves_the_model_plain() -> None:
    net = model()
    before = [(name, id(p), p.data_ptr()) for name, p in net.named_parameters()]
    keys = list(net.state_dict())
    targets = find_targets(net)
    hold_(targets, cut(targets, L1(), Sparsity(0.9)))
    assert [(name, id(p), p.data_ptr()) for name, p in net.named_parameters()] == before
    assert list(net.state_dict()) == keys
    assert sum(int(t.parameter.count_nonzero()) for t in targets) == 75


def test_a_run_cuts_what_the_stock_way_cuts() -> None:
    ours, stock = model(), model()
    targets = find_targets(ours)
    hold_(targets, cut(targets, L1(), Sparsity(0.8, scope=Global())))
    pairs = [(stock[0], "weight"), (stock[2], "weight")]
    prune.global_unstructured(pairs, Cut, threshold=Sparsity(0.8, scope=Global()))
    for a, b in ((ours[0], stock[0]), (ours[2], stock[2])):
        assert prune.is_pruned(b)
        prune.remove(b, "weight")
        assert torch.equal(a.weight, b.weight)


def test_rounds_only_add_to_what_is_removed() -> None:
    targets = find_targets(model())
    first = cut(targets, L1(), Sparsity(0.9), progress=0.3)
    second = cut(targets, L1(), Sparsity(0.9), first, progress=1.0)
    assert sum(int(mask.sum()) for mask in second.values()) == 75
    for name in first:
        assert not (second[name] & ~first[name]).any()


def test_a_group_goes_or_stays_as_a_whole() -> None:
    targets = find_targets(model())
    masks = cut(targets, GroupL1(dim=0), Sparsity(0.5))
    for mask in masks.values():
        assert (mask.all(1) | ~mask.any(1)).all()
    assert any(not mask.all() for mask in masks.values())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_held_weights_stay_zero_against_momentum_and_weight_decay(momentum: float) -> None:
    net = model()
    targets = find_targets(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum, weight_decay=0.1)
    net(torch.randn(8, 20)).square().mean().backward()
    optimizer.step()
    masks = cut(targets, L1(), Sparsity(0.9))
    hold_(targets, masks)
    held = Pressure(optimizer, targets, strength=0.0, masks=masks)
    for _ in range(3):
        net(torch.randn(8, 20)).square().mean().backward()
        optimizer.step()
        assert all((t.parameter[~masks[t.name]] == 0).all() for t in targets)
    held.remove()
    optimizer.step()
    assert any((t.parameter[~masks[t.name]] != 0).any() for t in targets)


def test_zeros_survive_nan_and_are_positive() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.data.copy_(torch.tensor([[float("nan"), -1.0], [2.0, 3.0]]))
    hold_(find_targets(layer), {"weight": torch.tensor([[False, False], [True, True]])})
    assert layer.weight[0].tolist() == [0.0, 0.0]
    assert not layer.weight[0].signbit().any()


def test_removed_weights_use_up_no_clipping_budget() -> None:
    net = model()
    targets = find_targets(net)
    masks = {t.name: torch.zeros_like(t.parameter, dtype=torch.bool) for t in targets}
    net(torch.randn(8, 20)).square().mean().backward()
    hold_gradients_(targets, masks)
    assert all(t.parameter.grad is not None and not t.parameter.grad.any() for t in targets)
    assert net[0].bias.grad is not None and net[0].bias.grad.any()


def test_a_diverged_weight_is_named() -> None:
    net = model()
    net[2].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"2\.weight holds NaN"):
        cut(find_targets(net), L1(), Magnitude(0.1))


def test_a_mask_that_was_loaded_is_of_what_is_there_and_of_nothing_that_comes_later() -> None:
    targets, masks = find_targets(model()), Masks()
    masks.load_state_dict(Masks(cut(targets, L1(), Sparsity(0.9))).state_dict())
    masks.unpack(targets[:1])
    assert list(masks) == ["0.weight"] == [*masks.names]
    masks.unpack(targets)
    assert list(masks) == ["0.weight"]


def test_looking_for_what_has_moved_takes_two_bytes_a_weight() -> None:
    targets = find_targets(nn.Linear(1000, 100))
    masks = {target.name: torch.zeros_like(target.parameter).bool() for target in targets}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        assert moved(targets, masks) == ["weight"]
    assert max(event.cpu_memory_usage for event in profiler.events()) <= 100_000
