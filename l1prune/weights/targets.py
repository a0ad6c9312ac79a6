"""Which weights are under pressure: the layers' weights, each once, with its own factor."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import is_pruned

from l1prune.weights.rules import ByName, Rule, Rules, as_rules

NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


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
        raise ValueError(
            f"{type(model).__name__} has no weight to prune:{reasons or ' it is empty'}"
        )
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
    reasons = [reason for use in uses if (reason := _refusal_of_use(use))]
    if reasons:
        return TIED if reasons[0] == EMBEDDING and len(uses) > 1 else reasons[0]
    if parameter.ndim < 2:
        return BIAS
    return None if any("weight" in use.name for use in uses) else UNNAMED


def _refusal_of_use(use: _Use) -> str | None:
    """What in one of its modules speaks against a parameter."""
    module = use.module
    if isinstance(module, ParametrizationList) or _has_norm_hook(module):
        return "parametrized: pressure on it is not pressure on the weight"
    if is_pruned(module) and use.name.endswith("_orig"):
        return "already under torch.nn.utils.prune: call prune.remove first"
    if isinstance(module, NORMS) or type(module).__name__.endswith("Norm"):
        return NORM
    return EMBEDDING if isinstance(module, EMBEDDINGS) else None


def _has_norm_hook(module: nn.Module) -> bool:
    """Whether the old hook-style weight_norm or spectral_norm sits on the module."""
    hooks = module._forward_pre_hooks.values()
    return any(type(hook).__name__ in ("WeightNorm", "SpectralNorm") for hook in hooks)


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
