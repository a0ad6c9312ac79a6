"""What the documents hold: their blocks of code, under the headings that they stand below."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


@dataclass(frozen=True)
class Block:
    """A block of code of a document.

    Attributes:
        page: the file's name, without its folder.
        heading: the nearest above it.
        number: which of its kind it is below that heading, from 1.
        text: what is in it.
        before: the text between it and the block before.
    """

    page: str
    heading: str
    number: int
    text: str
    before: str

    @property
    def name(self) -> str:
        return f"{self.page}: {self.heading}: {self.number}"


def blocks(language: str) -> list[Block]:
    """All fenced blocks of a language, in the order of the documents."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fences = list(re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
        inside = [range(*fence.span()) for fence in fences]
        headings = [
            (one.start(), one[1])
            for one in re.finditer(r"^#+ (.+)$", text, re.MULTILINE)
            if not any(one.start() in code for code in inside)
        ]
        counts: dict[str, int] = {}
        end = 0
        for fence in fences:
            heading = [name for at, name in headings if at < fence.start()][-1]
            before, end = text[end : fence.start()], fence.end()
            if fence[1] == language:
                counts[heading] = counts.get(heading, 0) + 1
                found.append(Block(page.name, heading, counts[heading], fence[2], before))
    return found


def spans() -> list[tuple[str, str]]:
    """What stands in single backticks, with the name of its page; code blocks are left out."""
    found = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
            found.append((page.name, " ".join(span.split())))
    return found
