"""Inputs: others like an example, of its kind and of other sizes."""

from __future__ import annotations

import torch

from l1prune.deploy.inputs import (
    arguments,
    at_batches,
    in_batches,
    resized,
    tensors,
    variations,
)


def test_variations_have_other_sizes_and_the_examples_kind() -> None:
    floats = torch.full((2, 6, 3), 100.0, dtype=torch.bfloat16)
    words = torch.tensor([[3, 9, 4], [5, 5, 5]])
    call = arguments({"x": floats, "words": words, "mask": words > 4, "flag": True})
    found = list(variations(call, [{(0, 1): 11, (1, 1): 11, (2, 1): 11}]))
    for args, kwargs in found:
        assert args == () and list(kwargs) == ["x", "words", "mask", "flag"] and kwargs["flag"]
        assert kwargs["x"].dtype == torch.bfloat16 and kwargs["x"].abs().max() > 10
        assert kwargs["words"].min() >= 3 and kwargs["words"].max() <= 9
        assert kwargs["mask"].dtype == torch.bool
        assert kwargs["words"].shape == kwargs["mask"].shape
    batches = {tuple(kwargs["x"].shape[:2]) for _, kwargs in found}
    assert {(1, 6), (3, 6), (8, 6), (2, 1), (2, 7), (2, 27), (2, 11)} <= batches
    assert {(2, 1), (2, 4), (2, 15), (2, 11)} <= {tuple(kw["words"].shape) for _, kw in found}


def test_of_the_examples_size_only_unless_others_are_asked_for() -> None:
    call = arguments((torch.ones(2, 3), torch.ones(2)))
    for variation in variations(call, None):
        assert [one.shape for one in tensors(variation)] == [one.shape for one in tensors(call)]


def test_the_same_numbers_come_again() -> None:
    call = arguments(torch.ones(2, 3))
    for one, other in zip(variations(call, []), variations(call, [])):
        assert torch.equal(one[0][0], other[0][0])


def test_a_longer_tensor_repeats_the_example() -> None:
    call = arguments(torch.arange(3))
    assert resized(call, {(0, 0): 7})[0][0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert resized(call, {(1, 0): 7})[0][0].tolist() == [0, 1, 2]


def test_an_example_grows_and_shrinks_along_its_batch() -> None:
    call = arguments({"x": torch.arange(6).reshape(2, 3), "mask": torch.ones(2), "scale": 2.0})
    found = at_batches(call, (1, 5))
    assert [value[1]["x"].shape for value in found.values()] == [(1, 3), (5, 3)]
    assert found[5][1]["mask"].shape == (5,) and found[5][1]["scale"] == 2.0
    assert found[5][1]["x"][:, 0].tolist() == [0, 3, 0, 3, 0]
    assert at_batches(call, None) == {2: call}


def test_another_batch_lies_in_memory_as_the_example_does() -> None:
    images = torch.rand(4, 3, 8, 8).to(memory_format=torch.channels_last)
    [more] = tensors(in_batches(arguments((images, 1)), 6))
    assert more.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(more, torch.cat([images, images[:2]]))
    wider = resized(arguments(images), {(0, 3): 11})
    assert torch.equal(tensors(wider)[0], torch.cat([images, images[..., :3]], dim=3))
