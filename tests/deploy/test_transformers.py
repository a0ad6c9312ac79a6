"""Models of Hugging Face: hidden units and heads of their blocks go, layers run sparse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from dead_units import Apply, gap
from torch import Tensor, nn

from l1prune.deploy import compact, load_compact, sparse

hub = pytest.importorskip("transformers", reason="Hugging Face's models are not installed")

SIZE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = {"vocab_size": 20, "max_position_embeddings": 16}


def gpt2() -> Any:
    config = hub.GPT2Config(
        vocab_size=20,
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return hub.GPT2LMHeadModel(config)


def bert() -> Any:
    return hub.BertForMaskedLM(hub.BertConfig(intermediate_size=32, **SIZE, **WORDS))


def llama(groups: int = 2) -> Any:
    config = hub.LlamaConfig(
        intermediate_size=32, num_key_value_heads=groups, use_cache=False, **SIZE, **WORDS
    )
    return hub.LlamaForCausalLM(config)


def vit() -> Any:
    config = hub.ViTConfig(intermediate_size=32, image_size=8, patch_size=4, **SIZE)
    return hub.ViTForImageClassification(config)


def resnet() -> Any:
    config = hub.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    return hub.ResNetForImageClassification(config)


def convnext() -> Any:
    config = hub.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    return hub.ConvNextForImageClassification(config)


class Part(NamedTuple):
    """Parameters that share the end of their names, and the dimension of what is to be dead."""

    ending: str
    dim: int


# The model, the first layers of its blocks, by their outputs, and what reads its heads.
MODELS: dict[str, tuple[Callable[[], Any], Part, Part | None]] = {
    "GPT-2": (gpt2, Part("c_fc.weight", 1), Part("attn.c_proj.weight", 0)),
    "BERT": (bert, Part("intermediate.dense.weight", 0), Part("attention.output.dense.weight", 1)),
    "Llama": (llama, Part("gate_proj.weight", 0), Part("o_proj.weight", 1)),
    "ViT": (vit, Part("fc1.weight", 0), Part("o_proj.weight", 1)),
    "ResNet": (resnet, Part("layers.0.layer.0.convolution.weight", 0), None),
    "ConvNeXt": (convnext, Part("pwconv1.weight", 0), None),
}


def wrapped(make: Callable[[], Any]) -> nn.Module:
    model = make().eval()
    model.config.use_cache = False
    return Apply(lambda m, x: m.model(x).logits, model=model).eval()


def example_of(name: str) -> Tensor:
    if name in ("ViT", "ResNet", "ConvNeXt"):
        return torch.randn(2, 3, 8 if name == "ViT" else 32, 8 if name == "ViT" else 32)
    return torch.randint(20, (2, 7))


def kill(model: nn.Module, part: Part, which: slice) -> dict[str, int]:
    """Set units, or what reads them, to zero; returns how many there were, by parameter."""
    names = [name for name, _ in model.named_parameters() if name.endswith(part.ending)]
    for name in names:
        weight = model.get_parameter(name)
        dead = torch.arange(weight.shape[part.dim])[which]
        weight.data.index_fill_(part.dim, dead, 0)
    return {name: model.get_parameter(name).shape[part.dim] for name in names}


@pytest.mark.parametrize("name", MODELS)
def test_hidden_units_and_a_head_of_its_blocks_go(name: str) -> None:
    make, units, heads = MODELS[name]
    torch.manual_seed(0)
    model = wrapped(make)
    example = example_of(name)
    before = kill(model, units, slice(None, None, 3))
    halved = kill(model, heads, slice(8)) if heads else {}
    compaction = compact(model, example)
    assert before and bool(halved) == bool(heads) and not compaction.report.refused
    for one, count in before.items():
        # A third is dead; of constants that meet padding, one stays for all.
        assert compaction.model.get_parameter(one).shape[units.dim] <= count * 2 // 3 + 1
    for one in halved:
        assert heads and compaction.model.get_parameter(one).shape[heads.dim] == 8
    assert compaction.report.difference64 < 1e-12
    assert gap(model, compaction.model, (example,)) < 1e-6
    loaded = load_compact(wrapped(make), compaction.model.state_dict(), example)
    assert gap(compaction.model, loaded, (example,)) == 0


@pytest.mark.parametrize("name", MODELS)
def test_its_layers_run_sparse(name: str) -> None:
    torch.manual_seed(0)
    model = wrapped(MODELS[name][0])
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= torch.rand(weight.shape) < 0.2
    x = example_of(name)

    def sparse_leads(works: Sequence[Any]) -> list[list[float]]:
        return [[1.0 if number else 2.0] * 3 for number in range(len(works))]

    execution = sparse(model, x, batches=(1, 3), timer=sparse_leads)
    assert len(execution.report.layers) >= 4
    torch.testing.assert_close(execution.model(x), model(x), rtol=1e-4, atol=1e-4)


def test_a_head_goes_however_its_attention_is_computed() -> None:
    torch.manual_seed(0)
    model, example = wrapped(bert), example_of("BERT")
    model.model.set_attn_implementation("eager")
    (one,) = kill(model, Part("attention.output.dense.weight", 1), slice(8))
    compaction = compact(model, example)
    assert compaction.model.get_parameter(one).shape[1] == 8
    assert compaction.report.difference64 < 1e-12


def test_heads_that_share_all_keys_stay() -> None:
    torch.manual_seed(0)
    model = wrapped(lambda: llama(groups=1))
    attention = model.model.model.layers[0].self_attn
    attention.o_proj.weight.data[:, :8] = 0
    report = compact(model, torch.randint(20, (2, 7))).report
    assert report.before == report.after
