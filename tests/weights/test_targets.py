"""Which weights are under pressure."""

import pytest
import torch
from torch import nn

from l1prune.weights.rules import ByName, ByRegex, ByType
from l1prune.weights.targets import find_targets


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.conv = nn.Conv1d(4, 6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.attention = nn.MultiheadAttention(6, 2)
        self.rnn = nn.LSTM(6, 5)
        self.head = nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.ones(2, 2))


def names(model: nn.Module, rules: object = None) -> list[str]:
    return [target.name for target in find_targets(model, rules)]  # type: ignore[arg-type]


def test_layers_weights_are_chosen_and_biases_norms_embeddings_are_not() -> None:
    assert names(Net()) == [
        "conv.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
        "head.weight",
    ]


def test_every_parameter_is_either_chosen_or_skipped_with_a_reason() -> None:
    model = Net()
    found = find_targets(model)
    every = {name for name, _ in model.named_parameters()}
    assert {t.name for t in found} | set(found.skipped) == every
    assert not {t.name for t in found} & set(found.skipped)
    assert found.skipped["norm.weight"] == "normalisation"
    assert found.skipped["embed.weight"] == "embedding"
    assert found.skipped["head.bias"] == "bias or scale"
    assert "in full" in found.skipped["scale"]


def test_a_tied_weight_is_one_weight() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert names(nn.Sequential(first, second)) == ["0.weight"]


def test_a_weight_tied_to_an_embedding_is_left_alone() -> None:
    embed, head, middle = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False), nn.Linear(4, 4)
    head.weight = embed.weight
    found = find_targets(nn.Sequential(middle, embed, head))
    assert [t.name for t in found] == ["0.weight"]
    assert found.skipped["1.weight"] == "tied to an embedding"


def test_a_module_used_twice_is_one_weight() -> None:
    shared = nn.Linear(3, 3)
    assert names(nn.Sequential(shared, nn.ReLU(), shared)) == ["0.weight"]


def test_frozen_and_parametrized_weights_are_skipped_with_a_reason() -> None:
    frozen, normed, old = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    frozen.weight.requires_grad_(False)
    nn.utils.parametrizations.weight_norm(normed)
    nn.utils.spectral_norm(old)
    found = find_targets(nn.Sequential(nn.Linear(2, 2), frozen, normed, old))
    assert [t.name for t in found] == ["0.weight"]
    assert found.skipped["1.weight"] == "frozen"
    assert "parametrized" in found.skipped["2.parametrizations.weight.original0"]
    assert "parametrized" in found.skipped["3.weight_orig"]


def test_a_weight_under_torch_prune_is_skipped_with_the_remedy() -> None:
    pruned = nn.Linear(4, 4)
    nn.utils.prune.l1_unstructured(pruned, "weight", 0.5)
    found = find_targets(nn.Sequential(nn.Linear(4, 4), pruned))
    assert "prune.remove" in found.skipped["1.weight_orig"]


def test_complex_weights_are_skipped() -> None:
    found = find_targets(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype=torch.complex64)))
    assert found.skipped["1.weight"] == "complex"


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        (["head"], ["head.weight"]),
        (["*.out_proj.weight"], ["attention.out_proj.weight"]),
        (["rnn.*"], ["rnn.weight_ih_l0", "rnn.weight_hh_l0"]),
        ([ByRegex(r"weight_[ih]h")], ["rnn.weight_ih_l0", "rnn.weight_hh_l0"]),
        ([nn.Conv1d], ["conv.weight"]),
        ([ByType("torch.nn.Conv1d")], ["conv.weight"]),
        (["norm.weight", "scale"], ["scale", "norm.weight"]),
    ],
)
def test_rules_choose(rules: object, chosen: list[str]) -> None:
    assert names(Net(), rules) == chosen


def test_the_first_rule_that_fits_decides_the_factor() -> None:
    found = find_targets(Net(), {"head": 3.0, "conv": 0.0, "*": 1.0})
    factors = {t.name: t.factor for t in found}
    assert factors["head.weight"] == 3.0
    assert factors["conv.weight"] == 0.0
    assert factors["rnn.weight_ih_l0"] == 1.0


def test_a_compiled_model_answers_to_the_users_own_names() -> None:
    model = nn.Module()
    model.net = torch.compile(nn.Sequential(nn.Linear(2, 2)))
    assert names(model, ["net.0"]) == ["net._orig_mod.0.weight"]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (["haed.weight"], "did you mean head.weight"),
        (["norm"], "fits no weight"),
        ("head", "put it in"),
        ([3], "3 is no pattern"),
        ({"head": -1.0}, "factor must be"),
    ],
)
def test_wrong_rules_are_refused_with_the_remedy(rules: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        find_targets(Net(), rules)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ByRegex("("), "no regular expression"),
        (lambda: ByType("torch.nn.Lineal"), "import path"),
        (lambda: ByType("nonsense"), "import path"),
        (lambda: ByName("a", float("nan")), "factor"),
    ],
)
def test_rules_are_checked_when_they_are_made(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


def test_a_lazy_module_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="run one batch"):
        find_targets(nn.Sequential(nn.LazyLinear(3)))


def test_a_model_without_weights_is_refused_with_every_reason() -> None:
    with pytest.raises(ValueError, match=r"weight: normalisation"):
        find_targets(nn.Sequential(nn.LayerNorm(3)))
