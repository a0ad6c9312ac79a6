"""Which weights are under pressure: the layers' weights, each once, with its own factor."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import is_pruned

from l1prune.checks import NoWeightsError
from l1prune.weights.rules import ByName, Rule, Rules, as_rules

NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
EMBEDDING_CLASS = re.compile("Embed|Position")
TABLE = re.compile("embed|pos|token|table|prompt|quer", re.IGNORECASE)
"""In the name of a parameter: a row is looked up in it, not multiplied."""


@dataclass(frozen=True, eq=False)
class Target:
    """One weight under pressure.

    Args:
        name: its first name in the model.
        parameter: the weight itself.
        factor: of its strength.
        inputs: the dimension along which its layer's inputs are counted.
        stacked: whether it is a stack of matrices, one layer each, as the experts of a mixture.
        despite: what speaks against it, where it is kept in spite of that.
    """

    name: str
    parameter: nn.Parameter
    factor: float = 1.0
    inputs: int = 1
    stacked: bool = False
    despite: str = ""


@dataclass(frozen=True, eq=False)
class Targets(Sequence[Target]):
    """The chosen weights, in the model's order, and why each other parameter was skipped."""

    chosen: tuple[Target, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> Target: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Target, ...]: ...
    def __getitem__(self, index: int | slice) -> Target | tuple[Target, ...]:
        return self.chosen[index]

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[Target]:
        return iter(self.chosen)

    @property
    def stacked(self) -> tuple[str, ...]:
        """The names of those that are taken for stacks of matrices."""
        return tuple(target.name for target in self.chosen if target.stacked)

    def without(self, reasons: Mapping[str, str]) -> Targets:
        """The same but for some weights, by name, each with the reason why it is left alone.

        >>> targets = find_targets(nn.Linear(2, 2)).without({"weight": "too small"})
        >>> len(targets), targets.skipped["weight"]
        (0, 'too small')
        """
        chosen = tuple(target for target in self.chosen if target.name not in reasons)
        return Targets(chosen, {**self.skipped, **reasons})


# Reasons that hold by default only: a parameter named in full is chosen in spite of them.
NORM = "normalisation"
EMBEDDING = "embedding"
TIED = "tied to an embedding"
BIAS = "bias or scale"
UNNAMED = "not called a weight: name it in full to prune it"
BY_DEFAULT = (NORM, EMBEDDING, TIED, BIAS, UNNAMED)

FROZEN = "frozen"
NOT_CHOSEN = "no rule names it"
PARAMETRIZED = "parametrized: pressure on it is not pressure on the weight"


def find_targets(
    model: nn.Module,
    rules: Rules | None = None,
    kept: Collection[str] = (),
    thawed: bool = False,
) -> Targets:
    """Find the weights to prune, every tied weight once.

    By default these are the weights of all layers: trainable parameters with at least two
    dimensions that a module calls a weight, and three-dimensional ones under any name, which are
    taken for stacks of matrices, as the experts of a mixture are. Biases, normalisations,
    embeddings and tables of positions (and what is tied to one), frozen, parametrized and complex
    parameters are left alone; `skipped` says why.

    Args:
        model: the module whose parameters are looked through.
        rules: narrows the default. A list of shell patterns, module classes, `ByName`, `ByRegex`,
            `ByType`, `First` or `Except`, or a mapping from shell pattern to factor, None to leave
            out. The first rule that fits a weight decides its factor; see `as_rules` for the order.
        kept: the names of weights that are chosen whatever speaks against them, as they were.
        thawed: whether what is frozen is chosen too, since it will not stay so.

    Raises:
        ValueError: nothing to prune, a rule that fits nothing, or a lazy parameter.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    >>> [target.name for target in find_targets(model)]
    ['0.weight', '2.weight']
    >>> [(t.name, t.factor) for t in find_targets(model, {"*": 1.0, "0": 2.0})]
    [('0.weight', 2.0), ('2.weight', 1.0)]
    >>> from l1prune import Except
    >>> [target.name for target in find_targets(model, Except("2.*"))]
    ['0.weight']
    """
    owners = _owners(model)
    against = {name: _refusal(uses, thawed) for name, uses in owners.items()}
    refusals = {name: None if name in kept else reason for name, reason in against.items()}
    factors = {name: 1.0 for name, reason in refusals.items() if reason is None}
    left_out: dict[str, str] = {}
    if rules is not None:
        factors, left_out = _apply(as_rules(rules), owners, refusals)
        factors = {n: factors.get(n, 1.0) for n in owners if n in factors or n in kept}
    skipped = {
        name: left_out.get(name) or refusals[name] or NOT_CHOSEN
        for name in owners
        if name not in factors
    }
    if not factors:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in skipped.items())
        message = f"{type(model).__name__} has no weight to prune:{reasons or ' it is empty'}"
        raise NoWeightsError(message, skipped)
    chosen = tuple(
        _target(name, owners[name], factor, against[name] if name in kept else None)
        for name, factor in factors.items()
    )
    return Targets(chosen, skipped)


def _target(name: str, uses: list[_Use], factor: float, despite: str | None) -> Target:
    # A transposed convolution is (in, out, …), and so is each matrix of a mixture's experts.
    stacked = _is_stack(uses)
    transposed = stacked or isinstance(uses[0].module, _ConvTransposeNd)
    inputs = 0 if transposed else 1
    return Target(name, uses[0].parameter, factor, inputs, stacked, despite or "")


@dataclass(frozen=True, eq=False)
class _Use:
    """A parameter as one module holds it."""

    module: nn.Module
    name: str
    parameter: nn.Parameter


def _owners(model: nn.Module) -> dict[str, list[_Use]]:
    """Every parameter under its first name, with all the places where it is used."""
    by_identity: dict[int, tuple[str, list[_Use]]] = {}
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                full = f"{path}.{name}" if path else name
                _, uses = by_identity.setdefault(id(parameter), (full, []))
                uses.append(_Use(module, name, parameter))
    return dict(by_identity.values())


def _refusal(uses: list[_Use], thawed: bool) -> str | None:
    """Why a parameter is no target by default, or None if it is one."""
    parameter: Tensor = uses[0].parameter
    if is_lazy(parameter):
        raise ValueError(
            f"{type(uses[0].module).__name__}.{uses[0].name} has no shape yet: "
            "run one batch through the model before training it"
        )
    if not (parameter.requires_grad or thawed):
        return FROZEN
    if parameter.is_complex():
        return "complex"
    if parameter.element_size() < 2:
        return f"{parameter.dtype} has too few bits to be pressed"
    reasons = [reason for use in uses if (reason := _refusal_of_use(use))]
    if reasons:
        return TIED if reasons[0] == EMBEDDING and len(uses) > 1 else reasons[0]
    if parameter.ndim < 2:
        return BIAS
    return None if _is_called_weight(uses) or _is_stack(uses) else UNNAMED


def _is_called_weight(uses: list[_Use]) -> bool:
    return any("weight" in use.name for use in uses)


def _is_stack(uses: list[_Use]) -> bool:
    """Whether a parameter that no module calls a weight looks like several matrices of weights."""
    shape = uses[0].parameter.shape
    tables = any(TABLE.search(use.name) for use in uses)
    return len(shape) == 3 and min(shape) > 1 and not tables and not _is_called_weight(uses)


def _refusal_of_use(use: _Use) -> str | None:
    """What in one of its modules speaks against a parameter."""
    module = use.module
    if isinstance(module, ParametrizationList) or _has_norm_hook(module):
        return PARAMETRIZED
    if is_pruned(module) and use.name.endswith("_orig"):
        return "already under torch.nn.utils.prune: call prune.remove first"
    if isinstance(module, NORMS) or type(module).__name__.endswith("Norm"):
        return NORM
    layer = isinstance(module, nn.Linear | _ConvNd)
    table = EMBEDDING_CLASS.search(type(module).__name__) and not layer
    return EMBEDDING if isinstance(module, EMBEDDINGS) or table else None


def _has_norm_hook(module: nn.Module) -> bool:
    """Whether the old hook-style weight_norm or spectral_norm sits on the module."""
    hooks = module._forward_pre_hooks.values()
    return any(type(hook).__name__ in ("WeightNorm", "SpectralNorm") for hook in hooks)


def _apply(
    rules: list[Rule], owners: dict[str, list[_Use]], refusals: dict[str, str | None]
) -> tuple[dict[str, float], dict[str, str]]:
    """Each chosen name with its factor, each left out with the reason; every rule must fit."""
    choosing = [rule for rule in rules if rule.factor is not None] or [ByName("*")]
    leaving = [rule for rule in rules if rule.factor is None]
    fits = {rule: _fitting(rule, owners, refusals) for rule in choosing}
    left_out = {
        name: f"left out by {rule}" for rule in leaving for name in _fitting(rule, owners, {})
    }
    factors: dict[str, float] = {}
    for rule, names in fits.items():
        for name in names:
            if name not in left_out:
                factors.setdefault(name, rule.factor or 0.0)
    return {name: factors[name] for name in owners if name in factors}, left_out


def _fitting(
    rule: Rule, owners: dict[str, list[_Use]], refusals: Mapping[str, str | None]
) -> list[str]:
    """The parameters that a rule fits and nothing speaks against.

    Raises:
        ValueError: there is none.
    """
    matched = [name for name, uses in owners.items() if _matches(rule, name, uses)]
    allowed = [name for name in matched if _allows(rule, name, refusals.get(name))]
    if not allowed:
        reasons = {name: refusals.get(name) for name in owners}
        raise ValueError(_nothing_fits(rule, reasons, matched))
    return allowed[: getattr(rule, "most", None)]


def _matches(rule: Rule, name: str, uses: list[_Use]) -> bool:
    return any(rule.matches(_plain(name), use.module) for use in uses)


def _allows(rule: Rule, name: str, refusal: str | None) -> bool:
    """Whether a parameter may be chosen: one named in full, in spite of what holds by default."""
    in_full = getattr(rule, "pattern", None) in (name, _plain(name))
    return refusal is None or (in_full and refusal in BY_DEFAULT)


def _plain(name: str) -> str:
    """Without torch.compile's prefix, which is not part of the user's name."""
    return name.replace("_orig_mod.", "")


def _nothing_fits(rule: Rule, refusals: dict[str, str | None], matched: list[str]) -> str:
    if matched:
        reasons = "; ".join(f"{name}: {refusals[name]}" for name in matched[:4])
        more = ", …" if len(matched) > 4 else ""
        return f"targets: {rule} fits no weight that can be pruned: {reasons}{more}"
    prunable = [name for name, reason in refusals.items() if reason is None]
    pattern = str(getattr(rule, "pattern", getattr(rule, "rule", "")))
    close = difflib.get_close_matches(pattern, prunable, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    listed = ", ".join(prunable[:8]) + (", …" if len(prunable) > 8 else "")
    return f"targets: {rule} fits no weight; {hint}The weights are: {listed or 'none'}"
