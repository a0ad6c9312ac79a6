"""Loader: batches in an order that can be drawn again, so that a run goes on within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from l1prune.checks import check_same, is_whole
from l1prune.training.lightning import load_loader_states
from l1prune.training.resume import generators, randomness

Batch = TypeVar("Batch")


class Shuffle(DistributedSampler[Any]):
    """A new order every epoch, drawn from seed and epoch alone.

    It does not depend on how many random numbers anything else has used, so a dense and a pruned
    run see the same batches, and a run resumed at epoch 7 sees epoch 7's. Lightning calls
    `set_epoch`.

    Args:
        count: how many examples there are.
        seed: of the orders, ≥ 0.
        processes: over how many the examples are dealt, one each in turn; what is left over when
            not all would get one sits this epoch out.
        rank: which of the processes this is.

    Raises:
        ValueError: one of them makes no sense.

    >>> list(Shuffle(4, seed=0)) == list(Shuffle(4, seed=0))
    True
    >>> dealt = [list(Shuffle(4, seed=0, processes=2, rank=rank)) for rank in (0, 1)]
    >>> sorted(dealt[0] + dealt[1])
    [0, 1, 2, 3]
    """

    def __init__(self, count: int, seed: int = 0, processes: int = 1, rank: int = 0) -> None:
        for name, value in (("count", count), ("seed", seed), ("rank", rank)):
            if not is_whole(value, 0):
                raise ValueError(f"{name}={value!r}: give a whole number from 0 up")
        if not is_whole(processes, rank + 1):
            raise ValueError(f"processes={processes!r}: give a whole number above rank={rank}")
        examples: Any = range(count)
        super().__init__(examples, processes, rank, seed=seed, drop_last=True)
        self.count = count

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        dealt: list[int] = order[self.rank : self.total_size : self.num_replicas].tolist()
        return iter(dealt)


class ResumableLoader(DataLoader[Batch]):
    """A DataLoader that a checkpoint within an epoch resumes at the next batch.

    Batches before it are read and thrown away, so that workers' random augmentations are what they
    would have been. Random augmentation without workers needs `StepSeed` besides.

    Args:
        dataset: with a length.
        batch_size: examples a batch.
        **options: those of `torch.utils.data.DataLoader`. A `sampler` or `batch_sampler` must draw
            its order from the epoch alone and have `set_epoch`, as `Shuffle` does.

    Raises:
        ValueError: the order of the examples could not be drawn again.

    >>> loader = ResumableLoader(range(6), batch_size=2, sampler=Shuffle(6))
    >>> whole = [batch.tolist() for batch in loader]
    >>> state = next((loader.state_dict() for batch in loader), None)  # after the first batch
    >>> loader.load_state_dict(state)
    >>> [batch.tolist() for batch in loader] == whole[1:]
    True
    """

    def __init__(self, dataset: Dataset[Batch], batch_size: int | None = 1, **options: Any) -> None:
        if options.get("shuffle") or "set_epoch" not in dir(_ordering(options)):
            raise ValueError(
                "ResumableLoader needs an order that can be drawn again: give "
                "sampler=Shuffle(len(dataset), seed), or another sampler with set_epoch, instead "
                f"of shuffle={options.get('shuffle')!r}, sampler={options.get('sampler')!r}"
            )
        super().__init__(dataset, batch_size, **options)
        self._done = 0
        self._to_skip: dict[str, int] | None = None

    @property
    def epoch(self) -> int:
        """Which epoch's order comes next, as `set_epoch` says."""
        return int(_ordering(vars(self)).epoch)

    @property
    def seed(self) -> int:
        """What the orders are drawn from; 0 for a sampler that has none."""
        return int(getattr(_ordering(vars(self)), "seed", 0))

    def state_dict(self) -> dict[str, int]:
        place = {"epoch": self.epoch, "done": self._done, "batches": len(self)}
        return {**place, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        seeds = ({"sampler.seed": str(s)} for s in (self.seed, state.get("seed", self.seed)))
        check_same(*seeds)
        self._to_skip = dict(state)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator: Lightning makes iterators before it sets the epoch.
        skip = self._skip()
        self._done = skip
        # Workers are seeded from this one: by the epoch, and not by what came before.
        parts = (self.seed, getattr(_ordering(vars(self)), "rank", 0), self.epoch)
        self.generator = torch.Generator().manual_seed(randomness.mixed(*parts))
        batches = super().__iter__()
        if skip:
            state = generators.captured()
            for _ in range(skip):
                next(batches)
            generators.restore(state)
        for batch in batches:
            self._done += 1
            yield batch

    def _skip(self) -> int:
        state, self._to_skip = self._to_skip, None
        if state is None or state["epoch"] != self.epoch:
            return 0
        if state["done"] and state["batches"] != len(self):
            raise ValueError(
                f"the run stopped after {state['done']} of {state['batches']} batches of an epoch, "
                f"which now has {len(self)}: give the same batch size and number of processes, or "
                "resume from the end of an epoch"
            )
        return state["done"]


def _ordering(options: dict[str, Any]) -> Any:
    """What decides the order of examples, among a loader's options or attributes."""
    batches = options.get("batch_sampler")
    inner = getattr(batches, "sampler", None)
    for one in (options.get("sampler"), batches, inner):
        if hasattr(one, "set_epoch"):
            return one
    return None


def load_states(trainer: pl.Trainer) -> None:
    """Give loaders their states from the checkpoint, if Lightning has not.

    It does so when it makes them; one that was made before, to estimate the length of the run for a
    schedule of the learning rate, would begin its epoch anew.

    Args:
        trainer: about to run its first batch.
    """
    load_loader_states(trainer)
