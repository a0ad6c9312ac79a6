"""The targets of a run: those weights of the model that an optimizer of the run moves.

Both may change while it runs: a head is replaced, a backbone is unfrozen.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from torch import Tensor, nn
from torch.optim import Optimizer

from l1prune.cuts import masks
from l1prune.cuts.masks import Masks
from l1prune.cuts.plans import cuttable
from l1prune.cuts.units import check_units
from l1prune.penalties import Penalty
from l1prune.penalties.joint import JointPenalty, PenaltyOfModel
from l1prune.pressure.optimizers import weight_ids
from l1prune.training.recipe import Recipe
from l1prune.weights.targets import PARAMETRIZED, Target, Targets, find_targets
from l1prune.weights.warning import warn

UNMOVED = "no optimizer moves it"
AWAITED = "frozen: pruned as soon as it is trained"


def trained(
    targets: Targets, optimizers: Sequence[Optimizer] | None, cut: Collection[str] = ()
) -> Targets:
    """Those of the targets that are trained now.

    Args:
        targets: all that may be.
        optimizers: of the run; None: it is not known yet what they move.
        cut: the names of weights that have been cut: they stay targets, whatever becomes of them.
    """
    frozen = [t.name for t in targets if not (t.parameter.requires_grad or t.name in cut)]
    found = targets.without(dict.fromkeys(frozen, AWAITED))
    if optimizers is None:
        return found
    moved = set[int]().union(*map(weight_ids, optimizers))
    still = [target.name for target in found if id(target.parameter) not in moved]
    return found.without({name: UNMOVED for name in still if name not in cut})


def announce(targets: Targets, before: Sequence[str]) -> None:
    """Say what of the model is left alone, or is pruned by a guess, before it trains.

    Args:
        targets: the weights to prune.
        before: the names of those of a run that was stopped, and goes on.

    Raises:
        ValueError: nothing is left to prune.
    """
    still = unmoved(targets)
    if not (len(targets) or AWAITED in targets.skipped.values()):
        raise ValueError(
            f"no optimizer of the run moves any of the weights to prune ({', '.join(still[:4])}): "
            "return the one that does from configure_optimizers, or give it, in a loop of your own"
        )
    if still:
        warn(f"no optimizer moves {', '.join(still)}: left alone, neither pressed nor cut")
    if targets.stacked:
        warn(
            f"no module calls {', '.join(targets.stacked)} a weight, but each is a stack of "
            "matrices, as the experts of a mixture are: pruned; leave them out with "
            "targets=Except(...)"
        )
    if said := left(before, targets):
        warn(said)


def unmoved(targets: Targets) -> list[str]:
    """The names of the weights that would be targets if an optimizer moved them."""
    return [name for name, reason in targets.skipped.items() if reason == UNMOVED]


def left(before: Sequence[str], now: Targets) -> str | None:
    """What to say of the names of targets before a run was stopped that are none any more.

    >>> left(["head.weight"], Targets((), {"head.weight": "frozen"}))
    'head.weight was to be pruned before the run was stopped, and is left alone now: frozen'
    """
    names = {target.name for target in now}
    found = [name for name in before if name not in names and name in now.skipped]
    if not found:
        return None
    return (
        f"{', '.join(found)} was to be pruned before the run was stopped, and is left alone now: "
        f"{now.skipped[found[0]]}"
    )


def names_now(targets: Iterable[Target], model: nn.Module) -> dict[str, str]:
    """For each target that is in the model still, by its name so far, the one that it has now."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = ((target.name, names.get(id(target.parameter))) for target in targets)
    return {name: now for name, now in found if now is not None}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers of a model, under each of their names."""
    parameters = model.named_parameters(remove_duplicate=False)
    return {**dict(parameters), **dict(model.named_buffers(remove_duplicate=False))}


def renames(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> dict[str, str]:
    """Of tensors that have another name than before, the one now by the one before.

    >>> w, b = nn.Linear(2, 1).parameters()
    >>> renames({"head.weight": w, "head.bias": b}, {"head.inner.weight": w, "head.bias": b})
    {'head.weight': 'head.inner.weight'}
    """
    new: dict[int, list[str]] = {}
    for name, tensor in now.items():
        if before.get(name) is not tensor:
            new.setdefault(id(tensor), []).append(name)
    moved = (name for name, tensor in before.items() if now.get(name) is not tensor)
    return {name: new[id(before[name])].pop(0) for name in moved if new.get(id(before[name]))}


class RunTargets:
    """The targets that a run goes by, and their masks: parameters, whatever name they have now.

    A parameter that was cut stays a target as long as it is in the model, whatever is wrapped
    around it; what is in the model no more is neither held nor counted.

    Args:
        recipe: says which weights are pruned.
        masks: of the run, by name; they follow the weights, in place.
        model: as it is before the fit.
        thawed: whether what is frozen is trained, and pruned, later.

    Attributes:
        found: the targets.
        penalty: of the recipe, which knows the model if it has to.

    Raises:
        ValueError: there is no weight to prune, or they cannot be cut as asked for.
    """

    def __init__(
        self, recipe: Recipe, masks: Masks, model: nn.Module, thawed: bool = False
    ) -> None:
        self._recipe, self.masks, self._model, self._thawed = recipe, masks, model, thawed
        self._moved: list[object] = []
        self._all: list[object] = []
        self._names: dict[str, Tensor] = {}
        self._penalty = PenaltyOfModel(recipe.penalty, model)
        every, self.penalty = self._find()
        self._check(every, self.penalty)
        self.found = trained(every, None, masks.names)

    def begin(self, optimizers: Sequence[Optimizer]) -> None:
        """Take what the optimizers move, and put masks that were loaded where their weights are.

        Raises:
            ValueError: there is no weight to prune.
        """
        self.have_changed(optimizers, thorough=True)
        self._names = tensors(self._model)
        every, self.penalty = self._find()
        self.found = trained(every, optimizers, self.masks.names)
        self.masks.unpack(self.found)

    def have_changed(self, optimizers: Sequence[Optimizer], thorough: bool) -> bool:
        """Whether what optimizers move, or the model has, is another than when this was last asked.

        Args:
            optimizers: of the run.
            thorough: whether to look at the model as well, which takes longer.
        """
        moved: list[object] = [*optimizers]
        moved += [w for one in optimizers for group in one.param_groups for w in group["params"]]
        changed = len(moved) != len(self._moved) or not all(map(operator.is_, moved, self._moved))
        # The objects themselves: another may have the address of one that is gone.
        self._moved = moved
        if thorough:
            everything = [*_identities(self._model)]
            changed = changed or everything != self._all
            self._all = everything
        return changed

    def look_again(self, optimizers: Sequence[Optimizer], cuts_to_come: bool) -> dict[str, str]:
        """Take the model, and what optimizers move, as they are now.

        Args:
            optimizers: of the run.
            cuts_to_come: whether what joins is cut later.

        Returns:
            The names now of what has another, by those before.
        """
        before, cut = self.found, set(self.masks)
        self.follow()
        try:
            every, penalty = self._find(self.found)
            found = trained(every, optimizers, self.masks.names)
            self._check(every if self._thawed else found, penalty)
            self.found, self.penalty = found, penalty
        except ValueError as error:  # the run is under way: go on with what is there of it
            warn(f"the model has changed, and its new weights are left alone: {error}")
            with suppress(ValueError):
                self.penalty = self._penalty.now()
        for said in changes(before, self.found, self._model, cut, cuts_to_come):
            warn(said)
        names, self._names = self._names, tensors(self._model)
        return renames(names, self._names)

    def follow(self) -> None:
        """Give targets and masks the names that they have now, and let go of what has left."""
        names = names_now(self.found, self._model)
        masks = self.masks.renamed(names)
        self.masks.clear()
        self.masks.update(masks)
        chosen = [replace(t, name=names[t.name]) for t in self.found if t.name in names]
        there = {name for name, _ in self._model.named_parameters()} - set(names.values())
        skipped = {name: self.found.skipped.get(name, "it came later") for name in there}
        self.found = Targets(tuple(chosen), skipped)

    def saved(self) -> Masks:
        """The masks as they are to be saved: of what is in the model, under its name now."""
        return self.masks.renamed(names_now(self.found, self._model))

    def _find(self, before: Sequence[Target] = ()) -> tuple[Targets, Penalty]:
        recipe = self._recipe
        penalty, rules = self._penalty.now(), recipe.targets
        if isinstance(penalty, JointPenalty):
            rules = [*penalty.rules(rules)]
        found = find_targets(self._model, rules, self.masks.names, self._thawed)
        found = cuttable(found, recipe.plan)
        factors = {id(target.parameter): target.factor for target in before}
        chosen = (replace(t, factor=factors.get(id(t.parameter), t.factor)) for t in found)
        return Targets(tuple(chosen), found.skipped), penalty

    def _check(self, found: Targets, penalty: Penalty) -> None:
        check_units(found, penalty)
        masks.check(found, penalty, self._recipe.plan)


def changes(
    before: Targets, now: Targets, model: nn.Module, cut: Collection[str], cuts_to_come: bool
) -> Iterator[str]:
    """What nobody would expect of targets that have changed, each in a sentence.

    Args:
        before: the targets so far.
        now: the targets from now on.
        model: as it is now.
        cut: the names so far of what has been cut.
        cuts_to_come: whether what joins is cut later.
    """
    names = names_now(before, model)
    if new := [name for name in unmoved(now) if name not in unmoved(before)]:
        yield f"no optimizer moves {', '.join(new)} now: left alone"
    targets = {target.name for target in now}
    for name in names.values():
        if name not in targets and name not in unmoved(now):
            yield f"{name} was to be pruned, and is left alone now: {now.skipped.get(name)}"
    if gone := [name for name in cut if name not in names and name not in targets]:
        yield f"{', '.join(gone)} left the model: what takes its place does not have its zeros"
    known = {id(target.parameter) for target in before}
    joined = [target.name for target in now if id(target.parameter) not in known]
    if joined and not cuts_to_come:
        yield (
            f"{', '.join(joined)} joined the training after the last cut: left dense; let what is "
            "to be pruned train from the start, or cut later"
        )
    were = {id(target.parameter) for target in before if target.despite == PARAMETRIZED}
    for target in now:
        if target.despite == PARAMETRIZED and id(target.parameter) not in were:
            yield (
                f"{target.name} is parametrized since it was cut: its zeros are held where it is "
                "stored, and are zeros for the layer if the parametrization leaves them so, as "
                "spectral_norm does"
            )


def _identities(model: nn.Module) -> Iterator[object]:
    return ((name, id(w), w.requires_grad) for name, w in model.named_parameters())
