"""What a run found: kept in a file, and told as Markdown."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measuring import REFUSED, VERIFY, Sample
from benchmarks.targets import TARGETS
from tests.support.pages import ROOT

STORED = ROOT / "benchmarks" / "result.json"
_PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- measured -->\n", "<!-- end of what is measured -->\n"

_FLOORS = {
    "client_credentials": "a signature",
    "refresh": "two signatures",
    "password sign-in": "a password hash",
    VERIFY: "a bare RSA verification",
    REFUSED: "a commit",
}


@dataclass(frozen=True)
class Result:
    """All figures."""

    machine: Mapping[str, str]
    samples: Mapping[str, Sample]
    counts: Mapping[str, Mapping[str, float]]
    others: Mapping[str, float]
    """What is no request: starting, memory."""

    @property
    def ratios(self) -> dict[str, float]:
        """What a later run is compared with."""
        return ratios(self.samples)

    @property
    def values(self) -> dict[str, float]:
        """What the targets speak of."""
        counted = {
            f"{name}: {what}": value for name, kinds in self.counts.items() for what, value in kinds.items()
        }
        return {
            **self.ratios,
            **counted,
            **self.others,
            "refresh: CPU of Postgres": self.samples["refresh"].postgres,
        }

    def save(self) -> None:
        """Keep it, and put its tables into the page."""
        STORED.write_text(json.dumps(_rounded(asdict(self)), indent=2, ensure_ascii=False) + "\n")
        before, _, rest = _PAGE.read_text().partition(_BEGIN)
        after = rest.partition(_END)[2]
        _PAGE.write_text(f"{before}{_BEGIN}\n{self.markdown()}\n{_END}{after}")

    def markdown(self) -> str:
        """Return the machine, the operations and the targets."""
        machine = "\n".join(f"- {name}: {said}" for name, said in self.machine.items())
        return f"{machine}\n\n{self._operations()}\n{self._targets()}"

    def _operations(self) -> str:
        head = ["", "a second", "p50 ms", "p99 ms", "CPU ms", "its floor", "ratio"]
        head += ["Postgres ms", "Redis ms", "statements", "Redis calls"]
        rows = [[name, *self._row(name, sample)] for name, sample in self.samples.items()]
        return table([head, *rows])

    def _row(self, name: str, sample: Sample) -> list[str]:
        counted = self.counts.get(name, {})
        floor = _FLOORS.get(name, "a bare answer")
        once = sample.floor * (2 if name == "refresh" else 1)
        return [
            f"{sample.rate:,.0f}" if sample.rate else "",
            *(f"{each:.2f}" if each else "" for each in (sample.p50, sample.p99)),
            f"{sample.service:.3f}" if sample.service else "",
            f"{floor}, {once:.3f} ms",
            f"{sample.ratio:.2f}",
            *(f"{each:.3f}" if counted else "" for each in (sample.postgres, sample.redis)),
            *(f"{each:g}" for each in counted.values()),
        ]

    def _targets(self) -> str:
        rows = [["", "measured", "at most", "aim", ""]]
        for target in TARGETS:
            numbers = [self.values[target.value], target.most, target.aim]
            shown = ["" if each is None else f"{each:.3g} {target.unit}".strip() for each in numbers]
            rows.append([target.value, *shown, target.verdict(self.values)])
        return table(rows)


def ratios(samples: Mapping[str, Sample]) -> dict[str, float]:
    """Return what is compared, by name."""
    in_postgres = {f"{name} in Postgres": each.commits for name, each in samples.items() if each.commits}
    return {name: each.ratio for name, each in samples.items()} | in_postgres


def stored_ratios() -> dict[str, float]:
    """Return those of the last run that was kept."""
    if not STORED.exists():
        raise SystemExit("nothing to compare with; keep a result first: make bench ARGS=--record")
    kept: dict[str, Any] = json.loads(STORED.read_text())
    return ratios({name: Sample(**figures) for name, figures in kept["samples"].items()})


def table(rows: list[list[str]]) -> str:
    """Return a table in Markdown that reads well in a terminal, too."""
    widths = [max(len(cell) for cell in column) for column in zip(*_even(rows), strict=True)]
    lines = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in _even(rows)
    ]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines) + "\n"


def _even(rows: list[list[str]]) -> list[list[str]]:
    return [row + [""] * (len(rows[0]) - len(row)) for row in rows]


def _rounded(value: Any) -> Any:
    match value:
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case float():
            return float(f"{value:.4g}")
    return value
