"""Models of Hugging Face: hidden units and heads of their blocks go, layers run sparse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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


def llama(groups: int = 1) -> Any:
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


# The model, and a name that its blocks' first layers share, with the dimension of their outputs.
MODELS: dict[str, tuple[Callable[[], Any], str, int]] = {
    "GPT-2": (gpt2, "c_fc.weight", 1),
    "BERT": (bert, "intermediate.dense.weight", 0),
    "Llama": (llama, "gate_proj.weight", 0),
    "ViT": (vit, "fc1.weight", 0),
    "ResNet": (resnet, "layers.0.layer.0.convolution.weight", 0),
    "ConvNeXt": (convnext, "pwconv1.weight", 0),
}


# The same for the layer that reads the heads, with the dimension of its inputs.
ATTENTIONS: dict[str, tuple[Callable[[], Any], str, int]] = {
    "GPT-2": (gpt2, "attn.c_proj.weight", 0),
    "BERT": (bert, "attention.output.dense.weight", 1),
    "Llama": (lambda: llama(groups=2), "o_proj.weight", 1),
    "ViT": (vit, "o_proj.weight", 1),
}


def wrapped(make: Callable[[], Any]) -> nn.Module:
    model = make().eval()
    model.config.use_cache = False
    return Apply(lambda m, x: m.model(x).logits, model=model).eval()


def example_of(name: str) -> Tensor:
    if name in ("ViT", "ResNet", "ConvNeXt"):
        return torch.randn(2, 3, 8 if name == "ViT" else 32, 8 if name == "ViT" else 32)
    return torch.randint(20, (2, 7))


@pytest.mark.parametrize("name", MODELS)
def test_the_hidden_units_of_its_blocks_go(name: str) -> None:
    make, part, dim = MODELS[name]
    torch.manual_seed(0)
    model = wrapped(make)
    example = example_of(name)
    names = [one for one, _ in model.named_parameters() if one.endswith(part)]
    for one in names:
        weight = model.get_parameter(one)
        dead = torch.arange(0, weight.shape[dim], 3)
        weight.data.index_fill_(dim, dead, 0)
    compaction = compact(model, example)
    assert names and not compaction.report.refused
    for one in names:
        before, after = model.get_parameter(one), compaction.model.get_parameter(one)
        # A third is dead; of constants that meet padding, one stays for all.
        assert after.shape[dim] <= before.shape[dim] * 2 // 3 + 1
    assert compaction.report.difference64 < 1e-12
    assert gap(model, compaction.model, (example,)) < 1e-6
    loaded = load_compact(wrapped(make), compaction.model.state_dict())
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


@pytest.mark.parametrize(
    ("name", "way"), [*((name, "sdpa") for name in ATTENTIONS), ("BERT", "eager")]
)
def test_a_head_of_its_attention_goes(name: str, way: str) -> None:
    make, part, dim = ATTENTIONS[name]

    def made() -> nn.Module:
        model = wrapped(make)
        model.model.set_attn_implementation(way)
        return model

    torch.manual_seed(0)
    model = made()
    example: Tensor = torch.randn(2, 3, 8, 8) if name == "ViT" else torch.randint(20, (2, 7))
    (one,) = [one for one, _ in model.named_parameters() if one.endswith(part)]
    model.get_parameter(one).data.index_fill_(dim, torch.arange(8), 0)
    compaction = compact(model, example)
    assert compaction.model.get_parameter(one).shape[dim] == 8
    assert compaction.report.difference64 < 1e-12
    loaded = load_compact(made(), compaction.model.state_dict(), example)
    assert gap(compaction.model, loaded, (example,)) == 0


def test_heads_that_share_all_keys_stay() -> None:
    torch.manual_seed(0)
    model = wrapped(llama)
    attention = model.model.model.layers[0].self_attn
    attention.o_proj.weight.data[:, :8] = 0
    report = compact(model, torch.randint(20, (2, 7))).report
    assert report.before == report.after
