"""Which weights are under pressure: the layers' weights, each once, with its own factor."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import is_pruned

NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


@runtime_checkable
class Rule(Protocol):
    """Chooses weights: `factor` multiplies the strength of those that `matches` accepts."""

    @property
    def factor(self) -> float: ...

    def matches(self, name: str, module: nn.Module) -> bool: ...


def _check_factor(factor: float) -> None:
    if not (math.isfinite(factor) and factor >= 0):
        raise ValueError(f"factor must be a finite number ≥ 0, got {factor!r}")


@dataclass(frozen=True)
class ByName:
    """Weights whose name, or the name of a module around them, fits a shell pattern.

    `*` crosses dots, so `"encoder.*"` and `"encoder"` both choose all that lies in `encoder`. A
    pattern that is the full name of a parameter chooses it even if it is a bias, a norm or an
    embedding, which patterns otherwise leave alone.

    >>> ByName("encoder.*.fc1", factor=2.0).matches("encoder.3.fc1.weight", nn.Linear(2, 2))
    True
    """

    pattern: str
    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    def matches(self, name: str, module: nn.Module) -> bool:
        parts = name.split(".")
        around = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return any(fnmatch.fnmatchcase(path, self.pattern) for path in around)


@dataclass(frozen=True)
class ByRegex:
    """Weights in whose full name the regular expression is found.

    >>> ByRegex(r"conv[12]\\.").matches("body.conv2.weight", nn.Conv2d(1, 1, 1))
    True
    """

    pattern: str
    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from None

    def matches(self, name: str, module: nn.Module) -> bool:
        return re.search(self.pattern, name) is not None


@dataclass(frozen=True)
class ByType:
    """Weights that belong to a module of this class, given as the class or its import path.

    >>> ByType("torch.nn.Conv2d", factor=0.5).matches("stem.weight", nn.Conv2d(1, 1, 1))
    True
    """

    module: type[nn.Module] | str
    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        if isinstance(self.module, str):
            object.__setattr__(self, "module", _import_class(self.module))

    def matches(self, name: str, module: nn.Module) -> bool:
        assert not isinstance(self.module, str)
        return isinstance(module, self.module)


def _import_class(path: str) -> type[nn.Module]:
    package, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError):
        found = None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(
            f"module {path!r} is not the import path of a torch module; try 'torch.nn.Linear'"
        )
    return found


@dataclass(frozen=True, eq=False)
class Target:
    """One weight under pressure: its first name in the model, itself, and its strength's factor."""

    name: str
    parameter: nn.Parameter
    factor: float = 1.0


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


Rules = Sequence[str | Rule | type] | Mapping[str, float]

# Reasons that hold by default only: a parameter named in full is chosen in spite of them.
NORM = "normalisation"
EMBEDDING = "embedding"
TIED = "tied to an embedding"
BIAS = "bias or scale"
UNNAMED = "not called a weight: name it in full to prune it"
BY_DEFAULT = (NORM, EMBEDDING, TIED, BIAS, UNNAMED)


def find_targets(model: nn.Module, rules: Rules | None = None) -> Targets:
    """Find the weights to prune, every tied weight once.

    By default these are the weights of all layers: trainable parameters with at least two
    dimensions that a module calls a weight. Biases, normalisations and embeddings (and what is
    tied to one), frozen, parametrized and complex parameters are left alone; `skipped` says why.

    Args:
        model: the module whose parameters are looked through.
        rules: narrows the default. A list of shell patterns, module classes, `ByName`, `ByRegex`
            or `ByType`, or a mapping from shell pattern to factor. The first rule that fits a
            weight decides its factor.

    Raises:
        ValueError: nothing to prune, a rule that fits nothing, or a lazy parameter.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    >>> [target.name for target in find_targets(model)]
    ['0.weight', '2.weight']
    >>> [(t.name, t.factor) for t in find_targets(model, {"0": 2.0, "*": 1.0})]
    [('0.weight', 2.0), ('2.weight', 1.0)]
    """
    owners = _owners(model)
    refusals = {name: _refusal(uses) for name, uses in owners.items()}
    if rules is None:
        factors = {name: 1.0 for name, reason in refusals.items() if reason is None}
    else:
        factors = _apply(as_rules(rules), owners, refusals)
    skipped = {n: refusals[n] or "no rule names it" for n in owners if n not in factors}
    if not factors:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in skipped.items())
        raise ValueError(f"{type(model).__name__} has no weight to prune:{reasons or ' it is empty'}")
    chosen = tuple(Target(n, owners[n][0].parameter, factor) for n, factor in factors.items())
    return Targets(chosen, skipped)


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


def _refusal(uses: list[_Use]) -> str | None:
    """Why a parameter is no target by default, or None if it is one."""
    parameter: Tensor = uses[0].parameter
    if is_lazy(parameter):
        raise ValueError(
            f"{type(uses[0].module).__name__}.{uses[0].name} has no shape yet: "
            "run one batch through the model before training it"
        )
    if not parameter.requires_grad:
        return "frozen"
    if parameter.is_complex():
        return "complex"
    if parameter.element_size() < 2:
        return f"{parameter.dtype} has too few bits to be pressed"
    for use in uses:
        if isinstance(use.module, ParametrizationList) or _has_norm_hook(use.module):
            return "parametrized: pressure on it is not pressure on the weight"
        if is_pruned(use.module) and use.name.endswith("_orig"):
            return "already under torch.nn.utils.prune: call prune.remove first"
        if isinstance(use.module, NORMS) or type(use.module).__name__.endswith("Norm"):
            return NORM
        if isinstance(use.module, EMBEDDINGS):
            return EMBEDDING if len(uses) == 1 else TIED
    if parameter.ndim < 2:
        return BIAS
    if not any("weight" in use.name for use in uses):
        return UNNAMED
    return None


def _has_norm_hook(module: nn.Module) -> bool:
    """Whether the old hook-style weight_norm or spectral_norm sits on the module."""
    hooks = module._forward_pre_hooks.values()
    return any(type(hook).__name__ in ("WeightNorm", "SpectralNorm") for hook in hooks)


def as_rules(rules: Rules) -> list[Rule]:
    """The rules that patterns, classes and mappings stand for."""
    if isinstance(rules, str):
        raise ValueError(f"targets must be a list of patterns, got the string {rules!r}: put it in [ ]")
    if isinstance(rules, Mapping):
        return [ByName(pattern, factor) for pattern, factor in rules.items()]
    made: list[Rule] = []
    for rule in rules:
        if isinstance(rule, str):
            made.append(ByName(rule))
        elif isinstance(rule, type):
            made.append(ByType(rule))
        elif isinstance(rule, Rule):
            made.append(rule)
        else:
            raise ValueError(f"targets: {rule!r} is no pattern, module class, ByName, ByRegex or ByType")
    return made


def _apply(
    rules: list[Rule], owners: dict[str, list[_Use]], refusals: dict[str, str | None]
) -> dict[str, float]:
    """Each chosen name with its factor; every rule must fit something."""
    fits = {rule: [n for n in owners if _fits(rule, n, owners[n], refusals[n])] for rule in rules}
    for rule, names in fits.items():
        if not names:
            raise ValueError(_nothing_fits(rule, refusals))
    factors: dict[str, float] = {}
    for rule, names in fits.items():
        for name in names:
            factors.setdefault(name, rule.factor)
    return {name: factors[name] for name in owners if name in factors}


def _fits(rule: Rule, name: str, uses: list[_Use], refusal: str | None) -> bool:
    plain = name.replace("_orig_mod.", "")  # torch.compile's prefix is not part of the user's name
    in_full = isinstance(rule, ByName) and rule.pattern in (name, plain)
    allowed = refusal is None or (in_full and refusal in BY_DEFAULT)
    return allowed and any(rule.matches(plain, use.module) for use in uses)


def _nothing_fits(rule: Rule, refusals: dict[str, str | None]) -> str:
    prunable = [name for name, reason in refusals.items() if reason is None]
    pattern = str(getattr(rule, "pattern", ""))
    close = difflib.get_close_matches(pattern, prunable, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    listed = ", ".join(prunable[:8]) + (", …" if len(prunable) > 8 else "")
    return f"targets: {rule} fits no weight; {hint}The weights are: {listed or 'none'}"
