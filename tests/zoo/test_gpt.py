"""A GPT cannot see the future, has the parameters that its formula says, and keeps embeddings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from l1prune import find_targets
from l1prune.zoo.gpt import GPT

VOCABULARY, LENGTH, LAYERS, WIDTH, HEADS = 11, 8, 2, 24, 3


@pytest.fixture
def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(VOCABULARY, LENGTH, LAYERS, WIDTH, HEADS)


@pytest.mark.parametrize("changed", [1, 5, LENGTH - 1])
def test_a_later_token_does_not_change_earlier_logits(gpt: GPT, changed: int) -> None:
    tokens = torch.randint(VOCABULARY, (2, LENGTH))
    others = tokens.clone()
    others[:, changed] = (tokens[:, changed] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = gpt(tokens), gpt(others)
    torch.testing.assert_close(after[:, :changed], before[:, :changed])
    differs = (after - before).abs().amax((0, 2)) > 1e-4
    assert differs[changed:].all()  # it sees itself, and all that follows sees it


def test_a_sequence_may_be_shorter(gpt: GPT) -> None:
    tokens = torch.randint(VOCABULARY, (2, LENGTH))
    with torch.no_grad():
        torch.testing.assert_close(gpt(tokens[:, :3]), gpt(tokens)[:, :3])


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_parameters_are_twelve_widths_squared_a_layer_and_the_edges(layers: int) -> None:
    gpt = GPT(VOCABULARY, LENGTH, layers, WIDTH, HEADS)
    matrices, biases, norms = 12 * WIDTH**2, 9 * WIDTH, 4 * WIDTH
    edges = (2 * VOCABULARY + LENGTH) * WIDTH + 2 * WIDTH
    expected = layers * (matrices + biases + norms) + edges
    assert sum(p.numel() for p in gpt.parameters()) == expected


def test_every_matrix_is_pruned_but_the_embeddings(gpt: GPT) -> None:
    targets = find_targets(gpt)
    layers = [f"{n}.weight" for n, module in gpt.named_modules() if isinstance(module, nn.Linear)]
    assert [target.name for target in targets] == layers
    assert len(layers) == 4 * LAYERS + 1
    embeddings = {name for name, why in targets.skipped.items() if why == "embedding"}
    assert embeddings == {"embedding.weight", "position.weight"}


def test_untrained_it_finds_all_tokens_about_equally_likely(gpt: GPT) -> None:
    with torch.no_grad():
        logits = gpt(torch.randint(VOCABULARY, (4, LENGTH))).flatten(0, 1)
    loss = nn.functional.cross_entropy(logits, torch.randint(VOCABULARY, (4 * LENGTH,)))
    assert float(loss) == pytest.approx(math.log(VOCABULARY), abs=0.1)


def test_what_does_not_fit_is_refused_with_its_numbers(gpt: GPT) -> None:
    with pytest.raises(ValueError, match=r"heads=5 must divide width=24"):
        GPT(VOCABULARY, LENGTH, width=24, heads=5)
    with pytest.raises(ValueError, match=r"9 in a row, but this GPT was built for 8"):
        gpt(torch.zeros(1, LENGTH + 1, dtype=torch.long))
