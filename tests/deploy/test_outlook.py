"""The outlook says what `compact` does, and touches nothing: no weight, no mode, no randomness."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from l1prune.deploy import compact, outlook
from l1prune.deploy.columns import narrowed
from l1prune.deploy.inputs import Arguments


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 3))
    with torch.no_grad():
        model[0].weight[:12] = 0
    return model


CALL: Arguments = ((torch.ones(1, 6),), {})


def test_it_is_what_compact_does() -> None:
    report = compact(network().eval(), torch.ones(2, 6)).report
    line = outlook.outlook(network(), CALL)
    assert line.startswith(f"{report.before} → {report.after} parameters")
    assert line.endswith("2.50 × fewer MACs") and "\n" not in line


def test_nothing_is_touched() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    outlook.outlook(model, CALL)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and model[2].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_compact_refuses_is_said_and_no_error() -> None:
    model = network()
    model.register_forward_hook(lambda module, inputs, output: output)
    assert "has hooks" in outlook.outlook(model, CALL)
    assert "nothing gets smaller: " in outlook.outlook(network(), ((torch.ones(1, 7),), {}))


def test_large_networks_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "MOST", 100)
    assert (
        outlook.outlook(network(), CALL)
        == "203 parameters are more than the 100 that are tried out here"
    )


def test_it_is_what_select_inputs_does_where_inputs_are_to_go() -> None:
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3)).eval()
    with torch.no_grad():
        model[0].weight[:, 2:] = 0
    line = outlook.outlook(model, CALL, narrowed)
    assert line == "203 → 123 parameters (1.65 × fewer), 1.80 × fewer MACs"
    several: Arguments = ((torch.ones(1, 6), torch.ones(1, 6)), {})
    assert "more than one input" in outlook.outlook(nn.Bilinear(6, 6, 2), several, narrowed)
