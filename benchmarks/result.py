"""What a run found: kept in a file, and told as Markdown."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measuring import REFUSED, VERIFY, Sample
from benchmarks.page import put, table
from benchmarks.targets import TARGETS
from tests.support.pages import ROOT

STORED = ROOT / "benchmarks" / "result.json"

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
    def values(self) -> dict[str, float]:
        """What the targets speak of."""
        counted = {
            f"{name}: {what}": value for name, kinds in self.counts.items() for what, value in kinds.items()
        }
        in_postgres = {f"{name}: CPU of Postgres": sample.postgres for name, sample in self.samples.items()}
        return {**ratios(self.samples), **counted, **in_postgres, **self.others}

    def save(self) -> None:
        """Keep it, and put its tables into the page."""
        STORED.write_text(json.dumps(_rounded(asdict(self)), indent=2, ensure_ascii=False) + "\n")
        put("operations", self.markdown())

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
            if target.value not in self.values:
                continue
            numbers = [self.values[target.value], target.most, target.aim]
            shown = ["" if each is None else f"{each:.3g} {target.unit}".strip() for each in numbers]
            rows.append([target.value, *shown, target.verdict(self.values)])
        return table(rows)


def ratios(samples: Mapping[str, Sample]) -> dict[str, float]:
    """Return what a later run is compared with, by name.

    How soon a revocation is refused is compared by its milliseconds: most of them are the library's pause between two
    looks, the same on every machine, and a ratio to a commit would say how the disk does.
    """
    in_postgres = {f"{name} in Postgres": each.commits for name, each in samples.items() if each.commits}
    costs = {name: each.p50 if name == REFUSED else each.ratio for name, each in samples.items()}
    return costs | in_postgres


def stored_ratios() -> dict[str, float]:
    """Return those of the last run that was kept."""
    if not STORED.exists():
        raise SystemExit("nothing to compare with; keep a result first: make bench ARGS=--record")
    kept: dict[str, Any] = json.loads(STORED.read_text())
    return ratios({name: Sample(**figures) for name, figures in kept["samples"].items()})


def _rounded(value: Any) -> Any:
    match value:
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case float():
            return float(f"{value:.4g}")
    return value
