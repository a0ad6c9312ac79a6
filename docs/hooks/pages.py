"""Pages of the site that are made of other files: the face, the reference, what stands in the root.

What is said in one place is not said again: the front page is the README, and the reference comes
from the table of public names and from docstrings.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
COPIES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files of the root, and the pages that they are."""

BESIDES = {
    "pressure.optimizers": "UpdateRule update_rule",
    "runs.history": "History",
    "runs.progress": "RunProgress",
    "training.huggingface": "HFPruning",
}
"""Names that are documented, though not in `l1prune` itself."""


def on_config(config: Any) -> Any:
    """The address of the repository stands in pyproject.toml, if it is known, and nowhere else."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if address := re.search(r'^Repository = "(.+)"$', text, re.MULTILINE):
        config.repo_url = address[1]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    pages = {page: moved((ROOT / file).read_text("utf-8")) for file, page in COPIES.items()}
    pages |= {f"reference/{wing}.md": text for wing, text in reference().items()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def moved(text: str) -> str:
    """A file of the root as a page: its links go where the files are on the site, or nowhere.

    >>> moved("[a](docs/a.md#b), [c](SECURITY.md), [d](conf/train.yaml), [e](https://e.org)")
    '[a](a.md#b), [c](security.md), d, [e](https://e.org)'
    """

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        file, hash_, anchor = target.partition("#")
        if "://" in target or not file:
            return found[0]
        if file in COPIES:
            return f"{words}({COPIES[file]}{hash_}{anchor})"
        if file.startswith("docs/"):
            return f"{words}({target.removeprefix('docs/')})"
        return words[1:-1]

    return re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", link, text)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links from `docs/` to files of the root."""
    return re.sub(
        r"\(\.\./(\w+\.md)(#[\w-]+)?\)",
        lambda found: f"({COPIES[found[1]]}{found[2] or ''})" if found[1] in COPIES else found[0],
        markdown,
    )


def reference() -> dict[str, str]:
    """A page for each wing that has public names, and one with all of them."""
    sys.path.insert(0, str(ROOT))
    from l1prune import ROOMS

    public = {room: names.split() for room, names in {**ROOMS, **BESIDES}.items()}
    for wing in ("deploy", "zoo"):
        for room, name in exported(ROOT / "l1prune" / wing / "__init__.py"):
            public.setdefault(room, [])
            public[room] += [name] * (name not in public[room])
    wings = sorted({room.partition(".")[0] for room in public})
    pages = {wing: "\n".join(wing_page(wing, public)) for wing in wings}
    return {"index": "\n".join(all_names(public, ROOMS, wings)), **pages}


def wing_page(wing: str, public: dict[str, list[str]]) -> Iterator[str]:
    """All public names of a wing, room by room."""
    yield f"# `l1prune.{wing}`\n"
    yield f"{ast.get_docstring(tree(ROOT / 'l1prune' / wing / '__init__.py'))}\n"
    for room in sorted(room for room in public if room.partition(".")[0] == wing):
        yield f"::: l1prune.{room}\n    options:\n      members: {sorted(public[room])}\n"


def all_names(
    public: dict[str, list[str]], rooms: Iterable[str], wings: Iterable[str]
) -> Iterator[str]:
    """The names in `l1prune`, each with its place."""
    yield "# Reference\n\nAll of these are in `l1prune` itself, and loaded when asked for."
    yield "What serves deployment is in `l1prune.deploy`, networks and data in `l1prune.zoo`.\n"
    for wing in wings:
        names = sorted(
            (name, room)
            for room in rooms
            if room.partition(".")[0] == wing
            for name in public[room]
        )
        listed = ", ".join(f"[`{name}`][l1prune.{room}.{name}]" for name, room in names)
        yield f"- [`{wing}`]({wing}.md): {listed or 'see its page'}"


def exported(file: Path) -> Iterator[tuple[str, str]]:
    """The rooms and names that a wing gives out by itself."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module.removeprefix("l1prune."), alias.name


def tree(file: Path) -> ast.Module:
    """What a file says."""
    return ast.parse(file.read_text(encoding="utf-8"))
