"""Joint penalties: some have to know the model, most do not."""

from __future__ import annotations

import torch
from torch import nn

from l1prune import ChannelL1
from l1prune.penalties import L1, GroupL1
from l1prune.penalties.joint import JointPenalty, ModelPenalty, PenaltyOfModel, join


def test_what_knows_its_weights_stays_as_it_is() -> None:
    for penalty in (L1(), GroupL1()):
        assert join(penalty, nn.Linear(2, 2)) is penalty


def test_what_has_to_know_the_model_is_joined_to_it_once() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model.example_input_array = torch.zeros(1, 3)
    assert isinstance(ChannelL1(), ModelPenalty) and not isinstance(ChannelL1(), JointPenalty)
    joined = join(ChannelL1(), model)
    assert isinstance(joined, JointPenalty) and join(joined, model) is joined


class Counting(L1):
    """Joined to a model as often as it says."""

    joined = 0

    def join(self, model: nn.Module) -> Counting:
        self.joined += 1
        return self


def test_a_model_is_looked_at_again_where_its_parameters_are_others() -> None:
    model, penalty = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), Counting()
    of_model = PenaltyOfModel(penalty, model)  # type: ignore[arg-type]
    seen = []
    for change in (
        lambda: None,
        lambda: model[0].weight.data.zero_(),  # other values
        lambda: model[0].weight.requires_grad_(False),
        lambda: model.to(torch.bfloat16),
        lambda: model.append(nn.Linear(2, 2)),
        lambda: setattr(model[1], "weight", nn.Parameter(model[1].weight.detach())),
        lambda: None,
    ):
        change()
        assert of_model.now() is penalty
        seen.append(penalty.joined)
    assert seen == [1, 1, 2, 3, 4, 5, 5]
