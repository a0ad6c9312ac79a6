"""sparse: the same model, dense wherever that is faster; by timers that say what is fast."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from dead_units import Apply
from torch import Tensor, nn
from torch.nn.utils import prune

from l1prune.deploy import Bag, Csr, ShiftedBag, sparse
from l1prune.deploy.sparse_layers import BagLinear, CsrLinear, ShiftedBagConv
from l1prune.deploy.switch import Switch
from l1prune.zoo import GPT

SPARSE = (BagLinear, CsrLinear, ShiftedBagConv, Switch)


def thinned(model: nn.Module, zeros: float = 0.9, seed: int = 0) -> nn.Module:
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=source))
            if parameter.ndim > 1:
                parameter *= torch.rand(parameter.shape, generator=source) >= zeros
    return model.eval()


def mlp() -> nn.Module:
    return thinned(nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.Linear(8, 3)))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


Cost = Callable[[nn.Module], float]


class Says:
    """A timer by which a call takes what its module costs, and a model what its modules cost."""

    def __init__(self, cost: Cost) -> None:
        self.cost, self.asked = cost, list[nn.Module]()

    def __call__(self, works: Sequence[Any]) -> list[list[float]]:
        self.asked += [work.func for work in works]
        return [[self._of(work.func)] * 3 for work in works]

    def _of(self, module: nn.Module) -> float:
        if module._modules and not isinstance(module, SPARSE):
            return sum(map(self._of, module.children()))
        return self.cost(module)


def sparse_leads(module: nn.Module) -> float:
    return 1.0 if isinstance(module, SPARSE) else 2.0


def dense_leads(module: nn.Module) -> float:
    return 2.0 if isinstance(module, SPARSE) else 1.0


def kinds(model: nn.Module) -> list[str]:
    return [type(module).__name__ for module in model.children()]


def test_layers_run_sparse_where_that_is_faster_and_compute_the_same() -> None:
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    execution = sparse(model, normal(2, 16), timer=Says(sparse_leads))
    assert kinds(execution.model) == ["CsrLinear", "ReLU", "CsrLinear", "CsrLinear"]
    assert kinds(model) == ["Linear", "ReLU", "Linear", "Linear"]
    assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())
    for rows in (1, 2, 50):
        x = normal(rows, 16)
        torch.testing.assert_close(execution.model(x), model(x))
    report = execution.report
    assert report.speedups == {2: 8 / 5} and not report.left
    assert report.difference64 < 1e-14 and report.difference < 1e-5
    assert [layer.name for layer in report.layers] == ["0", "2", "3"]
    assert report.layers[0].kernels == {2: "Csr"} and report.layers[0].speedups == {2: 2.0}


def test_all_stays_dense_where_dense_is_faster() -> None:
    model = mlp()
    execution = sparse(model, normal(2, 16), timer=Says(dense_leads))
    assert kinds(execution.model) == kinds(model) and execution.model is not model
    assert torch.equal(execution.model(normal(2, 16)), model(normal(2, 16)))
    assert set(execution.report.left) == {"0", "2", "3"}
    assert execution.report.left["0"] == "faster so: sparse it would be 0.50 × at 2 rows"
    assert execution.report.speedups == {} and "all is dense" in str(execution.report)


class Interplay(Says):
    """Layers are faster sparse, each alone; more than some of them make the model slower."""

    def __init__(self, many: int) -> None:
        super().__init__(lambda module: 2.0 - sparse_gain(module))
        self.many = many

    def _of(self, module: nn.Module) -> float:
        count = sum(isinstance(one, SPARSE) for one in module.modules())
        whole = isinstance(module, nn.Sequential)
        return super()._of(module) + 100.0 * (whole and count > self.many)


def sparse_gain(module: nn.Module) -> float:
    return module.size[1] / 20 if isinstance(module, BagLinear) else 0.0


@pytest.mark.parametrize("many", [0, 1, 3])
def test_what_makes_the_model_slower_is_undone_the_least_gain_first(many: int) -> None:
    model = mlp()
    execution = sparse(model, normal(2, 16), kernels=(Bag(),), timer=Interplay(many))
    names = [layer.name for layer in execution.report.layers]
    assert names == ["0", "2", "3"][:many]  # wider layers gain more
    undone = {n for n, why in execution.report.left.items() if why.startswith("undone: ")}
    assert undone == {"0", "2", "3"} - set(names)
    assert (not execution.report.speedups) == (many == 0)
    assert torch.allclose(execution.model(normal(3, 16)), model(normal(3, 16)), atol=1e-6)


def test_it_is_undone_where_it_is_slower_and_there_only() -> None:
    class SlowAtOne(Says):
        def __call__(self, works: Sequence[Any]) -> list[list[float]]:
            self.rows = len(works[0].args[0])
            return super().__call__(works)

        def _of(self, module: nn.Module) -> float:
            if isinstance(module, nn.Sequential) and self.rows == 1:
                return 1.0 if any(runs_dense(one) for one in module) else 9.0
            return super()._of(module)

    def runs_dense(layer: nn.Module) -> bool:
        return isinstance(layer, nn.Linear | Switch)

    execution = sparse(mlp(), normal(2, 16), batches=(1, 64), timer=SlowAtOne(sparse_leads))
    assert not any(why.startswith("undone") for why in execution.report.left.values())
    kernels = [layer.kernels for layer in execution.report.layers]
    assert {1: "dense", 64: "Csr"} in kernels and {1: "Csr", 64: "Csr"} in kernels
    assert execution.report.speedups[64] > 1


def test_a_model_that_is_no_faster_as_a_whole_is_dense() -> None:
    class Even(Says):
        def _of(self, module: nn.Module) -> float:
            return 1.0 if isinstance(module, nn.Sequential) else super()._of(module)

    report = sparse(mlp(), normal(2, 16), timer=Even(sparse_leads)).report
    assert not report.layers and "undone: with it the model is no faster" in report.left["0"]


def test_each_batch_size_has_its_kernel() -> None:
    class ByRows(Says):
        def __call__(self, works: Sequence[Any]) -> list[list[float]]:
            few = len(works[0].args[0]) < 64
            self.cost = lambda m: {CsrLinear: 1.0 + 2 * (not few), BagLinear: 1.0 + 2 * few}.get(
                type(m), 2.0
            )
            return super().__call__(works)

        def _of(self, module: nn.Module) -> float:
            return 1.0 if isinstance(module, Switch) else super()._of(module)

    model = mlp()
    execution = sparse(model, normal(2, 16), batches=(1, 64), timer=ByRows(sparse_leads))
    assert not any(module.training for module in execution.model.modules())
    first = execution.model[0]
    assert isinstance(first, Switch) and first.limits == [8 * 16]
    assert execution.report.layers[0].kernels == {1: "Csr", 64: "Bag"}
    for rows in (1, 8, 9, 64):
        torch.testing.assert_close(execution.model(normal(rows, 16)), model(normal(rows, 16)))


def test_convolutions_and_sequences() -> None:
    model = thinned(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)))
    execution = sparse(model, normal(2, 3, 6, 6), batches=(1, 4), timer=Says(sparse_leads))
    assert kinds(execution.model) == ["ShiftedBagConv", "ReLU", "ShiftedBagConv"]
    assert list(execution.report.layers[0].kernels) == [36, 144]
    x = normal(3, 3, 9, 5)
    torch.testing.assert_close(execution.model(x), model(x))


def test_a_transformer() -> None:
    model = thinned(GPT(vocabulary=17, length=8, width=16, layers=2, heads=2), 0.8)
    tokens = torch.arange(16).reshape(2, 8)
    execution = sparse(model, tokens, batches=(1, 3), timer=Says(sparse_leads))
    assert execution.report.layers
    torch.testing.assert_close(execution.model(tokens), model(tokens))
    assert {8, 24} <= set(execution.report.layers[0].kernels)  # rows are batch × sequence


def test_one_layer_is_a_model() -> None:
    model = thinned(nn.Linear(16, 4))
    execution = sparse(model, normal(2, 16), timer=Says(sparse_leads))
    assert isinstance(execution.model, CsrLinear) and "  the model  Csr " in str(execution.report)
    torch.testing.assert_close(execution.model(normal(5, 16)), model(normal(5, 16)))


def test_a_layer_whose_weight_is_read_elsewhere_stays() -> None:
    model = thinned(
        Apply(
            lambda m, x: m.out(m.inner(x)) @ m.inner.weight,
            inner=nn.Linear(16, 4),
            out=nn.Linear(4, 4),
        )
    )
    execution = sparse(model, normal(2, 16), timer=Says(sparse_leads))
    assert isinstance(execution.model.inner, nn.Linear)
    assert isinstance(execution.model.out, CsrLinear)
    assert "the model fails" in execution.report.left["inner"]


def test_torchs_own_encoder_layer_reads_its_layers() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = thinned(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False))
    execution = sparse(model, normal(2, 5, 16), timer=Says(sparse_leads))
    torch.testing.assert_close(execution.model(normal(3, 4, 16)), model(normal(3, 4, 16)))
    assert "it is not called" in execution.report.left["layers.0.self_attn.out_proj"]


def test_what_is_not_called_is_named() -> None:
    model = thinned(Apply(lambda m, x: m.used(x), used=nn.Linear(16, 4), spare=nn.Linear(4, 4)))
    report = sparse(model, normal(2, 16), timer=Says(sparse_leads)).report
    assert report.left == {"spare": "it is not called, whatever may read its weight"}


def test_kernels_of_ones_own_take_part() -> None:
    class Folded:
        def refusal(self, layer: nn.Module) -> str | None:
            return None if isinstance(layer, nn.Linear) else "no linear layer"

        def build(self, layer: nn.Module) -> nn.Module:
            return BagLinear(layer.weight, layer.bias)

    report = sparse(mlp(), normal(2, 16), kernels=(Folded(),), timer=Says(sparse_leads)).report
    assert report.layers[0].kernels == {2: "Folded"}


def test_a_kernel_that_computes_something_else_is_found_out() -> None:
    class Wrong:
        def refusal(self, layer: nn.Module) -> str | None:
            return None if isinstance(layer, nn.Linear) else "no linear layer"

        def build(self, layer: nn.Module) -> nn.Module:
            return BagLinear(1.001 * layer.weight, layer.bias)

    with pytest.raises(RuntimeError, match="not the same function: the outputs differ by"):
        sparse(mlp(), normal(2, 16), kernels=(Wrong(),), timer=Says(sparse_leads))


@pytest.fixture(scope="module")
def executed() -> tuple[nn.Module, nn.Module]:
    model = thinned(
        nn.Sequential(
            nn.Conv1d(4, 6, 3), nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)
        )
    )
    execution = sparse(
        model, normal(2, 4, 8), batches=(1, 32), kernels=(Csr(), ShiftedBag()),
        timer=Says(sparse_leads),
    )  # fmt: skip
    assert len(execution.report.layers) == 3
    return model, execution.model


def test_it_is_copied_saved_and_loaded(executed: tuple[nn.Module, nn.Module]) -> None:
    model, twin = executed
    file = io.BytesIO()
    torch.save(twin, file)
    file.seek(0)
    x = normal(5, 4, 8)
    loaded = torch.load(file, weights_only=False)
    for one in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin)), loaded):
        assert torch.equal(one(x), twin(x))
    exact = copy.deepcopy(twin).double()(x.double())
    torch.testing.assert_close(exact, copy.deepcopy(model).double()(x.double()))


def test_it_runs_in_inference_mode_and_gradients_pass(
    executed: tuple[nn.Module, nn.Module],
) -> None:
    model, twin = executed
    with torch.inference_mode():
        torch.testing.assert_close(twin(normal(5, 4, 8)), model(normal(5, 4, 8)))
    found, expected = (
        torch.autograd.grad(one(x).square().sum(), x)[0]
        for one in (twin, model)
        for x in [normal(5, 4, 8).requires_grad_()]
    )
    torch.testing.assert_close(found, expected)


def test_it_exports_for_all_batch_sizes(executed: tuple[nn.Module, nn.Module]) -> None:
    model, twin = executed
    sizes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(twin, (normal(2, 4, 8),), dynamic_shapes=sizes)
    for rows in (1, 3, 40):
        x = normal(rows, 4, 8)
        torch.testing.assert_close(program.module()(x), model(x))


def test_it_exports_to_onnx(executed: tuple[nn.Module, nn.Module], tmp_path: Any) -> None:
    for needed in ("onnx", "onnxscript"):
        pytest.importorskip(needed)
    runtime = pytest.importorskip("onnxruntime")
    model, twin = executed
    with pytest.warns() as _:  # torch's exporter has much to say
        torch.onnx.export(
            twin, (normal(2, 4, 8),), tmp_path / "twin.onnx", dynamo=True, verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )  # fmt: skip
    session = runtime.InferenceSession(tmp_path / "twin.onnx")
    for rows in (1, 5):
        x = normal(rows, 4, 8)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), model(x).detach())


def test_the_report_is_a_table() -> None:
    model = mlp()
    nn.init.ones_(model[3].weight)
    text = str(sparse(model, normal(2, 16), batches=(1, 64), timer=Says(sparse_leads)).report)
    first, head, row, *_, last = text.splitlines()
    assert first.startswith("speed over the dense model: 1.33 × at batch 1, 1.33 × at batch 64; ")
    assert head.split() == ["layer", "kernel", "zeros", "rows", "speed"]
    assert row.split()[:2] == ["0", "Csr"] and row.endswith("1  2.00 ×")
    assert last == "  dense: 3, 0 % of its weights are zero, too few"


def masked() -> nn.Module:
    model = mlp()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def hooked() -> nn.Module:
    model = mlp()
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


@pytest.mark.parametrize(
    ("build", "arguments", "reason"),
    [
        (lambda: mlp().train(), {}, "training mode"),
        (masked, {}, "masks of torch.nn.utils.prune"),
        (hooked, {}, "hooks"),
        (lambda: thinned(nn.Linear(15, 3)), {}, "cannot be run"),
        (lambda: Apply(lambda m, x: x + torch.rand(1)).eval(), {}, "something else each time"),
        (mlp, {"batches": (0,)}, "batches must be whole numbers from 1"),
        (
            lambda: thinned(Apply(lambda m, x: m.layer(x.view(2, 16)), layer=nn.Linear(16, 3))),
            {"batches": (3,)},
            "batches: the model cannot be run at batch 3",
        ),
        (mlp, {"kernels": ("csr",)}, "kernels must be an object"),
        (mlp, {"kernels": (Csr,)}, "kernels must be an object"),
    ],
)
def test_refused_in_a_sentence(
    build: Callable[[], nn.Module], arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        sparse(build(), normal(2, 16), **arguments)
    assert "\n" not in str(refusal.value)


def test_an_example_without_a_batch_has_no_other_batches() -> None:
    model = thinned(Apply(lambda m, x: m.layer(x * m.layer.bias), layer=nn.Linear(4, 4)))
    with pytest.raises(ValueError, match="no tensor with a first dimension"):
        sparse(model, torch.tensor(1.0), batches=(1, 2))
