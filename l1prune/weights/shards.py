"""Shards: weights that are spread over processes, as FSDP2 and tensor parallelism spread them.

Such a weight is a `DTensor`: it says itself how it is spread. What is measured on this process's
part (`local`) is summed over the processes that hold the other parts (`over_shards`); a formula
that needs a whole layer sees one layer at a time (`by_layer`). To a plain tensor, on one process
or under DDP, all of this does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from l1prune.weights.pieces import PLAIN

if dist.is_available():  # torch can be built without
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

    SHARDED: tuple[type, ...] = (DTensor,)
else:
    SHARDED = ()

Owner = TypeVar("Owner")
T = TypeVar("T")
Groups = tuple["dist.ProcessGroup | None", ...]  # None for all processes


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is spread over processes."""
    # Of plain ones, thousands at each cut, the question to a class's metaclass takes longest.
    return type(tensor) not in PLAIN and isinstance(tensor, SHARDED)


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, sharing its memory: the tensor itself, if not sharded.

    Call it without gradients enabled. The part may be empty.

    >>> w = torch.ones(2)
    >>> local(w) is w
    True
    """
    if type(tensor) in PLAIN or not isinstance(tensor, SHARDED):
        return tensor
    part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return part


def gathered(tensor: Tensor) -> Tensor:
    """The whole tensor, on every process. All that hold a part must call it together."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def spread(whole: Tensor, like: Tensor) -> Tensor:
    """A tensor that all processes hold whole, spread as `like` is. Nothing is sent."""
    if not is_sharded(like):
        return whole
    assert isinstance(like, DTensor)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def part_of(part: Tensor, like: Tensor) -> Tensor:
    """The tensor, spread as `like` is, whose local part is `part`. Nothing is sent."""
    if not is_sharded(like):
        return part
    assert isinstance(like, DTensor)
    return DTensor.from_local(
        part,
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )


def by_layer(formula: Callable[[Owner, Tensor], Tensor]) -> Callable[[Owner, Tensor], Tensor]:
    """Makes a method that maps a whole layer to one of its shape take a sharded layer too.

    The layer is gathered for it, as it is in a forward pass, and the result spread again.
    """

    @wraps(formula)
    def method(self: Owner, layer: Tensor) -> Tensor:
        return spread(formula(self, gathered(layer)), layer)

    return method


def over_shards(
    rows: Sequence[Tensor],
    tensors: Sequence[Tensor],
    operation: dist.ReduceOp.RedOpType | None = None,
) -> Tensor:
    """What was measured on the local parts, for the whole tensors.

    Args:
        rows: one figure, or one row of them, for each tensor, measured on its local part.
        tensors: what was measured; those that are not sharded keep their row.
        operation: how parts add up: by default they are summed.

    Returns:
        The rows, stacked.

    >>> over_shards([torch.tensor(3), torch.tensor(4)], [torch.ones(3), torch.ones(4)])
    tensor([3, 4])
    """
    stacked = torch.stack([row.to(rows[0].device) for row in rows])
    return _reduced(stacked, [holders_of_parts(tensor) for tensor in tensors], operation)


def count_nonzero(tensors: Sequence[Tensor]) -> list[int]:
    """How many entries of each tensor are not zero.

    >>> count_nonzero([torch.tensor([1.0, 0.0]), torch.zeros(3)])
    [1, 0]
    """
    if not tensors:
        return []
    counts = [torch.count_nonzero(local(tensor.detach())) for tensor in tensors]
    found: list[int] = over_shards(counts, tensors).tolist()
    return found


def reshard(model: nn.Module) -> None:
    """Free what FSDP2 has gathered for a forward pass.

    After a validation batch it keeps the outermost module's weights gathered for the next forward
    pass, which would not see what is written into the sharded ones in between.
    """
    if dist.is_available() and dist.is_initialized():  # else nothing is spread
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def place() -> tuple[int, int]:
    """The rank of this process, and how many there are.

    >>> place()
    (0, 1)
    """
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def of_each_process(own: T) -> list[T]:
    """What each process has, by rank. All of them call it together.

    >>> of_each_process("mine")
    ['mine']
    """
    _, processes = place()
    everywhere = [own] * processes
    if dist.is_available() and dist.is_initialized():
        dist.all_gather_object(everywhere, own)
    return everywhere


def check_agreement(masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Compare the masks of all processes that hold the same weights, by their digests.

    All processes call it together, and on all of them it raises.

    Raises:
        RuntimeError: they differ; names the layers, and those whose weights had differed before.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    names = _disagreeing(masks)
    if names:
        drifted = _disagreeing(weights)
        raise RuntimeError(
            f"processes disagree about the mask of {', '.join(names)}. Before the cut the weights "
            f"of {', '.join(drifted) or 'none'} differed between them: look for what changes "
            "weights on one process only, such as a callback that acts on rank 0, or weights that "
            "the strategy does not synchronise"
        )


def _disagreeing(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names under which processes hold different copies; the same list on each of them."""
    parts = list(tensors.values())
    digests = torch.tensor([_digest(part) for part in parts], device=local(parts[0]).device)
    holders = [_holders_of_copies(part) for part in parts]
    bounds = _reduced(torch.stack([digests, -digests], 1), holders, dist.ReduceOp.MIN)
    differ = (bounds.sum(1) != 0).int()
    dist.all_reduce(differ, dist.ReduceOp.MAX)
    return [name for name, odd in zip(tensors, differ.tolist(), strict=True) if odd]


def _digest(tensor: Tensor) -> int:
    """62 bits that tell this process's part of a tensor from any other."""
    data = local(tensor).detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little") >> 2


def _reduced(
    rows: Tensor, holders: Sequence[Groups], operation: dist.ReduceOp.RedOpType | None
) -> Tensor:
    """Each row reduced over its groups of processes; rows of the same groups go together."""
    alike: dict[Groups, list[int]] = {}
    for index, groups in enumerate(holders):
        alike.setdefault(groups, []).append(index)
    for groups, indices in alike.items():
        if groups:
            some = rows[indices]
            for group in groups:
                dist.all_reduce(some, operation or dist.ReduceOp.SUM, group)
            rows[indices] = some
    return rows


def holders_of_parts(tensor: Tensor) -> Groups:
    """The groups of processes that hold a tensor's other parts, one for each way it is split."""
    if not is_sharded(tensor):
        return ()
    return tuple(group for group, is_copy in _mesh(tensor) if not is_copy)


def _holders_of_copies(tensor: Tensor) -> Groups:
    """The groups of processes that hold copies of this process's part of a tensor."""
    if not is_sharded(tensor):
        return (None,)
    return tuple(group for group, is_copy in _mesh(tensor) if is_copy)


def _mesh(tensor: Tensor) -> Iterator[tuple[dist.ProcessGroup, bool]]:
    """Each dimension of a sharded tensor's mesh: its group, and whether that holds copies."""
    assert isinstance(tensor, DTensor)
    for dimension, placement in enumerate(tensor.placements):
        yield tensor.device_mesh.get_group(dimension), isinstance(placement, Replicate)
