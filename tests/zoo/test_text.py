"""Sequences cover a text once, know what follows, and no part of the text sees another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from l1prune.zoo import GPT, Classifier, Text
from l1prune.zoo.text import sequences


def written(folder: Path, text: str) -> str:
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_each_label_is_the_next_input() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(9, (50,))
    examples = sequences(tokens, 7)
    assert torch.equal(examples.inputs.flatten()[1:], examples.labels.flatten()[:-1])
    assert torch.equal(examples.inputs.flatten(), tokens[:49])


def test_train_validation_and_test_are_parts_in_the_order_of_the_text(tmp_path: Path) -> None:
    text = "".join(chr(97 + index % 26) for index in range(1800)) + "ä" * 100 + "ö" * 100
    data = Text(written(tmp_path, text), length=10, classes=28)
    data.setup("fit")
    assert data.train and data.val and data.test
    assert int(data.train.inputs.max()) == 25  # none of the letters that come last
    assert data.val.inputs.unique().tolist() == [26]
    assert data.test.inputs.unique().tolist() == [27]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("ab" * 500, {"classes": 1}, "data.classes=1: .* give data.classes=2"),
        ("ab" * 500, {"length": 50}, "a twentieth of this text, 50 characters"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(
    tmp_path: Path, text: str, arguments: dict[str, int], message: str
) -> None:
    data = Text(written(tmp_path, text), **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        data.setup("fit")


def test_nonsense_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        Text(str(tmp_path / "nowhere.txt"))
    with pytest.raises(ValueError, match=r"data\.length=0"):
        Text(length=0)


def test_without_a_network_it_says_where_the_file_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ValueError, match=r"give the file as data\.path=FILE"):
        Text().prepare_data()


def test_a_classifier_asks_at_every_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = Text(written(tmp_path, "abc" * 200), length=6, classes=3)
    data.setup("fit")
    assert data.train
    gpt = GPT(vocabulary=3, length=6, layers=1, width=6, heads=2)
    model = Classifier(gpt, 3, torch.optim.Adam)
    inputs, labels = data.train.__getitems__([0, 1])
    loss = model.training_step((inputs, labels), 0)
    each = [torch.log_softmax(gpt(inputs)[b, t], 0)[labels[b, t]] for b in (0, 1) for t in range(6)]
    torch.testing.assert_close(loss, -torch.stack(each).mean())
