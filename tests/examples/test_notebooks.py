"""The notebooks say what the programs say, hold no outputs, and run."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
MAKER: dict[str, Any] = runpy.run_path(str(EXAMPLES / "notebooks.py"))
SMALL = {
    "images": ["--epochs", "3", "--limit", "128"],
    "bert": ["--epochs", "2", "--limit", "128"],
    "regression": ["--epochs", "9", "--limit", "200"],
}


def kept(name: str) -> dict[str, Any]:
    text = (EXAMPLES / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook: dict[str, Any] = json.loads(text)
    return notebook


@pytest.mark.parametrize("name", MAKER["PROGRAMS"])
def test_each_is_made_of_its_program(name: str) -> None:
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert kept(name) == MAKER["notebook"](source), "run: python examples/notebooks.py"
    assert all(not cell.get("outputs") for cell in kept(name)["cells"])


def small(name: str) -> list[dict[str, Any]]:
    """The cells of a notebook, with options that make it small; sources as one text each."""
    cells = [{**cell, "source": "".join(cell["source"])} for cell in kept(name)["cells"]]
    for cell in cells:
        cell["id"] = f"{name}-{cell['id']}"
        if cell["source"] == MAKER["OPTIONS"]:
            cell["source"] = f"options = {SMALL[name]}"
    return cells


# What Jupyter does in this process is not ours; what the notebooks do is in one of their own.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning:zmq")
def test_all_of_them_run(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    pytest.importorskip("transformers", reason="needs transformers")
    # One after the other in one process, which loads torch once.
    cells = [cell for name in MAKER["PROGRAMS"] for cell in small(name)]
    document = {"cells": cells, "metadata": MAKER["METADATA"], "nbformat": 4, "nbformat_minor": 5}
    whole = nbformat.from_dict(document)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(whole, timeout=300, resources=where).execute()
    printed = "".join(
        output.get("text", "") for cell in whole.cells for output in cell.get("outputs", [])
    )
    assert printed.count("all prunable") == len(MAKER["PROGRAMS"])
    assert (tmp_path / "runs/regression/model.safetensors").is_file()
