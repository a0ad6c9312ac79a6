"""Joint penalties: some have to know the model, most do not."""

from __future__ import annotations

import torch
from torch import nn

from l1prune import ChannelL1
from l1prune.penalties import L1, GroupL1
from l1prune.penalties.joint import JointPenalty, ModelPenalty, join


def test_what_knows_its_weights_stays_as_it_is() -> None:
    for penalty in (L1(), GroupL1()):
        assert join(penalty, nn.Linear(2, 2)) is penalty


def test_what_has_to_know_the_model_is_joined_to_it_once() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model.example_input_array = torch.zeros(1, 3)
    assert isinstance(ChannelL1(), ModelPenalty) and not isinstance(ChannelL1(), JointPenalty)
    joined = join(ChannelL1(), model)
    assert isinstance(joined, JointPenalty) and join(joined, model) is joined
