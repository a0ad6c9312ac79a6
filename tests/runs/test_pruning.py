"""What prunes in a run is found among the callbacks of its trainer, whatever else there is."""

from __future__ import annotations

from lightning.pytorch.callbacks import EarlyStopping
from tasks import trainer

from l1prune import L1Pruning
from l1prune.runs.pruning import pruning_of


class Own(L1Pruning):
    """Of a user."""


def test_pruning_is_found_among_other_callbacks() -> None:
    own = Own()
    assert pruning_of(trainer(EarlyStopping("loss"), own)) == [own]


def test_a_dense_run_has_none() -> None:
    assert pruning_of(trainer(EarlyStopping("loss"))) == []
