"""The targets of a run: those weights of the model that an optimizer of the run moves.

Both may change while it runs: a head is replaced, a backbone is unfrozen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from l1prune.cuts.plans import Plan, cuttable
from l1prune.weights.rules import Rules
from l1prune.weights.shards import warn
from l1prune.weights.targets import Target, Targets, find_targets

UNMOVED = "no optimizer moves it"


def targets_of(
    model: nn.Module,
    rules: Rules | None,
    plan: Plan,
    optimizers: Sequence[Optimizer] | None = None,
    cut: Collection[str] = (),
) -> Targets:
    """The weights of a model that a plan can cut, and one of the optimizers moves.

    Args:
        model: the model.
        rules: which weights; None: those of all layers.
        plan: says which of them it cannot cut.
        optimizers: of the run; None: it is not known yet what they move.
        cut: the names of weights that have been cut: they stay targets, also when they are frozen.

    Raises:
        ValueError: there is no weight to prune, none that the plan can cut, or a rule fits nothing.
    """
    found = cuttable(find_targets(model, rules, cut), plan)
    if optimizers is None:
        return found
    moved = {id(w) for w in _moved_by(optimizers)}
    still = [target.name for target in found if id(target.parameter) not in moved]
    return found.without({name: UNMOVED for name in still if name not in cut})


def announce(targets: Targets) -> None:
    """Say what of the model is left alone, or is pruned by a guess, before it trains.

    Raises:
        ValueError: nothing is left to prune.
    """
    still = unmoved(targets)
    if not len(targets):
        raise ValueError(
            f"no optimizer of the trainer moves any of the weights to prune ({', '.join(still[:4])}"
            "): return the one that does from configure_optimizers"
        )
    if still:
        warn(f"no optimizer moves {', '.join(still)}: left alone, neither pressed nor cut")
    if targets.stacked:
        warn(
            f"no module calls {', '.join(targets.stacked)} a weight, but each is a stack of "
            "matrices, as the experts of a mixture are: pruned; leave them out with "
            "targets=Except(...)"
        )


def unmoved(targets: Targets) -> list[str]:
    """The names of the weights that would be targets if an optimizer moved them."""
    return [name for name, reason in targets.skipped.items() if reason == UNMOVED]


def joined(before: Sequence[Target], now: Sequence[Target]) -> list[str]:
    """The names of targets that were not there before."""
    known = {id(target.parameter) for target in before}
    return [target.name for target in now if id(target.parameter) not in known]


class Changes:
    """Notices when the weights of a model, or what optimizers move, are others than before."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self._all, self._optimizers = _identities(model, optimizers), _sizes(optimizers)

    def any(self, model: nn.Module, optimizers: Sequence[Optimizer], thorough: bool) -> bool:
        """Whether there are some since it was asked last.

        Args:
            model: the model.
            optimizers: of the run.
            thorough: whether to look at the model as well, which takes longer.
        """
        sizes = _sizes(optimizers)
        everything = _identities(model, optimizers) if thorough else self._all
        changed = (sizes, everything) != (self._optimizers, self._all)
        self._optimizers, self._all = sizes, everything
        return changed


def _moved_by(optimizers: Sequence[Optimizer]) -> Iterator[Tensor]:
    return (
        w for optimizer in optimizers for group in optimizer.param_groups for w in group["params"]
    )


def _identities(model: nn.Module, optimizers: Sequence[Optimizer]) -> list[object]:
    own = [(name, id(w), w.requires_grad) for name, w in model.named_parameters()]
    return [*own, *(id(w) for w in _moved_by(optimizers))]


def _sizes(optimizers: Sequence[Optimizer]) -> list[tuple[int, int]]:
    return [(id(o), len(group["params"])) for o in optimizers for group in o.param_groups]
