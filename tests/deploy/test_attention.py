"""Attention: heads that nobody reads, or that send a constant, go as wholes, or stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from dead_units import gap
from torch import Tensor, nn

from l1prune.deploy import Compaction, compact
from l1prune.zoo import GPT

HEADS, SIZE, WIDTH = 4, 3, 10


class Attention(nn.Module):
    """Self-attention; a class for each way in which people write it."""

    def __init__(self, groups: int = HEADS, size: int = SIZE) -> None:
        super().__init__()
        self.heads, self.size = HEADS, size
        self.q = nn.Linear(WIDTH, HEADS * size)
        self.k = nn.Linear(WIDTH, groups * size)
        self.v = nn.Linear(WIDTH, groups * size)
        self.out = nn.Linear(HEADS * size, WIDTH)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.size)).transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.split(one(x)) for one in (self.q, self.k, self.v))
        return self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Counted(Attention):
    """Holds its number of heads, and lets the size of one follow."""

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Causal(Attention):
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.7)


class WrittenOut(Attention):
    """In products of matrices, under a causal mask."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT / math.sqrt(self.size)
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return F.dropout(scores.masked_fill(later, -torch.inf).softmax(-1), 0.1, self.training) @ v


class Flat(Attention):
    """Batch and heads in one dimension."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        flat = [one.flatten(0, 1) for one in (q, k, v)]
        weights = torch.bmm(flat[0], flat[1].mT).softmax(2)
        return torch.bmm(weights, flat[2]).unflatten(0, (q.shape[0], -1))


class Masked(Attention):
    """Under a mask of which nothing is known."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = torch.zeros(q.shape[-2], k.shape[-2], dtype=q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Grouped(Attention):
    """Pairs of heads share keys and values."""

    def __init__(self) -> None:
        super().__init__(groups=HEADS // 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


class Repeated(Grouped):
    """The same, each copied for both."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (one.repeat_interleave(2, 1) for one in (k, v))
        return F.scaled_dot_product_attention(q, k, v)


class Spread(Grouped):
    """The same as Llama of transformers writes it."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, groups, length, size = k.shape
        k, v = (
            one[:, :, None].expand(batch, groups, 2, length, size).flatten(1, 2) for one in (k, v)
        )
        return F.scaled_dot_product_attention(q, k, v)


WAYS = [Attention, Counted, Causal, WrittenOut, Flat, Masked]
OPEN = [Attention, Counted, Causal, WrittenOut, Flat]
GROUPED = [Grouped, Repeated, Spread]


def inputs(batch: int = 2, length: int = 5, width: int = WIDTH) -> Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(3)).double()


def columns(heads: Sequence[int], size: int = SIZE) -> Tensor:
    return torch.arange(size * HEADS).view(HEADS, size)[list(heads)].flatten()


def made(kind: Callable[[], Attention], unread: Sequence[int] = ()) -> Attention:
    torch.manual_seed(0)
    model = kind().double().eval()
    model.out.weight.data[:, columns(unread, model.size)] = 0
    return model


def heads_left(compaction: Compaction) -> int:
    return int(compaction.model.out.in_features) // SIZE


def same(model: nn.Module, compaction: Compaction) -> bool:
    """On batches and sequences of other lengths too."""
    sizes = [(2, 5), (1, 5), (3, 1), (2, 9)]
    return all(gap(model, compaction.model, (inputs(*size),)) < 1e-12 for size in sizes)


@pytest.mark.parametrize("kind", WAYS)
def test_heads_that_nobody_reads_go(kind: type[Attention]) -> None:
    model = made(kind, [1, 3])
    compaction = compact(model, inputs())
    left = HEADS - 2
    assert heads_left(compaction) == left and same(model, compaction)
    assert all(
        compaction.model.get_parameter(f"{one}.{part}").shape[0] == left * SIZE
        for one in "qkv"
        for part in ("weight", "bias")
    )


@pytest.mark.parametrize("kind", OPEN)
def test_a_head_with_constant_values_goes_and_its_constant_stays(kind: type[Attention]) -> None:
    model = made(kind)
    model.v.weight.data[columns([1])] = 0
    compaction = compact(model, inputs())
    assert heads_left(compaction) == HEADS - 1 and same(model, compaction)
    assert not torch.equal(compaction.model.out.bias, model.out.bias)


def test_under_a_mask_that_may_leave_no_key_only_zeros_are_constant() -> None:
    """Where there is no key, a head sends zeros and no average."""
    model = made(Masked)
    model.v.weight.data[columns([1, 2])] = 0
    model.v.bias.data[columns([2])] = 0
    compaction = compact(model, inputs())
    assert heads_left(compaction) == HEADS - 1 and same(model, compaction)


def test_a_head_of_which_one_dimension_is_read_stays() -> None:
    model = made(Attention, [0, 1])
    model.out.weight.data[:, 0] = 1
    model.v.weight.data[columns([2])[1:]] = 0
    compaction = compact(model, inputs())
    assert heads_left(compaction) == HEADS - 1 and same(model, compaction)


@pytest.mark.parametrize("kind", [Counted, WrittenOut])
def test_of_heads_that_are_all_dead_one_stays(kind: type[Attention]) -> None:
    model = made(kind, range(HEADS))
    compaction = compact(model, inputs())
    assert heads_left(compaction) == 1 and same(model, compaction)


@pytest.mark.parametrize("kind", GROUPED)
def test_heads_that_share_keys_go_together(kind: type[Attention]) -> None:
    compaction = compact(model := made(kind, [0, 1, 2]), inputs())
    assert heads_left(compaction) == 2 and same(model, compaction)
    assert compaction.model.k.out_features == compaction.model.v.out_features == SIZE


def test_a_head_whose_keys_another_needs_stays() -> None:
    compaction = compact(made(Grouped, [0, 3]), inputs())
    assert compaction.report.before == compaction.report.after


class PerHead(Attention):
    """Adds a number for each head, as a bias of positions does."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(HEADS, 1, 1))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = self.bias.expand(-1, q.shape[-2], k.shape[-2]).unsqueeze(0)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def test_what_a_mask_has_for_each_head_goes_with_it() -> None:
    compaction = compact(model := made(PerHead, [2]), inputs())
    assert heads_left(compaction) == HEADS - 1 and same(model, compaction)
    assert torch.equal(compaction.model.bias, model.bias[[0, 1, 3]])


def test_a_mask_for_each_head_from_outside_keeps_them() -> None:
    class Outside(Attention):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
            self.attend = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return super().forward(x)

    mask = torch.randn(2, HEADS, 5, 5).double()
    compaction = compact(made(Outside, [2]), (inputs(), mask))
    assert heads_left(compaction) == HEADS


def test_a_number_of_heads_in_the_code_keeps_them_and_is_said() -> None:
    class Written(Attention):
        def split(self, x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], HEADS, -1).transpose(1, 2)

    compaction = compact(made(Written, [2]), inputs())
    assert heads_left(compaction) == HEADS
    assert list(compaction.report.refused) == ["q.weight and 6 more"]


def test_multihead_attention_is_left_alone_with_the_reason() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    model.self_attn.out_proj.weight.data[:, :4] = 0
    report = compact(model, torch.randn(2, 5, 8)).report
    assert report.before == report.after
    (reason,) = report.kept["self_attn.in_proj_weight"]
    assert "whose heads are as wide together as its input" in reason


# ---- numbers that modules hold


def test_the_number_of_heads_follows_and_is_reported() -> None:
    compaction = compact(made(Counted, [0, 3]), inputs())
    assert compaction.model.heads == 2 and compaction.model.size == SIZE
    (one,) = compaction.report.attributes
    assert str(one) == "heads: 4 → 2" and "\n  heads: 4 → 2" in str(compaction.report)


def test_what_is_not_read_stays_as_it_was() -> None:
    compaction = compact(made(Attention, [0, 3]), inputs())
    assert compaction.model.heads == HEADS and not compaction.report.attributes


def test_numbers_that_are_equal_are_told_apart() -> None:
    class Square(Attention):
        """As many heads as each has dimensions."""

        def __init__(self) -> None:
            super().__init__(size=HEADS)
            self.other = HEADS

        def split(self, x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, self.size).transpose(1, 2)

    compaction = compact(model := made(Square, [1]), inputs())
    small = compaction.model
    assert (small.heads, small.size, small.other) == (HEADS - 1, HEADS, HEADS)
    assert same(model, compaction)


def dead_gpt(unread: Sequence[Sequence[int]]) -> GPT:
    torch.manual_seed(0)
    model = GPT(20, 12, layers=len(unread), width=24, heads=4).double().eval()
    for weight in model.parameters():
        weight.data.normal_(std=0.3)
    for block, heads in zip(model.blocks, unread, strict=True):
        block.attention.out.weight.data[:, columns(heads, 6)] = 0
    return model


def test_heads_of_a_gpt_go_block_by_block() -> None:
    model = dead_gpt([[1], [], [0, 2, 3]])
    compaction = compact(model, torch.randint(20, (2, 7)))
    assert [str(one) for one in compaction.report.attributes] == [
        "blocks.0.attention.heads: 4 → 3",
        "blocks.2.attention.heads: 4 → 1",
    ]
    assert [block.attention.qkv.out_features for block in compaction.model.blocks] == [54, 72, 18]
    for batch, length in ((1, 12), (3, 1), (2, 5)):
        tokens = torch.randint(20, (batch, length))
        assert gap(model, compaction.model, (tokens,)) < 1e-12


def test_a_gpt_with_fewer_heads_trains_on() -> None:
    tokens = torch.randint(20, (4, 12), generator=torch.Generator().manual_seed(1))
    model = compact(dead_gpt([[1, 2]]), tokens).model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(5):
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    again = compact(model.eval(), tokens)
    assert again.report.before == again.report.after
