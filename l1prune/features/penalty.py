"""FeaturePenalty: a penalty of features, whatever columns of whatever layers each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from l1prune.features.entries import Entries, Groups, check_groups, owners_of
from l1prune.features.places import FIRST, count_inputs, places_of
from l1prune.features.units import FeatureUnits
from l1prune.penalties.group import GroupPenalty, share_kept
from l1prune.penalties.nonconvex import LogSum
from l1prune.penalties.penalty import Penalty, is_separable, makes_zeros
from l1prune.penalties.uneven import Members, nearest
from l1prune.weights.pieces import precise, widest
from l1prune.weights.rules import ByName, Rule, Rules
from l1prune.weights.targets import Target, find_targets


class _Alone:
    """What there is of features in a weight that no model is around: its columns."""

    @property
    def single(self) -> Penalty:
        """What a single weight costs."""
        raise NotImplementedError

    def score(self, w: Tensor) -> Tensor:
        """Root mean square of each column."""
        return _Columns(of=self.single).score(w)

    def value(self, w: Tensor) -> Tensor:
        """What the columns cost, 0-d."""
        return _Columns(of=self.single).value(w)

    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        """Shrink each column towards zero in place."""
        return _Columns(of=self.single).prox_(w, t)


@dataclass(frozen=True)
class _Columns(GroupPenalty):
    dim: int = 1
    of: Penalty = field(default_factory=LogSum)

    @property
    def single(self) -> Penalty:
        return self.of


@dataclass(frozen=True)
class FeaturePenalty(_Alone):
    """A penalty of features: Σ_f m·p(ρ_f), ρ_f the root mean square of all m weights of feature f.

    A feature is a column of the first layer; or the columns of several layers that see the same
    inputs, which live and die together; or the one-hot columns of a variable, however many these
    are. Where every feature is one column of one layer, `GroupLogSum(dim=1)` is the same.

    Args:
        penalty: p, what a single weight costs: `LogSum()`, `MCP()`, `SCAD()`, `L1()`; None:
            `LogSum(0.05)`.
        layer: name of the layer, or of several that see the same inputs; shell patterns. `"first"`,
            where none is called so, is the first one.
        groups: the inputs that are one feature; those in none are a feature each.

    Raises:
        ValueError: an input is in two groups, or these are no lists; when it is joined to a model:
            there are no such layers, they do not see the same, or an input is not there.

    Source: Luo and Halabi, "Sparse-input neural network using group concave regularization",
    arXiv 2307.00344; groups of unequal size as in Yuan and Lin, 2006.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> joined = FeaturePenalty(groups=[[1, 2, 3]]).join(model)
    >>> [rule.pattern for rule in joined.rules(None)], joined.owners.tolist()
    (['0.weight'], [0, 1, 1, 1])
    """

    penalty: Penalty | None = None
    layer: str | Sequence[str] = FIRST
    groups: Groups | None = None

    def __post_init__(self) -> None:
        check_groups(self.groups)

    @property
    def single(self) -> Penalty:
        """What a single weight costs."""
        return LogSum(0.05) if self.penalty is None else self.penalty

    def join(self, model: nn.Module) -> JoinedFeaturePenalty:
        """The penalty of this model's features."""
        return JoinedFeaturePenalty(self, model)


class JoinedFeaturePenalty(_Alone):
    """`FeaturePenalty` of one model.

    Args:
        of: the penalty.
        model: the model.

    Attributes:
        places: where its features enter, in the model's order.
        owners: of which feature each input is.
    """

    def __init__(self, of: FeaturePenalty, model: nn.Module) -> None:
        self._of, self._model = of, model
        self.places = places_of(model, of.layer)
        self.owners = owners_of(count_inputs(self.places), of.groups)
        self._entries = Entries(self.places, self.owners)
        self._numbers = {id(place.weight): at for at, place in enumerate(self.places)}

    @property
    def single(self) -> Penalty:
        """What a single weight costs."""
        return self._of.single

    def __repr__(self) -> str:
        return repr(self._of)

    def rules(self, given: Rules | None) -> Sequence[Rule]:
        """Those that name the weights by which features enter, and that `given` leaves whole.

        Raises:
            ValueError: that leaves none.
        """
        names = [place.name for place in self.places]
        if given is not None:
            chosen = {target.name for target in find_targets(self._model, given)}
            names = [name for name in names if name in chosen]
        if not names:
            where = ", ".join(place.name for place in self.places)
            raise ValueError(f"targets={given!r} leaves out {where}, where features enter")
        return [ByName(name) for name in names]

    @torch.no_grad()
    def sizes(self) -> Tensor:
        """How large each feature is now, the root mean square of its weights."""
        weights = [place.weight.detach() for place in self.places]
        return self._entries.sizes(range(len(weights)), weights)

    def units(self, targets: Sequence[Target]) -> FeatureUnits:
        """How these targets divide into features."""
        return FeatureUnits(self._entries, self.places, targets)

    @torch.no_grad()
    def prox_all_(
        self,
        parameters: Sequence[Tensor],
        weights: Sequence[Tensor],
        steps: Sequence[float | Tensor],
    ) -> None:
        """Shrink each feature towards zero in place, as far as it lies in these weights."""
        numbers = [self._numbers[id(parameter)] for parameter in parameters]
        numerous = any(isinstance(t, Tensor) and t.numel() > 1 for t in steps)
        if numerous or len({float(t) for t in steps}) > 1:
            self._shrink_unevenly_(numbers, weights, steps)
        elif float(steps[0]) > 0:
            sizes = self._entries.sizes(numbers, weights)
            kept = share_kept(sizes, torch.full_like(sizes, float(steps[0])), self.single)
            for number, w in zip(numbers, weights, strict=True):
                w.mul_(self._entries.spread(number, kept, w)).add_(0.0)  # -0.0 + 0.0 = 0.0

    def _shrink_unevenly_(
        self, numbers: Sequence[int], weights: Sequence[Tensor], steps: Sequence[float | Tensor]
    ) -> None:
        exact = widest(weights[0].device)  # minima are compared, whose costs differ by little
        features = torch.arange(self._entries.count, device=weights[0].device)
        whose, ws, ts = [], [], []
        for number, w, t in zip(numbers, weights, steps, strict=True):
            most = torch.finfo(precise(w.dtype)).max
            whose.append(self._entries.spread(number, features, w).expand_as(w).flatten())
            ws.append(w.to(exact).flatten())
            t = torch.as_tensor(t, dtype=exact, device=w.device).clamp(max=most)
            ts.append(t.expand_as(w).flatten())
        by = Members(torch.cat(whose), self._entries.count)
        found = nearest(torch.cat(ws), torch.cat(ts), by, self.single)
        for w, x in zip(weights, torch.split(found, [w.numel() for w in weights]), strict=True):
            w.copy_(x.view_as(w))


@makes_zeros.register
def _(penalty: _Alone) -> bool:
    return makes_zeros(penalty.single)


@is_separable.register
def _(penalty: _Alone) -> bool:
    return False
