"""The documents: their programs run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def programs(file: Path) -> list[Any]:
    """Each block of Python in a document, under the heading above it."""
    text = file.read_text(encoding="utf-8")
    blocks = re.finditer(r"```python\n(.*?)```", text, re.DOTALL)
    headings = [(one.start(), one[1]) for one in re.finditer(r"^## (.+)$", text, re.MULTILINE)]
    return [
        pytest.param(block[1], id=[name for at, name in headings if at < block.start()][-1])
        for block in blocks
    ]


DOCUMENTS = ("extending.md", "deploy.md", "other_trainers.md")
NEEDED = {"export_onnx": "onnxruntime"}
NEEDED |= {"from accelerate": "accelerate", "from transformers": "transformers"}


@pytest.mark.parametrize("program", [one for name in DOCUMENTS for one in programs(DOCS / name)])
def test_what_the_documents_say_runs(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, package in NEEDED.items():
        if words in program:
            pytest.importorskip(package, reason=f"needs {package}")
    monkeypatch.chdir(tmp_path)
    code = compile(program, "docs", "exec", dont_inherit=True)
    exec(code, {"__name__": "docs"})


def test_there_is_an_example_of_each_kind() -> None:
    assert len(programs(DOCS / "extending.md")) >= 6
