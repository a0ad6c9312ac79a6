"""Every kind of model goes through pressure, cut, fine-tuning, a file, and a resumed run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tasks import Task, fit
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from l1prune import L1Pruning, Proximal, Sparsity, once

EPOCHS, BATCHES, SPARSITY = 4, 4, 0.7


class Apply(nn.Module):
    """A network and a way to call it."""

    def __init__(self, call: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.call = call
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self, x)


def tied() -> nn.Module:
    model = Apply(
        lambda m, x: m.head(m.middle(m.embed(x).mean(1))),
        embed=nn.Embedding(20, 8),
        middle=nn.Linear(8, 8),
        head=nn.Linear(8, 20, bias=False),
    )
    model.head.weight = model.embed.weight
    return model


def tied_layers() -> nn.Module:
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


def used_twice() -> nn.Module:
    shared = nn.Linear(8, 8)
    return nn.Sequential(shared, nn.Tanh(), shared)


def attention(width: int) -> nn.Module:
    layer = nn.MultiheadAttention(8, 2, kdim=width, vdim=width, batch_first=True)
    return Apply(lambda m, x: m.layer(x, x[..., :width], x[..., :width])[0], layer=layer)


def recurrent(kind: type[nn.Module], **options: Any) -> nn.Module:
    return Apply(lambda m, x: m.layer(x)[0], layer=kind(8, 6, batch_first=True, **options))


def frozen_backbone() -> nn.Module:
    backbone = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    backbone.requires_grad_(False)
    return Apply(lambda m, x: m.head(m.backbone(x)), backbone=backbone, head=nn.Linear(16, 4))


def adapters() -> nn.Module:
    base, down, up = nn.Linear(8, 8), nn.Linear(8, 3, bias=False), nn.Linear(3, 8, bias=False)
    base.requires_grad_(False)
    nn.init.zeros_(up.weight)
    return Apply(lambda m, x: m.base(x) + m.up(m.down(x)), base=base, down=down, up=up)


def raw() -> nn.Module:
    def table(*shape: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(*shape) / 4)

    return Apply(lambda m, x: x @ m.mixing @ m.other, mixing=table(8, 16), other=table(16, 8))


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), norm(nn.Linear(16, 8)))


def batch_norms() -> nn.Module:
    first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    return nn.Sequential(first, nn.BatchNorm1d(8 * 9), nn.Linear(8 * 9, 4), nn.BatchNorm1d(4))


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fourier = nn.Linear(8, 8, dtype=torch.complex64)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.fourier(torch.fft.fft(x)).abs())
        return out


def adversaries() -> nn.Module:
    return Apply(lambda m, x: m.critic(m.maker(x)), maker=nn.Linear(8, 8), critic=nn.Linear(8, 8))


def bert() -> nn.Module:
    hub = pytest.importorskip("transformers", reason="Hugging Face's models are not installed")
    config = hub.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return Apply(lambda m, x: m.model(x).logits, model=hub.BertForMaskedLM(config))


def gpt2() -> nn.Module:
    hub = pytest.importorskip("transformers", reason="Hugging Face's models are not installed")
    config = hub.GPT2Config(
        vocab_size=20,
        n_embd=8,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
    )
    return Apply(lambda m, x: m.model(x).logits, model=hub.GPT2LMHeadModel(config))


TOKENS: tuple[int, ...] = ()  # a shape that stands for six whole numbers below twenty


class Counting(Task):
    """Counts the exact zeros among the prunable weights at every forward."""

    def __init__(self, kind: Kind, pruning: L1Pruning) -> None:
        torch.manual_seed(0)
        super().__init__(kind.make(), data=data(kind))  # type: ignore[arg-type]
        self.kind, self.pruning = kind, pruning
        self.seen: list[tuple[str, int]] = []

    def loss(self, x: Any) -> Tensor:
        zeros = sum(int((self.net.get_parameter(n) == 0).sum()) for n in self.kind.weights.split())
        self.seen.append((self.pruning.phase, zeros))
        return (self.net(x).float() - 1).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([w for w in self.parameters() if w.requires_grad], lr=0.02)


def data(kind: Kind) -> Tensor:
    source = torch.Generator().manual_seed(1)
    if kind.shape is TOKENS:
        return torch.randint(20, (10 * BATCHES, 6), generator=source)
    return torch.randn(10 * BATCHES, *kind.shape, generator=source)


class Adversarial(Counting):
    """Two networks, each with an optimizer of its own."""

    automatic_optimization = False

    def training_step(self, x: Tensor, batch_idx: int) -> None:
        for optimizer, sign in zip(self.optimizers(), (1.0, -1.0)):
            optimizer.zero_grad()
            self.manual_backward(sign * self.loss(x) + (self.net.critic(x) - 1).square().mean())
            optimizer.step()

    def configure_optimizers(self) -> Any:
        parts = (self.net.critic, self.net.maker)
        return [torch.optim.Adam(part.parameters(), lr=0.02) for part in parts]


@dataclass(frozen=True)
class Kind:
    """A kind of model, with the names of what is pruned, and of what is not, with the reason."""

    name: str
    make: Callable[[], nn.Module]
    weights: str
    shape: tuple[int, ...] = (8,)
    skipped: dict[str, str] = field(default_factory=dict)
    targets: list[str] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    task: type[Counting] = Counting


QKV = "layer.q_proj_weight layer.k_proj_weight layer.v_proj_weight layer.out_proj.weight"
ENCODER = "self_attn.in_proj_weight self_attn.out_proj.weight linear1.weight linear2.weight"
LSTM = "layer.weight_ih_l0 layer.weight_hh_l0"
BOTH_WAYS = f"{LSTM} layer.weight_ih_l0_reverse layer.weight_hh_l0_reverse"
BERT = " ".join(
    [
        f"model.bert.encoder.layer.0.attention.self.{part}.weight"
        for part in ("query", "key", "value")
    ]
    + [
        "model.bert.encoder.layer.0.attention.output.dense.weight",
        "model.bert.encoder.layer.0.intermediate.dense.weight",
        "model.bert.encoder.layer.0.output.dense.weight",
        "model.cls.predictions.transform.dense.weight",
    ]
)
GPT2 = " ".join(
    f"model.transformer.h.0.{part}.weight"
    for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
)
WORDS = "model.bert.embeddings.word_embeddings.weight"
KINDS = [
    Kind("linear", lambda: nn.Linear(8, 8), "weight"),
    Kind("tied head", tied, "middle.weight", TOKENS, {"embed.weight": "tied to an embedding"}),
    Kind(
        "tied head by name",
        tied,
        "embed.weight middle.weight",
        TOKENS,
        targets=["embed.weight", "middle"],
    ),
    Kind("tied layers", tied_layers, "0.weight"),
    Kind("used twice", used_twice, "0.weight", skipped={"0.bias": "bias"}),
    Kind("attention", lambda: attention(8), "layer.in_proj_weight layer.out_proj.weight", (5, 8)),
    Kind("attention, q k v apart", lambda: attention(6), QKV, (5, 8)),
    Kind(
        "encoder",
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        ENCODER,
        (5, 8),
        {"norm1.weight": "normalisation"},
    ),
    Kind("LSTM", lambda: recurrent(nn.LSTM), LSTM, (5, 8)),
    Kind("LSTM both ways", lambda: recurrent(nn.LSTM, bidirectional=True), BOTH_WAYS, (5, 8)),
    Kind("GRU", lambda: recurrent(nn.GRU), LSTM, (5, 8)),
    Kind("conv 1d", lambda: nn.Conv1d(3, 8, 3), "weight", (3, 9)),
    Kind("conv 2d", lambda: nn.Conv2d(3, 8, 3), "weight", (3, 5, 5)),
    Kind("conv 3d", lambda: nn.Conv3d(2, 4, 3), "weight", (2, 5, 5, 5)),
    Kind("conv transposed", lambda: nn.ConvTranspose2d(3, 8, 3), "weight", (3, 5, 5)),
    Kind("conv grouped", lambda: nn.Conv2d(4, 8, 3, groups=2), "weight", (4, 5, 5)),
    Kind("conv depthwise", lambda: nn.Conv2d(4, 4, 3, groups=4), "weight", (4, 5, 5)),
    Kind(
        "channels last",
        lambda: nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last),
        "weight",
        (3, 5, 5),
    ),
    Kind(
        "BatchNorm",
        batch_norms,
        "0.0.weight 2.weight",
        (3, 5, 5),
        {"0.1.weight": "normalisation", "3.bias": "normalisation"},
    ),
    Kind(
        "frozen backbone", frozen_backbone, "head.weight", skipped={"backbone.0.weight": "frozen"}
    ),
    Kind("adapters", adapters, "down.weight up.weight", skipped={"base.weight": "frozen"}),
    Kind("raw parameters", raw, "mixing", skipped={"other": "name it in full"}, targets=["mixing"]),
    Kind(
        "weight_norm",
        lambda: normed(parametrizations.weight_norm),
        "0.weight",
        skipped={"1.parametrizations.weight.original1": "parametrized"},
    ),
    Kind(
        "spectral_norm",
        lambda: normed(parametrizations.spectral_norm),
        "0.weight",
        skipped={"1.parametrizations.weight.original": "parametrized"},
    ),
    Kind("bf16", lambda: nn.Linear(8, 8), "weight", options={"precision": "bf16-true"}),
    Kind("complex", Complex, "head.weight", skipped={"fourier.weight": "complex"}),
    Kind("GAN", adversaries, "maker.weight critic.weight", task=Adversarial),
    Kind("BERT", bert, BERT, TOKENS, {WORDS: "tied to an embedding"}),
    Kind("GPT-2", gpt2, GPT2, TOKENS, {"model.transformer.wte.weight": "tied to an embedding"}),
]


def train(kind: Kind, path: Path, resume: Path | None = None) -> Counting:
    targets = None if kind.targets is None else [f"net.{name}" for name in kind.targets]
    strong = {"strength": 0.3, "form": Proximal(), "prune_at": once(0.5)}
    pruning = L1Pruning(threshold=Sparsity(SPARSITY), targets=targets, **strong)
    saves = ModelCheckpoint(path, filename="{epoch}", save_top_k=-1)
    task = kind.task(kind, pruning)
    plan = {"epochs": EPOCHS, "limit_val_batches": 1, **kind.options}
    fit(task, pruning, saves, resume=resume, **plan)
    return task


def same(a: nn.Module, b: nn.Module) -> bool:
    states = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in states)


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_model_of_this_kind_goes_all_the_way(kind: Kind, tmp_path: Path) -> None:
    task = train(kind, tmp_path)
    report, start = task.pruning.report, kind.task(kind, L1Pruning())

    # What is pruned, and what is not, and why.
    assert report is not None
    assert {layer.name for layer in report.layers} == {f"net.{n}" for n in kind.weights.split()}
    assert {layer.name for layer in report.layers} | set(report.skipped) == set(
        dict(task.named_parameters())
    )
    for name, reason in kind.skipped.items():
        assert reason in report.skipped[f"net.{name}"]
    for before, after in zip(start.parameters(), task.parameters()):
        assert torch.equal(before, after) == (not before.requires_grad)

    # Pressure made zeros; the cut made as many as it should; every forward since has seen them.
    gone = report.prunable - report.nonzero
    assert 0 <= gone - SPARSITY * report.prunable < 1
    pressed = [zeros for phase, zeros in task.seen if phase == "press"]
    assert 0 < pressed[-1] < gone
    assert {zeros for phase, zeros in task.seen if phase == "tune"} == {gone}

    # Resumed under pressure, or after the cut, it ends where the run that was not stopped ends.
    for epochs_done in (1, 3):
        path = tmp_path / f"epoch={epochs_done - 1}.ckpt"
        assert same(task, train(kind, tmp_path, resume=path))

    # The file loads into the bare model, which then does the same.
    saved = torch.load(tmp_path / f"epoch={EPOCHS - 1}.ckpt", weights_only=True)["state_dict"]
    bare = kind.make()
    bare.load_state_dict({name.removeprefix("net."): w for name, w in saved.items()})
    with torch.no_grad():
        assert torch.equal(bare.eval()(data(kind)), task.net.float().eval()(data(kind)))


def test_the_fast_path_of_an_encoder_sees_the_zeros(tmp_path: Path) -> None:
    (kind,) = [kind for kind in KINDS if kind.name == "encoder"]
    net = train(kind, tmp_path).net.eval()
    x = data(kind)
    with torch.no_grad():
        fast = net(x)
    slow = net(x)  # with gradients, layer by layer
    assert slow.requires_grad and not fast.requires_grad
    assert not torch.equal(fast, kind.make().eval()(x))
    torch.testing.assert_close(fast, slow)


def test_a_lazy_model_is_refused_before_the_first_step(tmp_path: Path) -> None:
    kind = Kind("lazy", lambda: nn.Sequential(nn.Linear(8, 8), nn.LazyLinear(4)), "0.weight")
    with pytest.raises(ValueError, match="run one batch through the model before training it"):
        train(kind, tmp_path)
