"""Images from a folder in the Hub's layout: read without a network, and without a trace."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from l1prune.zoo import HubImages

datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 training and 10 test images of 4 × 4 in two classes; the library's cache elsewhere."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    kinds = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zero", "one"])}
    )
    place = tmp_path / "tiny"
    (place / "tiny").mkdir(parents=True)
    for split, first, count in (("train", 0, 40), ("test", 40, 10)):
        images = [np.full((4, 4), first + i, np.uint8) for i in range(count)]
        rows = {"image": images, "label": [i % 2 for i in range(count)]}
        rows_of_split = datasets.Dataset.from_dict(rows, features=kinds)
        rows_of_split.to_parquet(place / "tiny" / f"{split}-00000-of-00001.parquet")
    return place


def test_reads_the_stored_pixels_and_labels(folder: Path) -> None:
    train, test = HubImages(str(folder), shape=(1, 4, 4), classes=2).read()
    assert train.inputs.dtype == torch.uint8
    assert torch.equal(train.inputs[:, 0, 0, 0], torch.arange(40, dtype=torch.uint8))
    assert torch.equal(test.inputs[:, 0, 3, 3], torch.arange(40, 50, dtype=torch.uint8))
    assert torch.equal(train.labels, torch.arange(40) % 2)


def test_colour_where_the_shape_says_so(folder: Path) -> None:
    train, _ = HubImages(str(folder), shape=(3, 4, 4), classes=2).read()
    assert train.inputs.shape == (40, 3, 4, 4)
    assert torch.equal(train.inputs[:, 2, 0, 0], torch.arange(40, dtype=torch.uint8))


def test_leaves_nothing_in_the_folder(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    HubImages(str(folder), shape=(1, 4, 4), classes=2).setup("fit")
    assert sorted(folder.rglob("*")) == before


def test_a_missing_folder_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"data\.path=\.\./nowhere/mnist: no such folder .* give"):
        HubImages("../nowhere/mnist")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.path=.*cannot be read here .* give a folder"):
        HubImages(str(tmp_path)).setup("fit")


def test_without_a_network_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(path: str) -> None:
        raise ConnectionError("couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ValueError, match=r"data\.path=ylecun/mnist: cannot be read from the Hub"):
        HubImages().setup("fit")


def test_a_data_set_without_a_test_split_is_refused(folder: Path) -> None:
    next(folder.glob("*/test-*")).unlink()
    with pytest.raises(ValueError, match=r"but not \['test'\]"):
        HubImages(str(folder), shape=(1, 4, 4), classes=2).setup("fit")


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'l1prune\[hub\]'"):
        HubImages()
