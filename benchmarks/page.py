"""The tables of docs/performance.md, written by what measured them."""

from tests.support.pages import ROOT

PAGE = ROOT / "docs" / "performance.md"


def put(name: str, markdown: str) -> None:
    """Replace what stands between the two comments that bear this name."""
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- end: {name} -->\n"
    before, _, rest = PAGE.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{PAGE} has no place for {name}")
    PAGE.write_text(f"{before}{begin}\n{markdown}\n{end}{after}")


def table(rows: list[list[str]]) -> str:
    """Return a table in Markdown that reads well in a terminal, too; its first row is the head."""
    even = [row + [""] * (len(rows[0]) - len(row)) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*even, strict=True)]
    lines = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in even
    ]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines) + "\n"
