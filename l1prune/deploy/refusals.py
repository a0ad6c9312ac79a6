"""Refusals: models of which a graph would not tell the whole truth."""

from __future__ import annotations

from types import FunctionType

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.prune import is_pruned

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def check_plain(model: nn.Module) -> None:
    """See to it that a model is nothing but modules and weights.

    Raises:
        ValueError: it is in training mode, or has masks, hooks, or quantised, sharded or lazy
            weights, or a forward of its own beside its class's; in a sentence.
    """
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: {kind} is no torch.nn.Module")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if reason := _refusal_of_tensor(tensor):
            raise ValueError(f"model: {name} is {reason}")
    for name, module in model.named_modules():
        where = f"{name or kind} ({type(module).__name__})"
        if reason := _refusal(module):
            raise ValueError(f"model: {where} {reason}")


def _refusal(module: nn.Module) -> str | None:
    if "quantized" in type(module).__module__:
        return "is quantised: make the model compact before it is quantised"
    if "_orig_mod" in module._modules:
        return "is compiled: make the model compact before it is compiled"
    if module.training:
        return "is in training mode, in which it computes something else: call model.eval() first"
    if isinstance(vars(module).get("forward"), FunctionType):
        return (
            "has a forward that was put on it, which copies of the model would share with it: "
            "make it a method of the class, or of one that derives from it"
        )
    if is_pruned(module) and any(name.endswith("_orig") for name in module._parameters):
        return "is under masks of torch.nn.utils.prune: call prune.remove first"
    if any(getattr(module, hooks, None) for hooks in HOOKS):
        return "has hooks, which may change what it computes: remove them first"
    return None


def _refusal_of_tensor(tensor: Tensor) -> str | None:
    if is_lazy(tensor):
        return "without a shape yet: run one batch through the model first"
    if type(tensor) not in (Tensor, nn.Parameter, nn.Buffer):
        return f"a {type(tensor).__name__}, quantised or sharded: give whole, plain weights"
    if tensor.is_meta:
        return "on the meta device, where it has no values: load the weights first"
    if tensor.is_quantized or tensor.layout is not torch.strided:
        return f"{tensor.dtype} in the layout {tensor.layout}: give plain, dense weights"
    return None
