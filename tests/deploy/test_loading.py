"""Loading: a file of a compact model gives that model, numbers that shapes do not tell included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from l1prune.deploy import compact, load_compact
from l1prune.zoo import GPT

TOKENS = torch.arange(14).view(2, 7)


def gpt() -> GPT:
    return GPT(20, 12, layers=2, width=24, heads=4).eval()


def smaller() -> nn.Module:
    """Heads and hidden units are gone, not as many in each block."""
    torch.manual_seed(0)
    model = gpt()
    model.blocks[0].attention.out.weight.data[:, :12] = 0
    model.blocks[1].attention.out.weight.data[:, 6:12] = 0
    model.blocks[1].mlp[2].weight.data[:, ::3] = 0
    return compact(model, TOKENS).model


def test_with_an_example_heads_are_counted_and_the_model_is_the_same() -> None:
    small = smaller()
    torch.manual_seed(1)
    full = gpt().train()
    assert load_compact(full, small.state_dict(), TOKENS) is full
    assert [block.attention.heads for block in full.blocks] == [2, 3]
    assert full.training and str(full) == str(small)
    assert torch.equal(full.eval()(TOKENS), small(TOKENS))


def test_weights_that_are_zero_from_the_start_are_no_obstacle() -> None:
    small, full = smaller(), gpt()
    for weight in full.parameters():
        weight.data.zero_()
    assert torch.equal(load_compact(full, small.state_dict(), TOKENS)(TOKENS), small(TOKENS))


def test_without_an_example_it_is_not_guessed_and_nothing_is_touched() -> None:
    full = gpt()
    with pytest.raises(ValueError, match=r"attention\.heads=4 may count .* give example_input"):
        load_compact(full, smaller().state_dict())
    assert full.blocks[0].attention.qkv.out_features == 72


def test_shapes_alone_tell_what_no_number_can_count() -> None:
    model = gpt()
    model.blocks[0].mlp[2].weight.data[:, :32] = 0
    small = compact(model, TOKENS).model
    assert torch.equal(load_compact(gpt(), small.state_dict())(TOKENS), small(TOKENS))


def test_a_module_of_ones_own_is_asked_about_its_own_weights_too() -> None:
    class Own(nn.Module):
        def __init__(self, rows: int) -> None:
            super().__init__()
            self.heads = 2
            self.weight = nn.Parameter(torch.ones(rows, 3))

    with pytest.raises(ValueError, match="heads=2 may count"):
        load_compact(Own(8), Own(4).state_dict())


@pytest.mark.parametrize("rows", [8, 7])
def test_shapes_that_no_compact_model_has_are_refused(rows: int) -> None:
    """Half a head is none."""
    state: dict[str, Tensor] = dict(smaller().state_dict())
    for name in ("blocks.0.attention.qkv.weight", "blocks.0.attention.qkv.bias"):
        state[name] = state[name][: 3 * rows]
    full = gpt()
    with pytest.raises(ValueError, match=r"can only be shown to work with"):
        load_compact(full, state, TOKENS)
    assert full.blocks[0].attention.qkv.out_features == 72


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "one of type NoneType is none"),
        ([torch.ones(2)], "one of type list is none"),
        ({"weight": 5}, "weight is of type int, no tensor"),
        ({"state_dict": {"weight": torch.ones(2, 4)}}, "state_dict is of type dict, no tensor"),
        ({"weight": torch.ones(0, 4)}, "nothing is left of weight"),
    ],
)
@pytest.mark.parametrize("example", [None, torch.ones(1, 8)])
def test_what_is_no_state_of_a_compact_model_is_refused_in_a_sentence(
    state: dict[str, Tensor], message: str, example: Tensor | None
) -> None:
    with pytest.raises(ValueError, match=f"state_dict: {message}"):
        load_compact(nn.Linear(8, 2, bias=False), state, example)
