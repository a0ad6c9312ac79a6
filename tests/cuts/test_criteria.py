"""Criteria: what a cut goes by is what the criterion says, of the user's own too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tasks import Task, fit
from torch import Tensor, nn
from torch.optim import Optimizer

from l1prune import L1, Global, L1Pruning, Refit, Saliency, Size, Sparsity, find_targets
from l1prune.cuts.criteria import Criterion, LendingCriterion, RefittingCriterion, lent
from l1prune.cuts.masks import cut
from l1prune.cuts.scopes import LAMP, Scope
from l1prune.weights.targets import Target


def test_by_size_what_stays_is_larger_than_what_goes() -> None:
    torch.manual_seed(0)
    targets = find_targets(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)))
    threshold = Sparsity(0.5, scope=Global())
    by_size = cut(targets, L1(), threshold, worth=Size().weigh(targets, []))
    assert all(torch.equal(by_size[n], m) for n, m in cut(targets, L1(), threshold).items())
    sizes = torch.cat([t.parameter.detach().abs().flatten() for t in targets])
    stays = torch.cat([by_size[t.name].flatten() for t in targets])
    assert sizes[stays].min() >= sizes[~stays].max()


def test_sizes_compare_by_lamp_and_nothing_is_learned() -> None:
    assert Size().scope == LAMP()
    assert Size().state_dict() == {}
    Size().check([])
    with Size().watch(nn.Linear(1, 1), []):
        pass


class Reversed(Criterion):
    """Of the user's own: what is small is worth much; it counts what it is asked."""

    def __init__(self) -> None:
        self.asked, self.watching = 0, False

    @property
    def scope(self) -> Scope:
        return Global()

    @contextmanager
    def watch(self, model: nn.Module, targets: Sequence[Target]) -> Iterator[None]:
        self.watching = True
        try:
            yield
        finally:
            self.watching = False

    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        assert self.watching
        self.asked += 1
        return [1 / (target.parameter.detach().abs() + 1e-3) for target in targets]

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.asked = state["asked"]

    def __repr__(self) -> str:
        return "Reversed()"


class Seen(L.Callback):
    """Notes what the criterion has learned after each step, and saves a checkpoint half-way."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.learned: list[int] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        (pruning,) = (one for one in trainer.callbacks if isinstance(one, L1Pruning))
        self.learned.append(pruning.state_dict()["criterion"]["state"]["asked"])

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.file is not None and trainer.current_epoch == 1:
            trainer.save_checkpoint(self.file)


def pruning(criterion: Criterion) -> L1Pruning:
    return L1Pruning(0.0, Sparsity(0.6), criterion=criterion, prune_at=[0.2, 0.4, 0.6, 0.8])


def test_a_run_cuts_by_a_criterion_of_the_users_own_which_stays_as_it_was() -> None:
    own, seen, task = Reversed(), Seen(), Task(optimizer=lambda w: torch.optim.SGD(w, lr=0.0))
    callback = pruning(own)
    before = {name: w.detach().clone() for name, w in task.named_parameters()}
    fit(task, callback, seen)
    sizes = torch.cat([before[name][mask].abs() for name, mask in callback.masks.items()])
    gone = torch.cat([before[name][~mask].abs() for name, mask in callback.masks.items()])
    assert sizes.max() <= gone.min()
    # Learned until the last cut; then let go of, and never by the object that was given.
    assert seen.learned == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [0] * 4
    assert own.asked == 0 and not own.watching
    assert callback.report is not None and callback.report.criterion == "Reversed()"


def test_what_a_criterion_of_the_users_own_has_learned_goes_along_in_a_checkpoint(
    tmp_path: Path,
) -> None:
    whole, rest = Seen(tmp_path / "half.ckpt"), Seen()
    fit(Task(), pruning(Reversed()), whole)
    fit(Task(), pruning(Reversed()), rest, resume=tmp_path / "half.ckpt")
    assert rest.learned == whole.learned[10:]


@pytest.mark.parametrize("criterion", [Size, "size", object(), 3])
def test_what_is_no_criterion_is_refused_at_once(criterion: Any) -> None:
    with pytest.raises(ValueError, match="criterion must be an object as Saliency"):
        L1Pruning(criterion=criterion)


@pytest.mark.parametrize("wrap", [lambda one: one, Refit])
def test_only_the_class_that_weighs_lends_what_it_weighs_by(wrap: Any) -> None:
    task = Task()
    targets, optimizer = find_targets(task), torch.optim.Adam(task.parameters())
    kept = [torch.ones_like(target.parameter) for target in targets]

    class Half(Saliency):
        def weigh(self, targets: Any, optimizers: Any) -> list[torch.Tensor]:
            return kept

    class Own(Half):
        def weigh(self, targets: Any, optimizers: Any) -> list[torch.Tensor]:
            return kept

        @contextmanager
        def lend(self, targets: Any, optimizers: Any) -> Iterator[list[torch.Tensor]]:
            yield kept

    for criterion, lends in ((Half(), False), (Own(), True)):
        with lent(wrap(criterion), targets, [optimizer]) as worth:
            assert [one is other for one, other in zip(worth, kept, strict=True)] == [lends] * len(
                kept
            )


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float64])
def test_what_is_lent_is_of_floats(dtype: torch.dtype) -> None:
    class Whole(Size):
        @contextmanager
        def lend(self, targets: Any, optimizers: Any) -> Iterator[list[torch.Tensor]]:
            yield self.weigh(targets, optimizers)

        def weigh(self, targets: Any, optimizers: Any) -> list[torch.Tensor]:
            return [torch.ones(2, 3, dtype=dtype)]

    with lent(Whole(), find_targets(nn.Linear(3, 2)), []) as (worth,):
        assert worth.dtype == torch.float64 and bool((worth == 1).all())


def test_what_lends_no_context_is_refused_and_what_does_not_lend_is_copied() -> None:
    targets = find_targets(nn.Linear(3, 2))

    class Plain(Size):
        def lend(self, targets: Any, optimizers: Any) -> list[torch.Tensor]:
            return self.weigh(targets, optimizers)

        weigh = Size.weigh

    refused = pytest.raises(ValueError, match=r"lend must give a context.*got list")
    with refused, lent(Plain(), targets, []):
        pass
    Plain.lend = None  # type: ignore[assignment,method-assign]
    with lent(Plain(), targets, []) as (worth,):
        worth.zero_()
    assert bool(targets[0].parameter.count_nonzero())


def test_a_criterion_need_not_derive_from_one_to_refit() -> None:
    class Duck:
        scope = property(lambda self: LAMP())
        check = watch = weigh = refit_ = state_dict = load_state_dict = lambda self, *_: None

    assert isinstance(Duck(), RefittingCriterion)
    assert not isinstance(Duck(), LendingCriterion)
