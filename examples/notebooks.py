"""Makes the notebooks of `examples/notebooks/` from the programs, so that both say the same.

python examples/notebooks.py
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = ("images", "bert", "regression")
OPTIONS = 'options: list[str] = []  # as on the command line: ["--epochs", "5"]'
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(source: str) -> dict[str, Any]:
    """A program as a notebook: its docstring, its imports, each definition, and the run.

    Args:
        source: ends with `if __name__ == "__main__":`, in whose place its `main` is called.
    """
    tree = ast.parse(source)
    title, _, rest = (ast.get_docstring(tree) or "").partition("\n")
    cells = [cell(0, "markdown", f"# {title}\n{rest}".replace("\npython ", "\n    python "))]
    for number, code in enumerate([*parts(source, tree), OPTIONS, "main(options);"], 1):
        cells.append(cell(number, "code", code))
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def parts(source: str, tree: ast.Module) -> list[str]:
    """The statements between docstring and run: those that define nothing come together."""
    lines, ranges, before = source.splitlines(), list[list[int]](), False
    for node in tree.body[1:-1]:
        defines = isinstance(node, (ast.ClassDef, ast.FunctionDef))
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if not ranges or defines or before:
            ranges.append([node.lineno - 1, 0])
        ranges[-1][1] = int(node.end_lineno or 0)
        before = defines
    return ["\n".join(lines[start:end]) for start, end in ranges]


def cell(number: int, kind: str, text: str) -> dict[str, Any]:
    outputs = {"execution_count": None, "outputs": []} if kind == "code" else {}
    source = text.strip().splitlines(keepends=True)
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source, **outputs}


def main() -> None:
    for name in PROGRAMS:
        made = notebook((HERE / f"{name}.py").read_text(encoding="utf-8"))
        text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        (HERE / "notebooks" / f"{name}.ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
