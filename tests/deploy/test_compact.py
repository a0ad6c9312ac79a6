"""compact: the same function for all inputs, of whatever is left of a model; or a refusal."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dead_units import Apply, gap, table, with_dead_units
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from l1prune.deploy import compact, load_compact
from l1prune.zoo import GPT, resnet20

Linear, Conv = nn.Linear, nn.Conv2d
SLOW = settings(
    max_examples=5, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def tied_embedding() -> nn.Module:
    model = Apply(
        lambda m, x: m.head(m.middle(m.embed(x).mean(1)).relu()),
        embed=nn.Embedding(20, 8),
        middle=Linear(8, 8),
        head=Linear(8, 20, bias=False),
    )
    model.head.weight = model.embed.weight
    return model


def tied_layers() -> nn.Module:
    first, second = Linear(8, 8), Linear(8, 8)
    second.weight = first.weight
    return nn.Sequential(
        Linear(6, 8), nn.Tanh(), first, nn.Sigmoid(), second, nn.ELU(), Linear(8, 3)
    )


def used_twice() -> nn.Module:
    shared = Linear(8, 8)
    return nn.Sequential(Linear(6, 8), nn.Sigmoid(), shared, nn.Tanh(), shared, Linear(8, 3))


def gate() -> nn.Module:
    return Apply(
        lambda m, x: m.down(m.up(x) * torch.sigmoid(m.gate(x))),
        up=Linear(6, 16),
        gate=Linear(6, 16),
        down=Linear(16, 3),
    )


def residual() -> nn.Module:
    def block(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x).relu()
        x = (x + m.norm(m.second(m.first(x).relu()))).relu()
        return m.head(x.mean((2, 3)))

    return Apply(
        block,
        stem=Conv(3, 12, 3, padding=1),
        first=Conv(12, 12, 3, padding=1, bias=False),
        second=Conv(12, 12, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(12),
        head=Linear(12, 4),
    )


def excitation() -> nn.Module:
    def call(m: Any, x: Tensor) -> Tensor:
        x = F.silu(m.norm(m.conv(x)))
        weight = torch.sigmoid(m.up(m.down(x.mean((2, 3), keepdim=True)).relu()))
        return m.out(x * weight)

    return Apply(
        call,
        conv=Conv(3, 12, 3, padding=1),
        norm=nn.BatchNorm2d(12),
        down=Conv(12, 4, 1),
        up=Conv(4, 12, 1),
        out=Conv(12, 5, 3, padding=1),
    )


def autoencoder() -> nn.Module:
    def call(m: Any, x: Tensor) -> Tensor:
        wide = m.first(x).sigmoid()
        deep = F.softplus(m.up(m.down(wide).relu()))
        return m.out(torch.cat([wide, deep], 1))

    return Apply(
        call,
        first=Conv(3, 8, 3, padding=1),
        down=Conv(8, 16, 3, stride=2, padding=1),
        up=nn.ConvTranspose2d(16, 8, 2, stride=2),
        out=Conv(8 + 8, 3, 3, padding=1),
    )


def free_parameters() -> nn.Module:
    model = Apply(
        lambda m, x: m.out(torch.tanh((m.first(x) * m.scale + m.shift) * m.factor) * m.mask),
        first=Linear(6, 16),
        scale=table(16),
        shift=table(1, 16),
        factor=table(1),
        out=Linear(16, 3),
    )
    model.register_buffer("mask", torch.ones(16))
    return model


def raw_weights() -> nn.Module:
    return Apply(
        lambda m, x: F.linear(x, m.up, m.shift).sigmoid() @ m.down,
        up=table(16, 6),
        shift=table(16),
        down=table(16, 3),
    )


def mixer() -> nn.Module:
    def call(m: Any, x: Tensor) -> Tensor:
        x = m.embedding(x)
        x = x + m.places2(F.gelu(m.places1(x.mT))).mT
        x = x + m.channels2(F.gelu(m.channels1(x)))
        return m.head(x.mean(1))

    return Apply(
        call,
        embedding=Linear(4, 12),
        places1=Linear(5, 16),
        places2=Linear(16, 5),
        channels1=Linear(12, 24),
        channels2=Linear(24, 12),
        head=Linear(12, 3),
    )


def several_outputs() -> nn.Module:
    def call(m: Any, x: Tensor, y: Tensor) -> Any:
        hidden = m.first(x).relu() + y[:, :1]
        return {"one": m.one(hidden), "both": (m.other(hidden), y)}

    return Apply(call, first=Linear(6, 16), one=Linear(16, 4), other=Linear(16, 2))


def whole_groups() -> nn.Module:
    model = nn.Sequential(
        *(Conv(3, 16, 1), nn.ReLU(), Conv(16, 16, 3, groups=4), nn.Sigmoid(), Conv(16, 4, 1))
    )
    model[4].weight.data[:, 4:8] = 0
    return model


def own_bias() -> nn.Module:
    return Apply(
        lambda m, x: m.out((m.conv(x) + m.bias.view(1, -1, 1, 1)).relu()),
        conv=Conv(3, 12, 3, bias=False),
        bias=table(12),
        out=Conv(12, 4, 1),
    )


def modulated() -> nn.Module:
    return Apply(
        lambda m, x, y: m.out((m.conv(x) * m.scale(y)[..., None, None]).sigmoid()),
        conv=Conv(3, 12, 3),
        scale=Linear(5, 12),
        out=Conv(12, 4, 1),
    )


def shared_matrix() -> nn.Module:
    def call(m: Any, x: Tensor, y: Tensor) -> Tensor:
        weight = m.weight.T
        return torch.sigmoid(m.one(x)) @ weight + m.other(y).relu() @ weight

    return Apply(call, one=Linear(6, 16), other=Linear(6, 16), weight=table(3, 16))


def recurrent() -> nn.Module:
    def call(m: Any, x: Tensor) -> Tensor:
        state = torch.tanh(m.read(x[:, 0]))
        for step in range(1, x.shape[1]):
            state = torch.tanh(m.go_on(state) + m.read(x[:, step]))
        return m.out(state)

    return Apply(call, read=Linear(6, 16), go_on=Linear(16, 16), out=Linear(16, 3))


def pooled() -> nn.Module:
    return nn.Sequential(
        *(Conv(3, 12, 3), nn.Sigmoid(), nn.AvgPool2d(3, 2, padding=1), Conv(12, 12, 3)),
        *(nn.Sigmoid(), nn.MaxPool2d(3, 2, padding=1), nn.Flatten(), Linear(12, 4)),
    )


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 24, batch_first=True)


# Models of which something has to go, though each would be made wrong by a careless hand.
SHORTENED: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "sigmoid and softplus": (
        lambda: nn.Sequential(
            *(Linear(6, 24), nn.Sigmoid(), Linear(24, 16), nn.Softplus(), Linear(16, 3))
        ),
        (images(4, 6),),
    ),
    "no biases": (
        lambda: nn.Sequential(
            *(Linear(6, 24), nn.Sigmoid(), Linear(24, 16, bias=False), nn.Softplus()),
            Linear(16, 3, bias=False),
        ),
        (images(4, 6),),
    ),
    "padded convolutions": (
        lambda: nn.Sequential(
            *(Conv(3, 12, 3, padding=1), nn.Sigmoid(), Conv(12, 12, 3, padding="same")),
            *(nn.Softplus(), Conv(12, 4, 3, padding=1)),
        ),
        (images(2, 3, 6, 6),),
    ),
    "other paddings": (
        lambda: nn.Sequential(
            *(Conv(3, 12, 3, padding=1, padding_mode="reflect"), nn.Sigmoid()),
            Conv(12, 4, 3, padding=1, padding_mode="circular"),
        ),
        (images(2, 3, 6, 6),),
    ),
    "no batch": (
        lambda: nn.Sequential(Conv(3, 12, 3), nn.Sigmoid(), Conv(12, 4, 1)),
        (images(3, 6, 6),),
    ),
    "one dimension": (
        lambda: nn.Sequential(
            *(nn.Conv1d(3, 12, 3, dilation=2), nn.BatchNorm1d(12), nn.PReLU(12)),
            nn.Conv1d(12, 4, 3, stride=2),
        ),
        (images(2, 3, 12),),
    ),
    "transposed convolutions": (
        lambda: nn.Sequential(
            *(nn.ConvTranspose2d(3, 8, 3, stride=2), nn.Sigmoid()),
            *(nn.ConvTranspose2d(8, 8, 2, stride=2), nn.ReLU(), Conv(8, 4, 1)),
        ),
        (images(2, 3, 4, 4),),
    ),
    "depthwise convolutions": (
        lambda: nn.Sequential(
            *(Conv(3, 16, 1), nn.ReLU6(), Conv(16, 16, 3, padding=1, groups=16)),
            *(nn.Hardswish(), Conv(16, 4, 1)),
        ),
        (images(2, 3, 6, 6),),
    ),
    "whole groups": (whole_groups, (images(2, 3, 6, 6),)),
    "a bias of ones own": (own_bias, (images(2, 3, 6, 6),)),
    "a scale for each image": (modulated, (images(2, 3, 6, 6), images(2, 5))),
    "one weight for two": (shared_matrix, (images(3, 6), images(3, 6))),
    "recurrent": (recurrent, (images(2, 4, 6),)),
    "layer norm": (
        lambda: nn.Sequential(
            *(Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), Linear(16, 16), nn.Sigmoid()),
            Linear(16, 3),
        ),
        (images(4, 6),),
    ),
    "dropout": (
        lambda: nn.Sequential(Linear(6, 16), nn.Dropout(), nn.Sigmoid(), Linear(16, 3)),
        (images(4, 6),),
    ),
    "upsampling": (
        lambda: nn.Sequential(
            *(Conv(3, 12, 3), nn.Sigmoid(), nn.Upsample(scale_factor=2, mode="bilinear")),
            Conv(12, 4, 1),
        ),
        (images(2, 3, 5, 5),),
    ),
    "pools": (pooled, (images(2, 3, 8, 8),)),
    "tied layers": (tied_layers, (images(3, 6),)),
    "gate": (gate, (images(3, 6),)),
    "residual": (residual, (images(2, 3, 6, 6),)),
    "excitation": (excitation, (images(2, 3, 6, 6),)),
    "concatenation": (autoencoder, (images(2, 3, 6, 6),)),
    "free parameters": (free_parameters, (images(3, 6),)),
    "raw weights": (raw_weights, (images(3, 6),)),
    "mixer": (mixer, (images(2, 5, 4),)),
    "several outputs": (several_outputs, (images(3, 6), images(3, 2))),
    "encoder": (encoder, (images(2, 5, 8),)),
}

# Models with dead units of which nothing can be proved: they stay as they are.
LEFT_ALONE: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "tied to an embedding": (tied_embedding, (torch.arange(20).view(4, 5),)),
    "group norm": (
        lambda: nn.Sequential(Conv(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), Conv(8, 4, 3)),
        (images(2, 3, 6, 6),),
    ),
    "batch norm without statistics": (
        lambda: nn.Sequential(
            Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), Linear(8, 3)
        ),
        (images(4, 6),),
    ),
    "softmax": (
        lambda: nn.Sequential(Linear(6, 8), nn.Softmax(-1), Linear(8, 3)),
        (images(4, 6),),
    ),
    "LSTM": (
        lambda: Apply(lambda m, x: m.layer(x)[0], layer=nn.LSTM(6, 8, batch_first=True)),
        (images(2, 3, 6),),
    ),
    "mean of units": (
        lambda: Apply(
            lambda m, x: (h := m.first(x).relu()).mean(-1, keepdim=True) + m.second(h),
            first=Linear(6, 16),
            second=Linear(16, 3),
        ),
        (images(4, 6),),
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(Linear(6, 8)), Linear(8, 3)),
        (images(4, 6),),
    ),
    "weights as an output": (
        lambda: Apply(
            lambda m, x: (m.second(m.first(x).relu()), m.first.weight.square().sum()),
            first=Linear(6, 8),
            second=Linear(8, 3),
        ),
        (images(4, 6),),
    ),
}


@pytest.mark.parametrize("name", SHORTENED)
def test_what_is_left_computes_the_same(name: str) -> None:
    make, inputs = SHORTENED[name]
    torch.manual_seed(0)
    model = with_dead_units(make()).double()
    inputs = tuple(one.double() for one in inputs)
    compaction = compact(model, inputs)
    assert gap(model, compaction.model, inputs) < 1e-12
    assert compaction.report.difference64 < 1e-12
    assert compaction.report.after < compaction.report.before
    assert not compaction.report.refused


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_cannot_be_proved_stays(name: str) -> None:
    make, inputs = LEFT_ALONE[name]
    torch.manual_seed(0)
    model = with_dead_units(make())
    compaction = compact(model, inputs)
    assert compaction.report.before == compaction.report.after
    for one, other in zip(model.parameters(), compaction.model.parameters()):
        assert torch.equal(one, other) and one is not other


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constants_are_rounded_once_to_the_type_of_the_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = with_dead_units(nn.Sequential(Linear(6, 64), nn.Sigmoid(), Linear(64, 8))).to(dtype)
    inputs = (images(4, 6).to(dtype),)
    compaction = compact(model, inputs)
    assert compaction.report.after < compaction.report.before
    assert compaction.report.difference64 < 1e-12  # before rounding
    assert gap(model, compaction.model, inputs) < 4 * torch.finfo(dtype).eps


@st.composite
def networks(draw: st.DrawFn) -> nn.Sequential:
    """Multilayer perceptrons with dead units and activations that make constants of them."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=3, max_size=5))
    kinds = st.sampled_from([nn.ReLU, nn.Sigmoid, nn.Softplus, nn.GELU])
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        bias = draw(st.booleans())
        layers += [Linear(before, after, bias=bias), draw(kinds)()]
    model = nn.Sequential(*layers[:-1])
    source = torch.Generator().manual_seed(draw(st.integers(0, 2**30)))
    share = draw(st.sampled_from([0.1, 0.4, 0.8]))
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=source)
        if weight.ndim == 2:
            weight.data *= torch.rand(weight.shape, generator=source) < share
    return model.double().eval()


@SLOW
@given(networks())
def test_of_any_perceptron_the_live_units_are_left(model: nn.Sequential) -> None:
    linears = [layer for layer in model if isinstance(layer, Linear)]
    inputs = (images(3, linears[0].in_features).double(),)
    compaction = compact(model, inputs)
    assert gap(model, compaction.model, inputs) < 1e-12
    # An independent count: a path from an input to the unit, and one from it to an output.
    reached = [torch.ones(linears[0].in_features, dtype=torch.bool)]
    for layer in linears:
        reached.append(((layer.weight != 0) & reached[-1]).any(1))
    needed = [torch.ones(linears[-1].out_features, dtype=torch.bool)]
    for layer in reversed(linears):
        needed.append(((layer.weight != 0).T & needed[-1]).any(1))
    alive = [int((r & n).sum()) for r, n in zip(reached, reversed(needed))][1:-1]
    if not min(alive):
        return  # of a layer without any live unit one stays, and what it is computed from
    left = [layer for layer in compaction.model if isinstance(layer, Linear)]
    for count, layer, after in zip(alive, left, left[1:]):
        carriers = 0 if after.bias is not None else 1  # it stands for all constants
        assert count <= layer.out_features <= count + carriers


@SLOW
@given(st.integers(0, 2**30), st.sampled_from([nn.ReLU, nn.Sigmoid]), st.booleans())
def test_of_any_residual_network_the_function_is_left(
    seed: int, kind: type[nn.Module], padded: bool
) -> None:
    torch.manual_seed(seed)
    padding = int(padded)

    def call(m: Any, x: Tensor) -> Tensor:
        x = m.act(m.norm(m.stem(x)))
        crop = x if padded else x[..., 2:-2, 2:-2]
        x = m.act(crop + m.second(m.act(m.first(x))))
        return m.head(F.adaptive_avg_pool2d(torch.cat([x, m.side(x)], 1), 1).flatten(1))

    model = Apply(
        call,
        act=kind(),
        stem=Conv(2, 6, 3, padding=1),
        norm=nn.BatchNorm2d(6),
        first=Conv(6, 6, 3, padding=padding),
        second=Conv(6, 6, 3, padding=padding, bias=False),
        side=Conv(6, 4, 1),
        head=Linear(6 + 4, 3),
    )
    model = with_dead_units(model, seed).double()
    inputs = (images(2, 2, 7, 7).double(),)
    compaction = compact(model, inputs)
    assert gap(model, compaction.model, inputs) < 1e-12
    assert gap(model, compaction.model, (images(3, 2, 9, 11).double(),)) < 1e-12
    assert not compaction.report.refused


def test_a_layer_without_a_live_unit_keeps_one() -> None:
    model = nn.Sequential(Linear(4, 8), nn.Sigmoid(), Linear(8, 6), nn.ReLU(), Linear(6, 2)).eval()
    for weight in model.parameters():
        weight.data.zero_()
    compaction = compact(model, images(3, 4))
    assert [tuple(w.shape) for w in compaction.model.parameters() if w.ndim == 2] == [
        *((1, 4), (1, 1), (2, 1))
    ]
    assert gap(model, compaction.model, (images(3, 4),)) == 0


def test_a_smaller_gpt_and_resnet_compute_the_same() -> None:
    torch.manual_seed(0)
    gpt = with_dead_units(GPT(20, 8, layers=1, width=16, heads=2)).double()
    tokens = torch.arange(16).view(2, 8)
    smaller = compact(gpt, tokens)
    assert smaller.model.blocks[0].mlp[0].out_features < 64
    assert gap(gpt, smaller.model, (tokens,)) < 1e-12
    assert gap(gpt, smaller.model, (tokens[:, :3],)) < 1e-12
    net = with_dead_units(nn.Sequential(*resnet20((1, 8, 8), 10)[:4])).double()
    picture = images(2, 1, 8, 8).double()
    smaller = compact(net, picture)
    assert smaller.report.after < smaller.report.before
    assert gap(net, smaller.model, (picture,)) < 1e-12


def test_the_smaller_model_goes_on() -> None:
    """It trains, is saved and loaded, exported, and made compact again."""
    torch.manual_seed(0)

    def make() -> nn.Sequential:
        return nn.Sequential(Linear(6, 32), nn.BatchNorm1d(32), nn.Sigmoid(), Linear(32, 3))

    model = with_dead_units(make())
    model[0].weight.requires_grad_(False)
    smaller = compact(model, images(4, 6)).model
    assert list(smaller.state_dict()) == list(model.state_dict())
    assert not smaller.training and not smaller[0].weight.requires_grad
    loaded = load_compact(make().eval(), smaller.state_dict())
    assert str(loaded) == str(smaller)
    assert torch.equal(loaded(images(5, 6)), smaller(images(5, 6)))
    program = torch.export.export(smaller, (images(4, 6),))
    assert torch.equal(program.module()(images(4, 6)), smaller(images(4, 6)))
    again = compact(smaller, images(4, 6)).report
    assert again.before == again.after
    trained = copy.deepcopy(smaller).train()
    trained(images(4, 6)).square().sum().backward()
    assert trained[3].weight.grad is not None and trained[0].weight.grad is None


def test_arguments_may_be_nested_and_no_tensors() -> None:
    model = with_dead_units(
        Apply(
            lambda m, pair, factor, flag, none: m.out((m.first(pair[0]) * factor).relu()),
            first=Linear(6, 16),
            out=Linear(16, 3),
        )
    )
    report = compact(model, ([images(2, 6), images(2, 6)], 2.5, True, None)).report
    assert report.after < report.before


def test_arguments_may_be_named() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Linear(4, 8), Linear(8, 2)

        def forward(self, *, x: Tensor) -> Tensor:
            return self.second(self.first(x).relu())  # type: ignore[no-any-return]

    model = with_dead_units(Named())
    report = compact(model, {"x": images(2, 4)}).report
    assert report.after < report.before


def test_the_report_says_what_went_and_what_stayed_and_why() -> None:
    torch.manual_seed(0)
    model = with_dead_units(
        nn.Sequential(Linear(6, 8), nn.GroupNorm(2, 8), Linear(8, 16), nn.ReLU(), Linear(16, 2))
    )
    with torch.no_grad():
        model[2].weight[:, 3] = 0
    report = compact(model, images(4, 6)).report
    (one,) = report.shortened
    assert one.names == ("2.weight", "2.bias", "4.weight") and one.before == 16 > one.after
    assert report.kept["0.weight"]["read by group_norm in 1"] >= 1
    assert "2.weight and 2 more: 16 →" in str(report) and "read by group_norm in 1" in str(report)


def test_lightning_is_not_needed() -> None:
    program = (
        "import sys; sys.modules['lightning'] = None; import torch; "
        "from l1prune.deploy import compact, load_compact; "
        "print(compact(torch.nn.Linear(2, 2).eval(), torch.ones(1, 2)).report.ratio)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "1.0\n", done.stderr


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weights_and_biases_may_be_buffers(name: str) -> None:
    """Constants are added to them too; a carrier of constants is in the weight."""

    def call(m: Any, x: Tensor) -> Tensor:
        return F.linear(m.first(x).sigmoid(), m.weight, m.bias)

    torch.manual_seed(0)
    weight = table(3, 16)
    parts = {"weight": weight, "bias": nn.Buffer(torch.randn(3))}
    if name == "weight":
        parts = {"weight": nn.Buffer(weight.data), "bias": None}
    model = Apply(call, first=Linear(6, 16), **parts)
    model.first.weight.data[:10] = 0
    compaction = compact(model.eval(), images(2, 6))
    assert compaction.model.first.out_features == (6 if name == "bias" else 7)
    assert compaction.report.difference64 < 1e-12
    assert gap(model, compaction.model, (images(5, 6),)) < 1e-6


@pytest.mark.parametrize("left", [1, 2])
def test_of_a_depthwise_convolution_few_channels_may_be_left(left: int) -> None:
    """One is a convolution without groups: torch's graph then leaves its argument out."""
    torch.manual_seed(0)
    spread = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), spread, nn.Conv2d(8, 4, 1)).eval()
    with torch.no_grad():
        for layer in (model[0], spread):
            layer.weight[left:], layer.bias[left:] = 0.0, 0.0
    images = torch.randn(2, 3, 6, 6)
    small = compact(model, images).model
    assert small[2].weight.shape[0] == left
    assert torch.allclose(small(images), model(images), atol=1e-6)
