"""The written pages as the tests read them: code blocks with the marks before them, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.project.sources import ROOT

_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_TABLE = re.compile(r"\n*((?:\|.*\|\n)+)")


@dataclass(frozen=True)
class Block:
    """A fenced block: language, text, the comment before it, and the Markdown table right behind it (rows of cells)."""

    file: Path
    line: int
    language: str
    text: str
    mark: str
    table: tuple[tuple[str, ...], ...]

    @property
    def id(self) -> str:
        return f"{self.file.name}:{self.line}"


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "plugins" / "README.md"]


def blocks(file: Path) -> list[Block]:
    text = file.read_text()
    return [
        Block(
            file,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            found["text"],
            (found["mark"] or "").strip(),
            _rows_after(text, found.end()),
        )
        for found in _BLOCK.finditer(text)
    ]


def _rows_after(text: str, end: int) -> tuple[tuple[str, ...], ...]:
    table = _TABLE.match(text, end)
    if not table:
        return ()
    rows = [tuple(cell.strip() for cell in line.strip().strip("|").split("|")) for line in table[1].splitlines()]
    return tuple(row for row in rows if not all(set(cell) <= {"-", ":"} and cell for cell in row))


def links(file: Path) -> list[str]:
    """Targets of the links and pictures of a page, code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", file.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(file: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
