"""Wrappers: optimizers around other optimizers, and where a step of theirs ends.

Lookahead, SAM, Accelerate and many a script put an optimizer around another. The one within knows
the moments; the one around it may move the weights once more. Some never call
`Optimizer.__init__`, so that torch calls no hooks when they step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from l1prune.pressure.closures import Arguments, Closure, with_closure


def innermost(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers, within this one, that compute the steps of its weights; or it alone.

    >>> from torch import nn, optim
    >>> class Wrapper(Optimizer):
    ...     def __init__(self, within):
    ...         self.within, self.param_groups = within, within.param_groups
    >>> adam = optim.Adam(nn.Linear(1, 1).parameters())
    >>> innermost(Wrapper(Wrapper(adam))) == innermost(adam) == [adam]
    True
    """
    within = _within(optimizer)
    found = [one for inner in within for one in innermost(inner)] if within else [optimizer]
    return list({id(one): one for one in found}.values())


def hooked(optimizer: Optimizer) -> list[Optimizer]:
    """This one, if torch calls hooks when it steps; or the outermost within it of which it does.

    Raises:
        ValueError: there is none.
    """
    if _has_hooks(optimizer):
        return [optimizer]
    within = _within(optimizer)
    if not within:
        raise ValueError(
            f"optimizer: {type(optimizer).__name__} has no hooks, for it never calls "
            "Optimizer.__init__, and holds no optimizer that moves all of its weights; call "
            "super().__init__(params, defaults) in it, or give the optimizer within it"
        )
    return [one for inner in within for one in hooked(inner)]


def after_steps(optimizer: Optimizer, act: Callable[[Optimizer], None]) -> list[RemovableHandle]:
    """Have `act` called with each innermost optimizer that has stepped, once its step is over.

    That is when the step of the outermost optimizer around it is over too, if it takes place in
    one that torch calls hooks for.

    Raises:
        ValueError: torch calls no hooks for this one, and it holds none that it calls them for.
    """
    handles = []
    for outer in hooked(optimizer):
        inner = innermost(outer)
        steps = _Steps(act, silent=[one for one in inner if not _has_hooks(one)])
        telling = [one for one in inner if _has_hooks(one)]
        handles += [one.register_step_post_hook(steps.note) for one in telling]
        if inner != [outer]:
            handles.append(outer.register_step_pre_hook(steps.begin))
            handles.append(outer.register_step_post_hook(steps.end))
    return handles


def before_steps(optimizer: Optimizer, act: Callable[[Optimizer], None]) -> list[RemovableHandle]:
    """Have `act` called with each innermost optimizer that is about to step by its gradients.

    They are as its step finds them, even if it makes them itself by a closure, or, as SGD of many
    tensors at once with Nesterov's momentum, leaves something else in their place.

    Raises:
        ValueError: torch calls no hooks for this one, and it holds none that it calls them for.
    """
    handles = []
    for outer in hooked(optimizer):
        inner = innermost(outer)
        silent = [one for one in inner if not _has_hooks(one)]
        steps = [([one], one) for one in inner if _has_hooks(one)]
        steps += [(silent, outer)] if silent else []  # they step when what surrounds them does
        handles += [one.register_step_pre_hook(_Before(act, of)) for of, one in steps]
    return handles


class _Before:
    """A hook before a step: acts at once, or after the closure that makes the gradients."""

    def __init__(self, act: Callable[[Optimizer], None], of: Sequence[Optimizer]) -> None:
        self._act, self._of = act, of

    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Arguments | None:
        changed = with_closure(args, kwargs, self._after)
        if changed is None:
            self._now()
        return changed

    def _after(self, closure: Closure) -> Closure:
        def evaluate() -> Any:
            loss = closure()
            self._now()
            return loss

        return evaluate

    def _now(self) -> None:
        for one in self._of:
            self._act(one)


class _Steps:
    """The steps that innermost optimizers have taken, until what surrounds them is over.

    Args:
        act: what to do after each.
        silent: those that torch calls no hooks for: what surrounds them steps as often.
    """

    def __init__(self, act: Callable[[Optimizer], None], silent: Sequence[Optimizer]) -> None:
        self._act, self._silent = act, silent
        self._surrounded = False
        self._taken: list[Optimizer] = []

    def begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._surrounded, self._taken = True, list(self._silent)

    def note(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._surrounded:
            self._taken.append(optimizer)
        else:
            self._act(optimizer)

    def end(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        taken = list({id(one): one for one in self._taken}.values())
        self._surrounded, self._taken = False, []
        for one in taken:
            self._act(one)


def _within(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers that this one holds; none, if they do not move all of its weights."""
    weights, held = weight_ids(optimizer), _held(optimizer)
    moved = {w for one in held for w in weight_ids(one)}
    return [one for one in held if weight_ids(one) & weights] if weights <= moved else []


def _held(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers among what this one holds, but for one that holds it in turn."""
    held = [one for value in vars(optimizer).values() for one in _optimizers(value)]
    return [one for one in held if not any(v is optimizer for v in (one, *vars(one).values()))]


def _has_hooks(optimizer: Optimizer) -> bool:
    """Whether torch calls hooks when it steps: not those of another that it passes on."""
    return "_optimizer_step_post_hooks" in vars(optimizer)


def _optimizers(value: Any) -> Iterator[Optimizer]:
    if isinstance(value, Optimizer):
        yield value
    elif isinstance(value, list | tuple | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            if isinstance(one, Optimizer):
                yield one


def weight_ids(optimizer: Optimizer) -> set[int]:
    """The `id` of each weight that an optimizer moves, be it by others that it wraps."""
    if not hasattr(optimizer, "param_groups"):
        return {w for one in _held(optimizer) for w in weight_ids(one)}
    return {id(w) for group in optimizer.param_groups for w in group["params"]}
