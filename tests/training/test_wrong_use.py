"""Wrong use: a run is right, or refused in one sentence before its first step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tasks import Task, examples, fit
from torch import Tensor, nn

import l1prune
from l1prune import (
    L1,
    L2,
    MCP,
    ElasticNet,
    Global,
    GroupL1,
    L1Pruning,
    Magnitude,
    OptimizerMetric,
    PerLayer,
    Proximal,
    Relative,
    Sparsity,
    Subgradient,
)
from l1prune.pressure import schedules
from l1prune.training.resume.last import LastCheckpoint, last_checkpoint
from l1prune.training.resume.loader import Shuffle
from l1prune.training.resume.randomness import StepSeed

# ---- arguments that make no sense

JUNK: tuple[Any, ...] = (
    "",
    -0.5,
    -1e30,
    float("nan"),
    float("inf"),
    True,
    [],
    {},
    (None,),
    object(),
    Sparsity,
    lambda: 0,
    torch.ones(3),
    0.5j,
    b"a",
)

# What else each needs, to be made at all.
REST: dict[Callable[..., Any], dict[str, Any]] = {
    L1Pruning: {},
    l1prune.Sparsity: {},
    l1prune.Magnitude: {"cut": 0.1},
    l1prune.ElasticNet: {},
    l1prune.GroupL1: {},
    l1prune.MCP: {},
    l1prune.LogSum: {},
    l1prune.TransformedL1: {},
    l1prune.Follow: {},
    l1prune.Proximal: {},
    l1prune.Cut: {"threshold": 0.1},
    l1prune.ByName: {"pattern": "a"},
    l1prune.ByRegex: {"pattern": "a"},
    l1prune.ByType: {"module": nn.Linear},
    schedules.Constant: {"value": 1.0},
    schedules.Linear: {"start": 0.0, "end": 1.0},
    schedules.Cosine: {"start": 0.0, "end": 1.0},
    schedules.Cubic: {"start": 0.0, "end": 1.0},
    schedules.WarmupHoldDecay: {"peak": 1.0},
    schedules.Join: {"schedules": [schedules.Constant(1.0)] * 2, "boundaries": [0.5]},
    Shuffle: {"count": 5},
    StepSeed: {},
}
CASES = [(make, name) for make in REST for name in inspect.signature(make).parameters]


@pytest.mark.parametrize(
    ("make", "name"), CASES, ids=lambda case: getattr(case, "__name__", str(case))
)
def test_junk_is_refused_by_name(make: Callable[..., Any], name: str) -> None:
    for junk in JUNK:
        with pytest.raises(ValueError, match=r".") as caught:
            make(**(REST[make] | {name: junk}))
            pytest.fail(f"{make.__name__}({name}={junk!r}) was taken")
        said = str(caught.value)
        assert "\n" not in said
        assert name in said or repr(junk) in said


def test_so_much_junk_was_tried() -> None:
    assert len(CASES) * len(JUNK) > 200


# ---- any arguments, any architecture

STRENGTHS = (None, 0.0, 1e-3, 0.3, 1e9, l1prune.Follow(), schedules.Linear(0.0, 1.0))
THRESHOLDS = (
    None,
    0.0,
    0.05,
    1e9,
    Sparsity(0.5, Global()),
    Sparsity(0.9, PerLayer()),
    Sparsity(0.8, Relative(), floor=0),
    Sparsity(0.999),
    Magnitude(0.1, floor=3),
)
PENALTIES = (None, L1(), L2(), ElasticNet(), GroupL1(), GroupL1(dim=1), GroupL1(dim=2), MCP())
ROUNDS = (0.3, 0.6, 0.99, [0.2, 0.4, 0.8], 1, 6, [2, 5], 11, 12, 100)
FORMS = (None, Proximal(OptimizerMetric()), Subgradient(), Subgradient)
TARGETS = (None, ["0"], {"*": 0.5}, [nn.Linear], ["nowhere"])

BLOCKS: tuple[Callable[[int], list[nn.Module]], ...] = (
    lambda n: [nn.Linear(n, n), nn.ReLU()],
    lambda n: [nn.Linear(n, n, bias=False), nn.BatchNorm1d(n), nn.Tanh()],
    lambda n: [
        nn.Unflatten(1, (1, n)),
        nn.Conv1d(1, 2, 3, padding=1),
        nn.Flatten(),
        nn.Linear(2 * n, n),
    ],
    lambda n: [nn.LayerNorm(n), nn.Dropout(0.2)],
    lambda n: [nn.Linear(n, 1), nn.Linear(1, n)],
    lambda n: [nn.utils.parametrizations.weight_norm(nn.Linear(n, n))],
    lambda n: [Frozen(n)],
)
OPTIMIZERS: tuple[Callable[[Any], torch.optim.Optimizer], ...] = (
    lambda p: torch.optim.Adam(p, lr=0.01),
    lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    lambda p: torch.optim.RMSprop(p, lr=0.01),
    lambda p: torch.optim.Adadelta(p),
    lambda p: torch.optim.LBFGS(p, max_iter=2),
)


class Frozen(nn.Linear):
    def __init__(self, width: int) -> None:
        super().__init__(width, width)
        self.requires_grad_(False)


class Assembled(Task):
    """Of any blocks; writes down the zeros before each step."""

    def __init__(self, blocks: tuple[int, ...], width: int, optimizer: int) -> None:
        torch.manual_seed(0)
        body = [module for index in blocks for module in BLOCKS[index](width)]
        net = nn.Sequential(*body, nn.Linear(width, 1))
        super().__init__(net, OPTIMIZERS[optimizer], examples(16, width, 1), batch_size=4)
        self.zeros = [0]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor | None:
        self.zeros.append(sum(int((p == 0).sum()) for p in self.net.parameters()))
        return super().training_step(batch, batch_idx)


def train(task: Task, folder: Path, arguments: dict[str, Any]) -> L1Pruning:
    """Three epochs of four steps."""
    pruning = L1Pruning(**arguments)
    callbacks = (pruning, StepSeed(0), LastCheckpoint(folder))
    resume = last_checkpoint(folder)
    fit(task, *callbacks, resume=resume, epochs=3, limit_val_batches=0)
    return pruning


@pytest.mark.filterwarnings("ignore")  # of a cut that left a single weight, of what is not pressed
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_run_is_right_or_refused_before_its_first_step(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    arguments = {
        "strength": data.draw(st.sampled_from(STRENGTHS)),
        "threshold": data.draw(st.sampled_from(THRESHOLDS)),
        "penalty": data.draw(st.sampled_from(PENALTIES)),
        "prune_at": data.draw(st.sampled_from(ROUNDS)),
        "form": data.draw(st.sampled_from(FORMS)),
        "targets": data.draw(st.sampled_from(TARGETS)),
    }
    blocks = tuple(data.draw(st.lists(st.integers(0, len(BLOCKS) - 1), max_size=4)))
    shape = (blocks, data.draw(st.integers(1, 9)), data.draw(st.integers(0, len(OPTIMIZERS) - 1)))
    folder, task = tmp_path_factory.mktemp("run"), Assembled(*shape)
    names = list(task.state_dict())
    try:
        pruning = train(task, folder, arguments)
    except ValueError as refusal:
        assert not task.losses, refusal
        assert "\n" not in str(refusal)
        assert list(folder.iterdir()) == []
        return
    assert pruning.phase == "tune" and len(task.losses) == 12
    assert list(task.state_dict()) == names
    check_right(task, pruning, folder)
    again = Assembled(*shape)
    resumed = train(again, folder, arguments)
    assert not again.losses and resumed.report == pruning.report


def check_right(task: Assembled, pruning: L1Pruning, folder: Path) -> None:
    """The zeros are exact, seen by every forward, counted right, and in the file."""
    report = pruning.report
    assert report is not None
    stored = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    for layer in report.layers:
        weight = task.get_parameter(layer.name)
        gone = ~pruning.masks[layer.name]
        assert not weight[gone].any() and not torch.signbit(weight[gone]).any()
        assert layer.nonzero == int(weight.count_nonzero())
        assert torch.equal(stored[layer.name], weight)
    threshold = pruning.recipe.threshold
    if isinstance(threshold, Sparsity):
        assert report.sparsity >= threshold.sparsity - 1e-9
    if getattr(threshold, "floor", 0):
        assert all(mask.any() for mask in pruning.masks.values())
    assert task.zeros[-1] >= sum(int((~mask).sum()) for mask in pruning.masks.values())
