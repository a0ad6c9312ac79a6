"""ChannelL1: channels are shrunk, cut, held and resumed as wholes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from networks import coupled, network
from tasks import ADAMW, Task, examples, fit, layers
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from l1prune import (
    ChannelL1,
    Cost,
    L1Pruning,
    Pressure,
    Proximal,
    Size,
    Sparsity,
    find_targets,
    rounds,
)
from l1prune.channels.penalty import JoinedChannelL1, shrinkage
from l1prune.deploy import compact
from l1prune.penalties import GroupL1
from l1prune.pressure.forms import Form


def joined(name: str) -> tuple[nn.Module, JoinedChannelL1]:
    model, example = network(name)
    return model, JoinedChannelL1(model, example)


def test_by_itself_a_weight_has_rows() -> None:
    torch.manual_seed(0)
    w = torch.randn(4, 3)
    assert ChannelL1().value(w) == GroupL1().value(w)
    assert torch.equal(ChannelL1().score(w), GroupL1().score(w))
    assert torch.equal(ChannelL1().prox_(w.clone(), 0.3), GroupL1().prox_(w.clone(), 0.3))


def test_the_step_minimises_what_it_is_the_proximal_map_of() -> None:
    """A channel c·w of ‖w‖: ½(c − 1)²‖w‖²/t + √n·c‖w‖ is least at the c that is left."""
    source = torch.Generator().manual_seed(0)
    w = torch.randn(20, dtype=torch.double, generator=source)
    for t in (0.01, 0.5, 5.0):
        left = shrinkage(w.square().sum(), torch.tensor(20 / t), torch.tensor(20.0))
        c = torch.linspace(0, 1, 100_001, dtype=torch.double)
        loss = (c - 1) ** 2 * w.square().sum() / (2 * t) + 20**0.5 * c * w.norm()
        assert abs(float(c[loss.argmin()]) - float(left)) < 1e-4


def test_a_weight_in_two_channels_is_shrunk_by_both() -> None:
    model, penalty = joined("perceptron")
    parameters = dict(model.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    coupling = coupled("perceptron")
    penalty.prox_all_([*parameters.values()], [*parameters.values()], [0.02] * len(parameters))
    squares = coupling.sums({n: before[n].square() for n in coupling.places})
    sizes = coupling.sums({n: torch.ones_like(before[n]) for n in coupling.places})
    left = shrinkage(squares, sizes / 0.02, sizes)
    left[-1] = 1
    for name, parameter in parameters.items():
        expected = before[name].clone()
        for factor in coupling.factors(name, left.float()):
            expected *= factor
        assert torch.allclose(parameter, expected, atol=1e-7)
    assert torch.equal(parameters["4.bias"], before["4.bias"])


def test_no_step_changes_no_bit() -> None:
    model, penalty = joined("residual")
    before = [p.detach().clone() for p in model.parameters()]
    penalty.prox_all_([*model.parameters()], [*model.parameters()], [0.0] * len(before))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_strong_pressure_channels_vanish_as_wholes(dtype: torch.dtype) -> None:
    model, example = network("perceptron")
    model, example = model.to(dtype), example.to(dtype)
    penalty = JoinedChannelL1(model, example)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    targets = find_targets(model, [*penalty.rules(None)])
    pressure = Pressure(optimizer, targets, penalty, strength=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        model(example).square().sum().backward()
        optimizer.step()
    assert pressure.steps == 20
    dead = (model[0].weight == 0).all(1)  # type: ignore[index, operator, union-attr]
    assert dead.any()
    assert torch.equal(dead, (model[2].weight == 0).all(0))  # type: ignore[index, operator, union-attr]
    assert bool((model[0].bias[dead] == 0).all())  # type: ignore[index]


def test_forms_that_know_single_weights_only_are_refused() -> None:
    class Alone(Form):
        def check(self, optimizer: torch.optim.Optimizer) -> None:
            return

        def after(self, step: object) -> None:
            return

    model, penalty = joined("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="units that span several"):
        Pressure(optimizer, find_targets(model), penalty, form=Alone())


# ---- whole runs


class Seen(Task):
    """A regression with an example of its input."""

    def __init__(self, net: nn.Module | None = None, **options: object) -> None:
        super().__init__(layers(8, 30, 20, 2) if net is None else net, **options)  # type: ignore[arg-type]
        self.example_input_array = torch.zeros(2, 8)


def pruning(**options: object) -> L1Pruning:
    plan = {"penalty": ChannelL1(), "threshold": Cost("parameters", 0.4)}
    return L1Pruning(prune_at=rounds(0.1, 0.6, 10), **(plan | options))  # type: ignore[arg-type]


def test_a_run_removes_channels_that_compact_removes() -> None:
    task, callback = Seen(), pruning()
    fit(task, callback, epochs=6)
    small = compact(task.net.eval(), torch.zeros(2, 8))
    assert small.report.after <= 0.4 * small.report.before
    assert callback.report is not None
    left = callback.report.nonzero + 2  # and the bias of the output, which is in no channel
    assert left == small.report.after


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = Seen()

    def saved() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=1)

    fit(whole, pruning(), saved(), epochs=6)
    for epoch in (2,):
        resumed = Seen()
        fit(resumed, pruning(), saved(), resume=tmp_path / f"epoch={epoch}.ckpt", epochs=6)
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()):
            assert torch.equal(a, b)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_the_example_is_brought_to_where_the_model_is(precision: str) -> None:
    task = Seen()
    fit(task, pruning(), epochs=3, precision=precision)
    weight = task.net[2].weight
    assert bool((weight == 0).all(1).any()) and weight.dtype != torch.float32


def test_a_model_without_an_example_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"set self\.example_input_array"):
        fit(Task(), pruning())


def test_thresholds_of_single_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Cost\('macs', 0\.5\)"):
        fit(Seen(), pruning(threshold=Sparsity(0.9)))


def test_what_targets_leave_out_stays_whole() -> None:
    task, callback = Seen(), pruning(targets=["net.2", "net.4"], threshold=Cost("macs", 0.8))
    fit(task, callback, epochs=6)
    assert bool((task.net[0].weight != 0).all()) and bool((task.net[2].weight == 0).any())


def test_frozen_layers_keep_their_channels() -> None:
    task = Seen()
    task.net[0].requires_grad_(False)
    fit(task, pruning(threshold=Cost("macs", 0.8)), epochs=6)
    assert bool((task.net[0].weight != 0).all()) and bool((task.net[4].weight == 0).any())


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.SGD, lr=0.01),
        partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
        partial(torch.optim.Adadelta, lr=0.5),  # whose metric is not known
    ],
    ids=["SGD", "Nesterov", "Adadelta"],
)
@pytest.mark.parametrize("criterion", [None, Size()], ids=str)
def test_channels_go_under_every_optimizer(make: Any, criterion: Any) -> None:
    task = Seen(optimizer=make)
    callback = pruning(criterion=criterion)
    fit(task, callback, epochs=6)
    name = "Saliency(least=0.6, shrinkage=0.0)" if criterion is None else "Size()"
    assert callback.report is not None and callback.report.criterion == name
    assert compact(task.net.eval(), torch.zeros(2, 8)).report.ratio >= 2.5


def test_a_residual_network_with_norms_shrinks_with_its_stream() -> None:
    net, example = network("residual")
    source = torch.Generator().manual_seed(0)
    images = torch.randn(40, 1, 6, 6, generator=source)
    task = Task(net, ADAMW, TensorDataset(images, torch.randn(40, 3, generator=source)))
    task.example_input_array = example
    fit(task, pruning(threshold=Cost("macs", 0.35, least=0.34)), epochs=6)
    small = compact(net.eval(), example)
    names = {one.names[0] for one in small.report.shortened}
    assert {"stem.weight", "up.weight"} <= names
    assert small.report.difference64 < 1e-12


def test_pressure_alone_keeps_its_form() -> None:
    task = Seen(data=examples(20))
    fit(task, pruning(form=Proximal(), strength=1e-3), epochs=3)
    assert all(isinstance(loss, float) for loss in task.losses)


def test_a_new_head_takes_part_in_cuts_to_come() -> None:
    class Grows(Seen):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                torch.manual_seed(5)
                self.net[4] = nn.Linear(20, 2)
                (optimizer,) = self.trainer.optimizers
                optimizer.add_param_group({"params": self.net[4].parameters()})

    def sizes(net: nn.Module) -> Tensor:
        return torch.tensor([p.numel() for p in net.parameters()])

    task = Grows()
    fit(task, pruning(), epochs=8)
    small = compact(task.net.eval(), torch.zeros(2, 8)).model
    assert int(sizes(small).sum()) <= 0.4 * int(sizes(task.net).sum())
