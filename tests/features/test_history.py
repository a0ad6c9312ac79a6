"""The ranking goes by the last time a feature left, and survives a checkpoint."""

from __future__ import annotations

import torch

from l1prune.features.history import FeatureHistory


def seen(history: FeatureHistory, step: int, sizes: list[float]) -> None:
    values = torch.tensor(sizes)
    history.note(step, values, values != 0)


def test_who_comes_back_counts_by_its_last_leave() -> None:
    history = FeatureHistory(["early", "back", "late", "kept", "large"])
    seen(history, 1, [1, 1, 1, 1, 2])
    seen(history, 2, [0, 0, 1, 1, 2])
    seen(history, 3, [0, 3, 1, 1, 2])
    seen(history, 4, [0, 3, 0, 1, 2])
    seen(history, 5, [0, 0, 0, 1, 2])
    assert history.selected == ["large", "kept"]
    assert [history.names[n] for n in history.order] == ["large", "kept", "back", "late", "early"]
    rows = {row[1]: row for row in history.rows()}
    assert rows["back"] == [3, "back", 0, 3.0, 5, "-2 +3 -5"]
    assert rows["large"] == [1, "large", 1, 2.0, None, ""]


def test_of_those_that_left_together_the_larger_comes_first() -> None:
    history = FeatureHistory(["small", "large"])
    seen(history, 1, [1, 5])
    seen(history, 2, [0, 0])
    assert [history.names[n] for n in history.order] == ["large", "small"]
    assert history.selected == []


def test_a_history_that_is_loaded_goes_on_as_the_one_that_was_saved() -> None:
    whole, before = FeatureHistory(["a", "b"]), FeatureHistory(["a", "b"])
    for history in (whole, before):
        seen(history, 1, [1, 0])
    after = FeatureHistory.of(before.state_dict())
    for history in (whole, after):
        seen(history, 2, [0, 2])
    assert after.rows() == whole.rows()
    assert before.rows() != whole.rows()  # what was saved is not shared
