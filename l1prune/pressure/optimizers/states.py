"""States: what an optimizer remembers of a weight, read by its rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import LBFGS, Optimizer

from l1prune.pressure.optimizers.kinds import update_rule
from l1prune.pressure.optimizers.rules import Group, State, UpdateRule
from l1prune.pressure.optimizers.wrappers import innermost
from l1prune.weights.shards import gathered, is_sharded, local, part_of, spread


def state_of(optimizer: Optimizer, w: Tensor) -> dict[str, Any]:
    """What the optimizer remembers of a parameter; of a sharded one, local parts."""
    return _state(optimizer, w, lambda value: dequantized(local(value)))


def sharded_state_of(optimizer: Optimizer, w: Tensor) -> dict[str, Any]:
    """What the optimizer remembers of a parameter, spread over processes as it keeps it."""
    return _state(optimizer, w, _dequantized_part)


def _state(optimizer: Optimizer, w: Tensor, read: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    state = optimizer.state.get(w) or {}
    return {name: read(v) if isinstance(v, Tensor) else v for name, v in state.items()}


def dequantized(value: Tensor) -> Tensor:
    """What a tensor of few bits stands for, as torchao keeps moments; others as they are."""
    if type(value).dequantize is Tensor.dequantize:
        return value
    return value.dequantize()


def _dequantized_part(value: Tensor) -> Tensor:
    if not is_sharded(value):
        return dequantized(value)
    part = local(value)
    exact = dequantized(part)
    return value if exact is part else part_of(exact, value)


def fitting_rule(optimizer: Optimizer, group: Group, w: Tensor) -> UpdateRule | None:
    """The rule by which the optimizer moved a weight, after a step of it.

    None where the kind is not known, or remembers other things of the weight than its kind does.
    """
    rule = update_rule(optimizer)
    if rule is None or not rule.fits(local(w), group, state_of(optimizer, w)):
        return None
    return rule


def told(optimizer: Optimizer, group: Group, w: Tensor) -> tuple[UpdateRule, State] | None:
    """The rule that `fitting_rule` finds, and the state as `sharded_state_of` has it."""
    if is_sharded(w):
        found = fitting_rule(optimizer, group, w)
        return None if found is None else (found, sharded_state_of(optimizer, w))
    rule, state = update_rule(optimizer), state_of(optimizer, w)
    return None if rule is None or not rule.fits(w, group, state) else (rule, state)


def is_known(optimizer: Optimizer, group: Group, w: Tensor) -> bool:
    """Whether the kind of an optimizer is known, and what it remembers of a weight is of that kind.

    Before the first step of the weight the kind is all there is to go by.
    """
    rule, state = update_rule(optimizer), optimizer.state.get(w)
    return rule is not None and (
        not state or rule.fits(local(w.detach()), group, state_of(optimizer, w))
    )


def has_length(optimizer: Optimizer) -> bool:
    """Whether the steps of an optimizer have a length of their own, whatever its gradients are.

    Adam's have; SGD's are as long as its gradients. Of a kind that is not known they are measured.

    >>> import torch
    >>> w = [torch.zeros(1)]
    >>> has_length(torch.optim.Adam(w)), has_length(torch.optim.SGD(w))
    (True, False)
    """
    rules = [update_rule(one) for one in innermost(optimizer)]
    return all(rule is None or rule.adaptive for rule in rules)


def tells_scale(optimizer: Optimizer, group: Group, w: Tensor) -> bool:
    """Whether an optimizer tells how large the gradients of a weight are, once it has stepped."""
    rule = update_rule(optimizer)
    return rule is not None and rule.adaptive and is_known(optimizer, group, w)


def divided(
    rule: UpdateRule, optimizer: Optimizer, group: Group, w: Tensor, amount: float | Tensor
) -> float | Tensor:
    """`amount` over what the rule divides the gradient of each weight by.

    If `w` is sharded over processes, it is that of the local part.
    """
    if rule.elementwise or not is_sharded(w):
        return rule.divided(amount, group, state_of(optimizer, w))
    result = rule.divided(amount, group, _state(optimizer, w, gathered))
    return local(spread(result, w)) if isinstance(result, Tensor) else result


def relative_step(
    rule: UpdateRule, optimizer: Optimizer, group: Group, w: Tensor
) -> float | Tensor:
    """By how much all steps of a tensor are longer than lr."""
    if rule.elementwise or w.grad is None:
        return 1.0
    state = _state(optimizer, w, gathered)
    return rule.relative_step(gathered(w.detach()), gathered(w.grad), group, state)


def divisor(optimizer: Optimizer, group: Group, w: Tensor) -> Tensor | None:
    """What the optimizer divides the gradient of each weight by; of a sharded one, local parts.

    None where all weights are divided alike, or nothing is known of this one.
    """
    if not optimizer.state.get(w):
        return None
    rule = fitting_rule(optimizer, group, w)
    if rule is None or not rule.adaptive:
        return None
    inverse = divided(rule, optimizer, group, w, 1.0)
    return inverse.float().reciprocal_() if isinstance(inverse, Tensor) else None


def check_optimizer(optimizer: Optimizer) -> None:
    """Refuse optimizers whose steps look at the model at weights of their own choice."""
    if isinstance(optimizer, LBFGS):
        raise ValueError(
            "optimizer: LBFGS evaluates the model many times within a step, at weights that are "
            "neither pressed nor masked; use SGD, Adam or another first-order optimizer"
        )


def was_skipped(optimizer: Optimizer) -> bool:
    """Whether a fused optimizer was called but left the weights alone, for an infinite gradient.

    Other optimizers are not called at all by a gradient scaler in that case.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
