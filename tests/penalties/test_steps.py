"""Working piece by piece, and on any layout of memory, changes nothing but the time it takes."""

import pytest
import torch
from penalty_samples import every_penalty, weights

from l1prune.weights import pieces


@every_penalty
@pytest.mark.parametrize("steps", ["one", "each"])
@pytest.mark.parametrize("piece", [5, 1000])
def test_memory_layout_does_not_matter(penalty, steps, piece, monkeypatch):
    t = 0.05 if steps == "one" else weights(4, 8, 3, 2, seed=1).abs()
    expected = penalty.prox_(weights(4, 8, 3, 4)[..., ::2].contiguous(), t)
    monkeypatch.setattr(pieces, "_PIECE", piece)

    strided = weights(4, 8, 3, 4)
    penalty.prox_(strided[..., ::2], t)
    torch.testing.assert_close(strided[..., ::2], expected, rtol=1e-12, atol=0)
    assert torch.equal(strided[..., 1::2], weights(4, 8, 3, 4)[..., 1::2])  # not ours

    last = weights(4, 8, 3, 4)[..., ::2].contiguous(memory_format=torch.channels_last)
    penalty.prox_(last, t)
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.contiguous(), expected, rtol=1e-12, atol=0)


@every_penalty
@pytest.mark.parametrize("steps", ["one", "row", "each"])
def test_working_piece_by_piece_changes_nothing(penalty, steps, monkeypatch):
    shape = {"row": (8,), "each": (6, 8)}.get(steps)
    t = weights(*shape, seed=1).abs() if shape else 0.05
    whole = penalty.prox_(weights(6, 8), t)
    monkeypatch.setattr(pieces, "_PIECE", 5)
    torch.testing.assert_close(penalty.prox_(weights(6, 8), t), whole, rtol=1e-12, atol=0)


def test_pieces_cover_each_weight_once_and_belong_together(monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE", 5)
    w, t = torch.zeros(7, 3), torch.arange(21.0).view(7, 3)
    walked = list(pieces.pieces(w, t, torch.tensor(2.0)))
    assert len(walked) > 1
    for weight, step, factor in walked:
        weight.add_(step * factor)
    assert torch.equal(w, 2 * t)
