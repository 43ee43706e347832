"""The Prometheus series: which there are, and their text. docs/observability.md says what they mean.

Labels are closed sets: a route's template, a code of ours, never what somebody sent. No series tells of a single
user, client or token.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from pydantic import SecretStr

from service.board import Board, Buckets, Cell, Family, Labels, Seat, Series

_ANSWERS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAITS = (0.0001, 0.001, 0.01, 0.1, 1.0, 5.0)
_SIGNATURES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1)
_HASHES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Family(
    "sealwright_requests", "counter", "Requests answered, by route and status.", ("method", "route", "status")
)
REQUEST_SECONDS = Family(
    "sealwright_request_duration_seconds",
    "histogram",
    "From the head of a request to the end of its answer.",
    ("method", "route"),
    _ANSWERS,
)
GRANTS = Family(
    "sealwright_grants",
    "counter",
    "Answers of /token and /refresh, by grant type and outcome: issued, or the error's code.",
    ("grant", "outcome"),
)
ROTATIONS = Family(
    "sealwright_rotations",
    "counter",
    "Refresh tokens presented to the session's row, by what became of them.",
    ("outcome",),
)
REVOCATIONS = Family(
    "sealwright_revocations", "counter", "Revocations committed by the service.", ("kind", "reason")
)
UNAVAILABLE = Family(
    "sealwright_unavailable", "counter", "Requests refused with a 503, by the part that was away.", ("part",)
)
SIGNING_SECONDS = Family(
    "sealwright_signing_seconds", "histogram", "Time of one signature.", bounds=_SIGNATURES
)
HASH_SECONDS = Family(
    "sealwright_password_hash_seconds",
    "histogram",
    "Time of one password hash, without its wait.",
    bounds=_HASHES,
)
HASH_WAIT_SECONDS = Family(
    "sealwright_password_hash_wait_seconds", "histogram", "Wait of a password for its hash.", bounds=_WAITS
)
HASHES_SHED = Family(
    "sealwright_password_hashes_shed", "counter", "Sign-ins turned away because too many wait for a hash."
)
LIMITED = Family(
    "sealwright_limited",
    "counter",
    "Requests refused with a 429, by what had failed too often.",
    ("limit",),
)
COUNTED_SHARED = Family(
    "sealwright_failures_shared",
    "gauge",
    "1 if failures are counted in Redis for all replicas, 0 if by this worker for itself.",
    each_worker=True,
)
HASH_QUEUE = Family(
    "sealwright_password_hash_queue", "gauge", "Password hashes under way or waiting.", each_worker=True
)
POOL_WAIT_SECONDS = Family(
    "sealwright_database_wait_seconds",
    "histogram",
    "Wait for a connection to Postgres, its making included.",
    bounds=_WAITS,
)
POOL = Family(
    "sealwright_database_connections",
    "gauge",
    "Connections to Postgres, by state.",
    ("state",),
    each_worker=True,
)
POOL_SIZE = Family(
    "sealwright_database_connections_max",
    "gauge",
    "Connections to Postgres that may be opened.",
    each_worker=True,
)
REDIS_TRUSTED = Family(
    "sealwright_redis_trusted",
    "gauge",
    "1 if the blocklist in Redis is in use, 0 if Postgres is asked instead.",
    each_worker=True,
)
RECORD_NUMBER = Family(
    "sealwright_revocation_record_number",
    "gauge",
    "Number of the last revocation, as far as known.",
    each_worker=True,
)
MARKER_LAG = Family(
    "sealwright_blocklist_marker_lag",
    "gauge",
    "Revocations that the blocklist in Redis is behind the record.",
    each_worker=True,
)
BLOCKLIST = Family("sealwright_blocklist_entries", "gauge", "Revocations in force.")
KEY = Family(
    "sealwright_signing_key",
    "gauge",
    "1 for each published or compromised key, by its state now.",
    ("kid", "state"),
)
KEY_AGE = Family(
    "sealwright_signing_key_age_seconds", "gauge", "For how long the active key has signed.", ("kid",)
)
KEY_CHANGE = Family(
    "sealwright_signing_key_next_change_timestamp_seconds",
    "gauge",
    "When the key ring changes next by itself: a key begins to sign, or is no longer published.",
)

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in tuple(globals().values()) if isinstance(family, Family)
}


class Cells(dict[Labels, Cell]):
    """The series of a counter or gauge by their labels' values; a new one comes into being when it is asked for."""

    def __init__(self, seat: Seat, family: Family) -> None:
        super().__init__()
        self._seat = seat
        self._family = family

    def __missing__(self, labels: Labels) -> Cell:
        cell = self[labels] = self._seat.cell(self._family, labels)
        return cell


class Histograms(dict[Labels, Buckets]):
    """The series of a histogram by their labels' values."""

    def __init__(self, seat: Seat, family: Family) -> None:
        super().__init__()
        self._seat = seat
        self._family = family

    def __missing__(self, labels: Labels) -> Buckets:
        buckets = self[labels] = self._seat.buckets(self._family, labels)
        return buckets


class Metrics:
    """What one worker counts."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.requests = Cells(seat, REQUESTS)
        self.request_seconds = Histograms(seat, REQUEST_SECONDS)
        self.grants = Cells(seat, GRANTS)
        self.rotations = Cells(seat, ROTATIONS)
        self.revocations = Cells(seat, REVOCATIONS)
        self.unavailable = Cells(seat, UNAVAILABLE)
        self.signing_seconds = seat.buckets(SIGNING_SECONDS)
        self.hash_seconds = seat.buckets(HASH_SECONDS)
        self.hash_wait_seconds = seat.buckets(HASH_WAIT_SECONDS)
        self.hashes_shed = seat.cell(HASHES_SHED)
        self.limited = Cells(seat, LIMITED)
        self.pool_wait_seconds = seat.buckets(POOL_WAIT_SECONDS)


class _Seats(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        readings = self._board.read(FAMILIES)
        yield GaugeMetricFamily(
            "sealwright_workers", "Workers that serve.", sum(reading.alive for reading in readings)
        )
        build = GaugeMetricFamily("sealwright_build_info", "The release that runs.", labels=["version"])
        build.add_metric([version("sealwright-server")], 1)
        yield build
        merged: dict[str, dict[Labels, tuple[float, ...]]] = {name: {} for name in FAMILIES}
        for reading in readings:
            for series in reading.series:
                labels = series.labels + ((str(reading.seat),) if series.family.each_worker else ())
                known = merged[series.family.name]
                known[labels] = _together(series, known.get(labels))
        for name, found in merged.items():
            yield _metric(FAMILIES[name], found)


def _together(series: Series, before: tuple[float, ...] | None) -> tuple[float, ...]:
    if before is None:
        return series.values
    together = max if series.family.kind == "gauge" else sum
    return tuple(together(pair) for pair in zip(before, series.values, strict=True))


def _metric(family: Family, found: Mapping[Labels, tuple[float, ...]]) -> Metric:
    names = [*family.labels, *(["worker"] if family.each_worker else [])]
    match family.kind:
        case "counter":
            counter = CounterMetricFamily(family.name, family.help, labels=names)
            for labels, (value,) in sorted(found.items()):
                counter.add_metric(labels, value)
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(family.name, family.help, labels=names)
            for labels, (value,) in sorted(found.items()):
                gauge.add_metric(labels, value)
            return gauge
        case "histogram":
            histogram = HistogramMetricFamily(family.name, family.help, labels=names)
            for labels, (*buckets, total) in sorted(found.items()):
                histogram.add_metric(labels, list(_cumulative(family.bounds, buckets)), total)
            return histogram


def _cumulative(bounds: Iterable[float], counts: Iterable[float]) -> Iterator[tuple[str, float]]:
    so_far = 0.0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        so_far += count
        yield floatToGoString(bound), so_far  # type: ignore[no-untyped-call]  # theirs


class Exposition:
    """The text that Prometheus reads, of all the workers that share a board."""

    def __init__(self, board: Board, token: SecretStr | None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Seats(board))
        self._token = token

    def allows(self, authorization: str | None) -> bool:
        """Whether a request with this Authorization header may read it; without a token set, any may."""
        if self._token is None:
            return True
        expected = f"Bearer {self._token.get_secret_value()}".encode()
        return hmac.compare_digest((authorization or "").encode("utf-8", "surrogateescape"), expected)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type, in the format that `accept` prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
