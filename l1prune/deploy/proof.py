"""Proof: two models run in float64 on the same inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from l1prune.deploy.copies import shell
from l1prune.deploy.graph import first_line
from l1prune.deploy.inputs import Arguments, Sizes, at_sizes, variations

TOLERANCE = 1e-9
EXACT = {
    **dict.fromkeys((torch.float32, torch.bfloat16, torch.float16), torch.double),
    **dict.fromkeys((torch.complex64, torch.complex32), torch.complex128),
}


class Float64(TorchFunctionMode):
    """All that is computed within is computed in float64, whatever type the model asks for.

    No copy of the model is made: each weight is converted where it is used.

    >>> layer = nn.Linear(2, 1)
    >>> with Float64():
    ...     layer(torch.ones(1, 2)).dtype
    torch.float64
    """

    def __enter__(self) -> Float64:
        self._default = torch.get_default_dtype()
        torch.set_default_dtype(torch.double)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        torch.set_default_dtype(self._default)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(_exact, (args, kwargs or {}))
        name = getattr(func, "__name__", "")
        return (
            func(*args, **kwargs).double()
            if name in ("float", "half", "bfloat16")
            else func(*args, **kwargs)
        )


def _exact(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(EXACT[value.dtype]) if value.dtype in EXACT else value
    return EXACT.get(value, value) if isinstance(value, torch.dtype) else value


def outputs(model: nn.Module, call: Arguments) -> list[Any]:
    """All that a model returns, tensors and others, in order."""
    args, kwargs = call
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model's own, said already when it was trained
        return list(tree_leaves(model(*args, **kwargs)))


def difference(some: list[Any], others: list[Any]) -> float:
    """The largest difference of two lists of outputs, over the largest value of each tensor."""
    if len(some) != len(others):
        return float("inf")
    return max((_difference(*pair) for pair in zip(some, others, strict=True)), default=0.0)


def gap(some: list[Any], others: list[Any]) -> float:
    """The largest absolute difference of two lists of outputs, where both are finite."""
    pairs = [
        (one.double(), other.double())
        for one, other in zip(some, others, strict=True)
        if isinstance(one, Tensor) and one.is_floating_point()
    ]
    gaps = [(one - other).abs() for one, other in pairs]
    return max((float(g[g.isfinite()].max()) for g in gaps if g.isfinite().any()), default=0.0)


def precision(model: nn.Module) -> float:
    """The relative distance of neighbours in the coarsest type of the weights."""
    types = {tensor.dtype for tensor in model.parameters()}
    floats = [dtype for dtype in types if dtype.is_floating_point or dtype.is_complex]
    return max((torch.finfo(dtype).eps for dtype in floats), default=torch.finfo().eps)


def _difference(one: Any, other: Any) -> float:
    if not isinstance(one, Tensor):
        return 0.0 if one is other or one == other else float("inf")
    if not isinstance(other, Tensor) or one.shape != other.shape:
        return float("inf")
    if not (one.is_floating_point() or one.is_complex()):
        return 0.0 if torch.equal(one, other) else float("inf")
    one, other = (
        value.to(torch.promote_types(value.dtype, torch.double)) for value in (one, other)
    )
    finite = one.isfinite()
    same = (one == other) | (one.isnan() & other.isnan())
    if not same[~finite].all():
        return float("inf")
    gap = (one - other)[finite].abs()
    if not gap.numel() or not gap.max():
        return 0.0
    largest = float(gap.max() / one[finite].abs().max())
    return largest if largest == largest else float("inf")


def exact_outputs(model: nn.Module, call: Arguments) -> list[Any]:
    """What a model returns when all is computed in float64."""
    with Float64():
        return outputs(model, tree_map(_exact, call))


Run = Callable[[nn.Module, Arguments], list[Any]]
Reference = tuple[Arguments, list[Any]]


def references(
    model: nn.Module, call: Arguments, run: Run, edges: list[Sizes] | None
) -> list[Reference]:
    """Inputs that a model takes, and what it makes of them.

    Args:
        model: in eval mode.
        call: the example, which it has to take.
        run: how the model is run.
        edges: more sizes to try besides others; None: of the example's sizes only.

    Raises:
        ValueError: the model fails on the example, or returns something else each time.
    """
    kind, twin = type(model).__name__, shell(model)
    try:
        found = [(call, run(twin, call))]
    except Exception as error:
        raise ValueError(
            f"model: {kind} cannot be run to compare its smaller form with it: {first_line(error)}"
        ) from error
    if difference(found[0][1], run(twin, call)) > TOLERANCE:
        raise ValueError(
            f"model: {kind} returns something else each time that it gets the same input, so "
            "that nothing can be compared with it"
        )
    return [*found, *_taken(model, variations(call, edges), run)]


def references_at(
    model: nn.Module, call: Arguments, run: Run, sizes: Sequence[Sizes]
) -> list[Reference]:
    """Inputs of certain sizes that a model takes, and what it makes of them."""
    source = torch.Generator().manual_seed(0)
    return _taken(model, at_sizes(call, sizes, source), run)


def _taken(model: nn.Module, calls: Iterable[Arguments], run: Run) -> list[Reference]:
    """Each run starts from the same model, so that none depends on what another leaves in it."""
    found = []
    for call in calls:
        try:
            found.append((call, run(shell(model), call)))
        except Exception:
            continue  # it does not take inputs of this shape
    return found


def disagreement(
    twin: nn.Module, expected: list[Reference], run: Run, tolerance: float
) -> tuple[float, str | None]:
    """The largest relative difference, up to the first that is too large: that is what is wrong."""
    worst = 0.0
    for call, outs in expected:
        try:
            worst = max(worst, difference(outs, run(shell(twin), call)))
        except Exception as error:
            return float("inf"), f"without them it fails: {first_line(error)}"
        if not worst <= tolerance:
            return worst, f"without them the outputs differ by {worst:.1e}"
    return worst, None
