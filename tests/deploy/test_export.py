"""Export: what a file returns is what the model returns, in every batch; or it is not written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from l1prune.deploy import export, export_onnx, export_program
from l1prune.deploy.export_report import ExportReport
from l1prune.deploy.programs import agreement
from l1prune.deploy.sessions import Session

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="needs the extra deploy")

Export = Callable[..., ExportReport]
BOTH: list[tuple[Export, str]] = [(export_onnx, "model.onnx"), (export_program, "model.pt2")]


def pruned(model: nn.Module, share: float = 0.9) -> nn.Module:
    """In eval mode, with few weights; and with some that only every bit of them tells."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight[torch.rand(weight.shape, generator=source) < share] = 0
    return model.eval()


class Mixed(nn.Module):
    """Tokens and numbers by name; a tuple, with whole numbers in it. Gemm, Gather, MatMul, Conv."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.layer = nn.Linear(32, 24)
        self.conv = nn.Conv1d(24, 16, 3)

    def forward(self, x: Tensor, tokens: Tensor, scale: float = 1.0) -> tuple[Tensor, Any]:
        embedded = self.layer(self.embedding(tokens)) + self.layer(x).unsqueeze(1)
        convolved = self.conv(embedded.transpose(1, 2) * scale)
        return convolved, {"choice": convolved.argmax(1)}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, ExportReport]:
    torch.manual_seed(0)
    model, path = pruned(Mixed()), tmp_path_factory.mktemp("mixed") / "model.onnx"
    example = {"tokens": torch.randint(0, 50, (1, 5)), "x": torch.randn(1, 32)}
    return model, path, export_onnx(model, example, path)


def test_an_onnx_file_runs_elsewhere_in_batches_of_every_size(
    mixed: tuple[nn.Module, Path, ExportReport],
) -> None:
    import onnxruntime

    model, path, report = mixed
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {one.name: one.shape for one in session.get_inputs()} == {
        "tokens": ["batch", 5],
        "x": ["batch", 32],
    }
    assert [one.shape[0] for one in session.get_outputs()] == ["batch"] * 2
    torch.manual_seed(1)
    for batch in (1, 2, 40):
        x, tokens = torch.randn(batch, 32), torch.randint(0, 50, (batch, 5))
        with torch.no_grad():
            expected, others = model(x, tokens)
        given = {"x": x.numpy(), "tokens": tokens.numpy()}
        found, choice = session.run(None, given)
        torch.testing.assert_close(torch.from_numpy(found), expected)
        assert torch.equal(torch.from_numpy(choice), others["choice"])
        assert torch.equal(torch.from_numpy(found), Session(path)(**{"x": x, "tokens": tokens})[0])
    assert 0 < report.agreement.relative < 1e-6 and report.agreement.inputs >= 8
    assert report.fixed is None and not report.agreement.refused and not report.stayed


def test_few_weights_are_few_bytes_and_no_file_of_this_machine_is_named(
    mixed: tuple[nn.Module, Path, ExportReport],
) -> None:
    import onnx

    _, path, report = mixed
    content = path.read_bytes()
    assert report.nbytes == len(content) < report.dense_nbytes / 1.5
    assert {"embedding.weight", "conv.weight"} <= {*report.sparse}
    assert str(report).count("\n") == 1 and "4 tensors stored sparse" in str(report)
    onnx.checker.check_model(onnx.load(path))
    assert b".py" not in content


def test_a_program_of_torch_export_returns_the_same_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = pruned(Mixed()), tmp_path / "model.pt2"
    x, tokens = torch.randn(6, 32), torch.randint(0, 50, (6, 5))
    report = export_program(model, (x[:1], tokens[:1], 2.0), path)
    program = torch.export.load(path)
    with torch.no_grad():
        found, expected = program.module()(x, tokens, 2.0), model(x, tokens, 2.0)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1]["choice"], expected[1]["choice"])
    assert program.example_inputs is None  # which is somebody's data
    assert b".py" not in path.read_bytes()
    assert report.agreement.absolute == report.agreement.relative == 0


@pytest.mark.parametrize(("write", "name"), BOTH)
def test_a_forward_for_one_batch_says_so(write: Export, name: str, tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).view(3, -1)

    report = write(Fixed().eval(), torch.randn(3, 6), tmp_path / name)
    assert report.fixed is not None and "no batch but the example's" in str(report)
    assert (tmp_path / name).exists()


class Sized(nn.Module):
    """A forward that does something else where its batch has another size."""

    def __init__(self, doubles: Callable[[int], bool]) -> None:
        super().__init__()
        self.layer, self.doubles = nn.Linear(4, 3), doubles

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * 2 if self.doubles(x.shape[0]) else self.layer(x)


@pytest.mark.parametrize(("write", "name"), BOTH)
@pytest.mark.parametrize(
    ("doubles", "condition"),
    [
        (lambda size: size > 64, "<= 64"),
        (lambda size: size == 65, "65"),
        (lambda size: size % 13 == 0, "13"),
    ],
    ids=["bounded", "one", "divided"],
)
def test_a_batch_is_free_only_where_no_size_is_another_forward(
    doubles: Callable[[int], bool], condition: str, write: Export, name: str, tmp_path: Path
) -> None:
    """ONNX has no guards: at 65 the file would be wrong, and no trial of some sizes tells."""
    model, path = Sized(doubles).eval(), tmp_path / name
    report = write(model, torch.randn(3, 4), path)
    assert report.fixed is not None and condition in report.fixed
    for batch, takes in ((3, True), (65, False)):
        x = torch.randn(batch, 4)
        run = Session(path) if write is export_onnx else torch.export.load(path).module()
        if takes:
            torch.testing.assert_close(run(x), model(x))
        else:
            with pytest.raises((ValueError, RuntimeError, AssertionError)):
                run(x)


class Alone(nn.Module):
    """Takes one image, and says so in one way or another."""

    def __init__(self, insists: bool) -> None:
        super().__init__()
        self.layer, self.insists = nn.Linear(4, 3), insists

    def forward(self, x: Tensor) -> Tensor:
        if self.insists:
            assert x.shape[0] == 1, "one image"
        return self.layer(x.view(1, 2, 4)).squeeze(0)


@pytest.mark.parametrize(("write", "name"), BOTH)
@pytest.mark.parametrize("insists", [False, True])
def test_a_forward_for_a_batch_of_one_is_written_for_one(
    insists: bool, write: Export, name: str, tmp_path: Path
) -> None:
    model, x, path = Alone(insists).eval(), torch.randn(1, 2, 4), tmp_path / name
    report = write(model, x, path)
    assert report.fixed is not None and "no batch but the example's" in str(report)
    run = Session(path) if write is export_onnx else torch.export.load(path).module()
    torch.testing.assert_close(run(x), model(x))


class Listed(nn.Module):
    """Takes its tensors in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, xs: list[Tensor], scale: int = 1) -> Tensor:
        return self.layer(xs[0] * scale - xs[-1])


@pytest.mark.parametrize("given", [([1],), ([1, 2], 2), {"xs": [1]}, {"xs": [1, 2], "scale": 3}])
def test_tensors_may_come_in_lists(given: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = Listed().eval(), tmp_path / "model.onnx"
    named = isinstance(given, dict)
    tensors = [torch.randn(2, 4) for _ in (given["xs"] if named else given[0])]
    example = {**given, "xs": tensors} if named else (tensors, *given[1:])
    assert export_onnx(model, example, path).agreement.relative < 1e-5
    more = [torch.randn(5, 4) for _ in tensors]
    args, kwargs = ((), {**given, "xs": more}) if named else ((more, *given[1:]), {})
    torch.testing.assert_close(Session(path)(*args, **kwargs), model(*args, **kwargs))


def test_other_inputs_than_an_onnx_file_has_are_said(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(nn.Linear(4, 3).eval(), torch.randn(2, 4), path)
    session, x = Session(path), torch.randn(2, 4)
    for args in ((), (x, x), ([x, x],), (3,), ("x",)):
        with pytest.raises(ValueError, match=r"the ONNX file takes 1 tensors, input; .* are given"):
            session(*args)


class Returning(nn.Module):
    def __init__(self, more: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.more = nn.Linear(4, 3), more

    def forward(self, x: Tensor) -> Any:
        return {"y": self.layer(x), "more": self.more(x)}


@pytest.mark.parametrize(
    "more", [lambda x: 3, lambda x: 0.5, lambda x: "label", lambda x: x.shape[0]]
)
def test_an_onnx_file_returns_tensors_only(more: Callable[[Tensor], Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Returning returns .*; an ONNX file returns tensors"):
        export_onnx(Returning(more).eval(), torch.randn(2, 4), tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]


def test_none_among_the_outputs_is_nothing(tmp_path: Path) -> None:
    model, path = Returning(lambda x: None).eval(), tmp_path / "model.onnx"
    export_onnx(model, torch.randn(2, 4), path)
    x = torch.randn(5, 4)
    torch.testing.assert_close(Session(path)(x), model(x)["y"])


def test_half_precision_agrees_within_its_own(tmp_path: Path) -> None:
    model = pruned(nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 5))).half()
    report = export_onnx(model, torch.randn(2, 40).half(), tmp_path / "model.onnx")
    assert report.agreement.relative < 5e-3
    assert "0.weight" in report.sparse


class Refused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(1))


class Random(Refused):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.layer(x), 0.5, training=True)


class Counting(Refused):
    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(1)
        return self.layer(x)


class Deciding(Refused):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else x


def masked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4))
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model.eval()


def hooked() -> nn.Module:
    model = nn.Linear(4, 4).eval()
    model.register_forward_hook(lambda module, inputs, output: output + 1)
    return model


@pytest.mark.parametrize(("write", "name"), BOTH)
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: nn.Linear(4, 4), r"training mode.*model\.eval\(\)"),
        (masked, "prune.remove"),
        (hooked, "hooks"),
        (lambda: Random().eval(), "something else each time"),
        (lambda: Counting().eval(), "changes seen"),
        (lambda: Deciding().eval(), "cannot be exported"),
    ],
    ids=["training", "masks", "hooks", "random", "counting", "deciding"],
)
def test_what_cannot_be_run_elsewhere_is_refused_and_nothing_is_written(
    make: Callable[[], nn.Module], complaint: str, write: Export, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("what was there")
    with pytest.raises(ValueError, match=complaint):
        write(make(), torch.randn(2, 4), tmp_path / name)
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [(name, "what was there")]


def test_what_onnxruntime_has_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"onnxruntime cannot run it: .*Conv"):
        export_onnx(
            nn.Conv2d(1, 2, 3).eval().double(), torch.ones(2, 1, 4, 4).double(), tmp_path / "a.onnx"
        )
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("write", "name"), BOTH)
def test_an_example_that_the_model_does_not_take_is_said(
    write: Export, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"Linear (fails on the example|.*cannot be exported)"):
        write(nn.Linear(4, 4).eval(), torch.ones(2, 4).double(), tmp_path / name)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("write", "name"), BOTH)
def test_a_path_is_looked_at_before_anything_is_done(
    write: Export, name: str, tmp_path: Path
) -> None:
    suffix = Path(name).suffix
    model, x = nn.Linear(4, 4).eval(), torch.ones(2, 4)
    with pytest.raises(ValueError, match=rf"give a name that ends in \{suffix}"):
        write(model, x, tmp_path / "model.pth")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write(model, x, tmp_path / "nowhere" / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        write(model, x, tmp_path / name)
    for tolerance in (-1, float("nan"), "1e-4"):
        with pytest.raises(ValueError, match="tolerance"):
            write(model, x, tmp_path / f"other{suffix}", tolerance=tolerance)


def test_beyond_the_tolerance_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(model: nn.Module, run: Any, call: Any, free: bool) -> Any:
        return agreement(model, lambda one: [out + 0.1 for out in run(one)], call, free)

    monkeypatch.setattr(export, "agreement", other)
    with pytest.raises(RuntimeError, match=r"differs from it by .* nothing was written"):
        export_program(nn.Linear(4, 4).eval(), torch.ones(2, 4), tmp_path / "model.pt2")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_it_is_named_first(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=rf"{missing} is missing: pip install 'l1prune\[deploy\]'"
    ):
        export_onnx(nn.Linear(4, 4), torch.ones(2, 4), tmp_path / "model.onnx")


def test_minus_zeros_are_counted(tmp_path: Path) -> None:
    model = pruned(nn.Linear(30, 30))
    with torch.no_grad():
        model.weight.mul_(-1)  # as a mask that is multiplied on leaves them
    report = export_onnx(model, torch.ones(2, 30), tmp_path / "model.onnx")
    assert report.signed_zeros == int((model.weight == 0).sum()) and not report.sparse
    assert "are −0.0 and are kept" in str(report)


def test_other_runtimes_get_dense_weights_when_asked(tmp_path: Path) -> None:
    import onnx

    model, path = pruned(nn.Linear(30, 30)), tmp_path / "model.onnx"
    report = export_onnx(model, torch.ones(2, 30), path, sparse=False)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert report.nbytes > report.dense_nbytes and not report.sparse
