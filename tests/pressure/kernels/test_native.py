"""Compiled C: the bits of eager torch, and nothing that it cannot do."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
from torch import Tensor

from l1prune.pressure.kernels.eager import Eager
from l1prune.pressure.kernels.native import Native
from l1prune.pressure.kernels.passes import Correction, Pass, Threshold

pytestmark = pytest.mark.skipif(not Native.is_there(), reason="no C compiler")
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def special(dtype: torch.dtype) -> Tensor:
    """Zeros of both signs, subnormal, extreme, infinite and no numbers."""
    most = torch.finfo(dtype)
    numbers = [0.0, most.tiny / 8, most.tiny, 1e-3, 0.5, 1.0, most.max, float("inf")]
    both = torch.tensor([*numbers, float("nan")], dtype=torch.float64)
    return torch.cat([both, -both]).to(dtype)


def sample(dtype: torch.dtype, count: int = 3001) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, squares and a mask: every special weight beside every special square first."""
    generator = torch.Generator().manual_seed(1)

    def spread(scale: float) -> Tensor:
        return torch.randn(count, generator=generator).mul_(scale).exp_()

    few = special(dtype)
    pairs = torch.cartesian_prod(torch.arange(len(few)), torch.arange(len(few)))
    signs = torch.randn(count, generator=generator)
    w = torch.cat([few[pairs[:, 0]], (signs * spread(3)).to(dtype)])
    second = torch.cat([few[pairs[:, 1]].abs(), spread(4).to(dtype)])
    return w, second, torch.rand(len(w), generator=generator) > 0.4


def same_bits(a: Tensor, b: Tensor) -> bool:
    """But for the sign of zero, which in eager torch depends on the place, and NaN's payload."""
    bits = INTEGERS[a.element_size()]
    return bool(((a.view(bits) == b.view(bits)) | (a == b) | (a.isnan() & b.isnan())).all())


INF = float("inf")
THRESHOLDS = list(
    itertools.product((1e-6, 0.3, INF, 1e300), (0.0, 1e-8), (1.0, 0.0316), (INF, 0.2))
)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rooted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_eager_torch_to_the_bit(dtype: torch.dtype, rooted: bool, masked: bool) -> None:
    """Of float64 a root may differ in its last place: torch's own is not rounded to nearest."""
    w, second, mask = sample(dtype)
    for amount, eps, correction, most in THRESHOLDS:
        by = Threshold(amount, second if rooted else None, correction, eps, most)
        ours, theirs = w.clone(), w.clone()
        assert not Native().run([Pass(ours, by, mask if masked else None, 5)])
        Eager().run([Pass(theirs, by, mask if masked else None, 5)])
        if rooted and dtype == torch.float64:
            t = (amount / (second.sqrt() / correction + eps)).clamp(max=most)
            t = t.nan_to_num(0.0, 0.0, 0.0)
            far = (ours - theirs).abs() > 1e-15 * (theirs.abs() + t)
            assert not (far & theirs.isfinite()).any()
        else:
            assert same_bits(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_what_is_removed_becomes_positive_zero_whatever_it_was(dtype: torch.dtype) -> None:
    w, _, mask = sample(dtype)
    before = w.clone()
    assert not Native().run([Pass(w, mask=mask)])
    bits = INTEGERS[w.element_size()]
    assert not w[~mask].view(bits).any()
    assert torch.equal(w[mask].view(bits), before[mask].view(bits))


def test_many_threads_do_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(n) for n in (0, 1, 65536, 65537, 1_200_000)]
    one, many = ([w.clone() for w in weights] for _ in range(2))
    Native().run([Pass(w, Threshold(0.1)) for w in one])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    Native().run([Pass(w, Threshold(0.1)) for w in many])
    assert all(map(torch.equal, one, many))


def test_tensors_that_have_moved_are_found_again() -> None:
    """As after a resumed checkpoint: the same parameter with other memory, of another type."""
    w, kernel = torch.nn.Parameter(torch.ones(100)), Native()
    kernel.run([Pass(w, Threshold(0.5))])
    for new in (torch.ones(100), torch.ones(7), torch.ones(100, dtype=torch.float64)):
        w.data = new
        assert not kernel.run([Pass(w, Threshold(0.25))])
        assert torch.equal(w.data, torch.full_like(new, 0.75))


@pytest.mark.parametrize(
    "one",
    [
        Pass(torch.ones(4, 4).t()[:2].t(), Threshold(0.5)),
        Pass(torch.ones(4), Threshold(0.5, torch.ones(4, dtype=torch.float64))),
        Pass(torch.ones(4), Threshold(0.5, torch.ones(3))),
        Pass(torch.ones(4), mask=torch.ones(4)),
        Pass(torch.ones(4), mask=torch.ones(3, dtype=torch.bool)),
        Pass(torch.ones(4), Threshold(torch.tensor(0.5))),
        Pass(torch.ones(4), Threshold(0.5, torch.ones(4), Correction(0.9, torch.ones(())))),
        Pass(torch.ones(4, dtype=torch.float16), Threshold(0.5)),
        Pass(torch.ones(4, device="meta"), Threshold(0.5)),
        Pass(torch.ones(4).to_sparse(), Threshold(0.5)),
    ],
)
def test_what_it_cannot_do_it_leaves(one: Pass) -> None:
    able = Pass(torch.ones(4), Threshold(0.5))
    assert Native().run([able, one]) == [one]
    assert torch.equal(able.w, torch.full((4,), 0.5))


def test_weights_that_share_memory_are_left_to_torch() -> None:
    memory = torch.ones(6)
    passes = [Pass(memory[:4], Threshold(0.5)), Pass(memory[2:], Threshold(0.5))]
    assert Native().run(passes) == passes and bool((memory == 1).all())


def test_of_nothing_it_makes_nothing() -> None:
    assert not Native().run([])


def test_autograd_sees_that_weights_were_written_to() -> None:
    w = torch.ones(4)
    before = w._version
    Native().run([Pass(w, Threshold(0.5))])
    assert w._version > before


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_holds_no_address(again: object) -> None:
    kernel, w = Native(), torch.ones(4)
    kernel.run([Pass(w, Threshold(0.5))])
    assert callable(again)
    other = again(kernel)
    v = torch.ones(4)
    assert not other.run([Pass(v, Threshold(0.5))])
    assert torch.equal(w, v)


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_what_is_drawn_does_not_go_by_the_default_dtype(default: torch.dtype) -> None:
    expected, found = torch.ones(4096, dtype=torch.bfloat16), torch.ones(4096, dtype=torch.bfloat16)
    Native().run([Pass(expected, Threshold(2**-10), None, 5)])
    torch.set_default_dtype(default)
    try:
        Native().run([Pass(found, Threshold(2**-10), None, 5)])
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
