"""Pages of documentation: their fenced blocks, and a page's shell lines as one script."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "keys" / "README.md",
    ROOT / "verifier" / "README.md",
    ROOT / "examples" / "orders" / "README.md",
]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"<!-- (not run|file): (.+?) -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int
    """Of the page, where its text begins."""
    not_run: str | None
    """Why the tests cannot run it."""
    file: str | None
    """What a reader saves it as."""


def title(page: Path) -> str:
    """Which page it is."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        note = _NOTE.search(text[: fence.start()])
        kind, said = note.groups() if note else (None, None)
        found.append(
            Block(
                language=fence[1],
                text=fence[2],
                line=text.count("\n", 0, fence.start(2)) + 1,
                not_run=said if kind == "not run" else None,
                file=said if kind == "file" else None,
            )
        )
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def to_run(page: Path) -> list[Block]:
    """The shell blocks of a page that a reader pastes, one after the other."""
    return [block for block in blocks(page) if block.language == "sh" and block.not_run is None]


def shown_after(page: Path) -> dict[int, str]:
    """What the page shows as the answer of a shell block, by the block's line."""
    found = blocks(page)
    return {
        block.line: shown.text
        for block, shown in pairwise(found)
        if block.language == "sh" and shown.language == "text"
    }


def script(page: Path) -> str:
    """The shell lines of a page, each at its own line number; what ends a block prints `end_of` it."""
    lines = [""] * len(page.read_text().splitlines())
    for block in to_run(page):
        inside = block.text.splitlines()
        lines[block.line - 1 : block.line - 1 + len(inside)] = inside
        lines[block.line - 1 + len(inside)] = f"echo '{end_of(block)}'"
    return "\n".join(lines) + "\n"


def end_of(block: Block) -> str:
    """What a script prints where a block ends."""
    return f"=== the block of line {block.line} has ended ==="


def pattern(shown: str) -> str:
    """What a page shows of an answer, as a regular expression: an ellipsis stands for anything."""
    return ".*".join(re.escape(part) for part in shown.strip().split("…"))
