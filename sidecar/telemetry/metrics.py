"""Numbers to watch, for `/_sidecar/metrics` and the counters of `/_sidecar/status`.

They are plain integers, which costs a request about a microsecond, and become Prometheus' metrics
when somebody asks for them.  Only prometheus_client's exposition is used, and only then: its import
takes 30 ms.
"""

from __future__ import annotations

import os
import platform
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar import __version__
from sidecar.http.methods import METHODS
from sidecar.telemetry.record import Record
from sidecar.telemetry.spool import dropped_lines
from sidecar.telemetry.troubles import Troubles

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

METRICS = {
    "sidecar_ready": "1 while key and token are usable and Jira takes them, as /_sidecar/ready has "
    "it, else 0.",
    "sidecar_not_ready": "1 while the sidecar is not ready, by problem: Jira's name for a refusal, "
    "or no_token, token_not_ours, token_unusable, shutting_down.",
    "sidecar_requests_total": "Requests by method, class of status, and whose answer it was "
    "(jira or sidecar); status is none where the client left before an answer began.",
    "sidecar_requests_in_flight": "Requests being answered, those that wait among them, but for "
    "those to /_sidecar/*.",
    "sidecar_requests_waiting": "Requests that wait for their turn to be sent to Jira.",
    "sidecar_rate_limit_waiting": "Those of them that wait because Jira's rate limit is used up.",
    "sidecar_client_connections": "Open connections of clients.",
    "sidecar_request_duration_seconds": "From a request's head to the last byte of its answer.",
    "sidecar_upstream_connect_duration_seconds": "Time to get a connection to Jira, from the pool "
    "or new.",
    "sidecar_upstream_first_byte_duration_seconds": "From sending a request to the head of Jira's "
    "answer.",
    "sidecar_signing_duration_seconds": "Time that a request's signatures took.",
    "sidecar_request_body_bytes_total": "Bytes of bodies received from clients.",
    "sidecar_response_body_bytes_total": "Bytes of bodies sent to clients.",
    "sidecar_retries_total": "Requests sent again by reason: connection_lost, or oauth_problem.",
    "sidecar_heals_total": "OAuth problems that were put right before a client saw them, by "
    "problem.",
    "sidecar_rate_limit_waits_total": "Requests that waited because Jira's rate limit was used up.",
    "sidecar_rate_limit_wait_seconds_total": "How long they waited, together.",
    "sidecar_rate_limit_refusals_total": "429s of Jira's by what became of them: absorbed (the "
    "request was sent again in its turn) or passed (to the client).",
    "sidecar_oauth_problems_total": "OAuth problems that reached a client, by problem.",
    "sidecar_errors_total": "Errors that the sidecar answered itself, by Proxy-Status error.",
    "sidecar_closed_early_total": "Exchanges that ended before they were complete, by who ended "
    "them: client, jira or sidecar.",
    "sidecar_reloads_total": "Reloads of the configuration by result: success or failure.",
    "sidecar_token_expiry_timestamp_seconds": "When the access token ends, in Unix time; missing "
    "where Jira named no end.",
    "sidecar_session_expiry_timestamp_seconds": "When the session ends within which the access "
    "token can be renewed, in Unix time; missing where Jira named no end.",
    "sidecar_token_renewal_failing": "1 while the access token should be renewed and cannot be, or "
    "the new one cannot be stored, else 0.",
    "sidecar_clock_difference_seconds": "Jira's clock minus ours; missing until it is known.",
    "sidecar_log_lines_dropped_total": "Lines of the log that were dropped because standard error "
    "could not be written to.",
    "sidecar_build_info": "Always 1; the sidecar's and Python's version are labels.",
    "process_start_time_seconds": "Start of the process in Unix time.",
    "process_cpu_seconds_total": "Processor time spent, of the user and the system.",
    "process_resident_memory_bytes": "Resident memory.",
    "process_open_fds": "Open file descriptors.",
    "process_max_fds": "How many file descriptors may be open.",
}
"""Every metric and its help; Prometheus' naming conventions."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIGNING_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
_STARTED = time.time()


class Gauges(NamedTuple):
    """Values at the moment of a scrape."""

    is_ready: bool
    in_flight: int
    waiting: int
    held: int
    connections: int
    token_expires_at: float | None
    clock_difference: float | None
    not_ready: str = ""
    """The name of the problem; "" where there is none."""
    session_expires_at: float | None = None
    is_renewal_failing: bool = False


class Histogram:
    """How many observations lay below each of a few bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound and how many values were no larger, as Prometheus has them."""
        bounds = [str(float(bound)) for bound in self.bounds] + ["+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


class Metrics:
    """Counts what happens."""

    def __init__(self, troubles: Troubles, gauges: Callable[[], Gauges]) -> None:
        self._troubles = troubles
        self._gauges = gauges
        self.requests: Counter[tuple[str, int, str]] = Counter()
        self.errors: Counter[str] = Counter()
        self.closed_early: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.reloads: Counter[str] = Counter()
        self.rate_limited: Counter[str] = Counter()
        self.held = 0
        self.held_seconds = 0.0
        self.received = 0
        self.sent = 0
        self.durations = Histogram(_SECONDS)
        self.connects = Histogram(_SECONDS)
        self.first_bytes = Histogram(_SECONDS)
        self.signings = Histogram(_SIGNING_SECONDS)

    def finished(self, record: Record) -> None:
        """Count a finished request, unless it asked for one of the sidecar's own pages."""
        if record.is_local:
            return
        method = record.method if record.method in METHODS else "other"
        self.requests[method, record.status // 100, record.answered_by] += 1
        self.received += record.received
        self.sent += record.sent
        self.durations.observe(record.total)
        if record.signing:
            self.signings.observe(record.signing)
        if record.first_byte:
            self.connects.observe(record.connecting)
            self.first_bytes.observe(record.first_byte)
        if record.retries:
            by_problem = 1 if record.resent_for else 0
            self.retries["oauth_problem"] += by_problem
            self.retries["connection_lost"] += record.retries - by_problem
        if record.held:
            self.held += 1
            self.held_seconds += record.held
            self.rate_limited["absorbed"] += record.absorbed
        if record.status == 429:
            self.rate_limited["passed"] += 1
        if record.error:
            self.errors[record.error] += 1
        if record.closed_early:
            self.closed_early[record.closed_early] += 1

    def refused(self, status: int, error: str) -> None:
        """Count what the parser refused: it never became a request with a method."""
        self.requests["other", status // 100, "sidecar"] += 1
        self.errors[error] += 1

    def counters(self) -> dict[str, Any]:
        """The counters of /_sidecar/status."""
        gauges = self._gauges()
        statuses: Counter[str] = Counter()
        for (_, status, _), count in self.requests.items():
            statuses[_status_class(status)] += count
        return {
            "requests": dict(sorted(statuses.items())),
            "in_flight": gauges.in_flight,
            "waiting": gauges.waiting,
            "held": gauges.held,
            "received_bytes": self.received,
            "sent_bytes": self.sent,
            "retries": _plain(self.retries),
            "held_requests": self.held,
            "held_seconds": round(self.held_seconds, 3),
            "rate_limited": _plain(self.rate_limited),
            "heals": _plain(self._troubles.heals),
            "problems": _plain(self._troubles.counts),
            "errors": _plain(self.errors),
            "closed_early": _plain(self.closed_early),
            "log_lines_dropped": dropped_lines(),
        }

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client: every metric as it is now."""
        gauges, troubles = self._gauges(), self._troubles
        yield _gauge("sidecar_ready", gauges.is_ready)
        yield _labelled_gauge("sidecar_not_ready", "problem", gauges.not_ready)
        yield _counter("sidecar_requests", ("method", "status", "answered_by"), self._requests())
        yield _gauge("sidecar_requests_in_flight", gauges.in_flight)
        yield _gauge("sidecar_requests_waiting", gauges.waiting)
        yield _gauge("sidecar_rate_limit_waiting", gauges.held)
        yield _gauge("sidecar_client_connections", gauges.connections)
        yield _histogram("sidecar_request_duration_seconds", self.durations)
        yield _histogram("sidecar_upstream_connect_duration_seconds", self.connects)
        yield _histogram("sidecar_upstream_first_byte_duration_seconds", self.first_bytes)
        yield _histogram("sidecar_signing_duration_seconds", self.signings)
        yield _counter("sidecar_request_body_bytes", (), {(): self.received})
        yield _counter("sidecar_response_body_bytes", (), {(): self.sent})
        yield _counter("sidecar_retries", ("reason",), _labelled(self.retries))
        yield _counter("sidecar_heals", ("problem",), _labelled(troubles.heals))
        yield _counter("sidecar_rate_limit_waits", (), {(): self.held})
        yield _counter("sidecar_rate_limit_wait_seconds", (), {(): self.held_seconds})
        yield _counter("sidecar_rate_limit_refusals", ("outcome",), _labelled(self.rate_limited))
        yield _counter("sidecar_oauth_problems", ("problem",), _labelled(troubles.counts))
        yield _counter("sidecar_errors", ("error",), _labelled(self.errors))
        yield _counter("sidecar_closed_early", ("by",), _labelled(self.closed_early))
        yield _counter("sidecar_reloads", ("result",), _labelled(self.reloads))
        yield _gauge("sidecar_token_expiry_timestamp_seconds", gauges.token_expires_at)
        yield _gauge("sidecar_session_expiry_timestamp_seconds", gauges.session_expires_at)
        yield _gauge("sidecar_token_renewal_failing", gauges.is_renewal_failing)
        yield _gauge("sidecar_clock_difference_seconds", gauges.clock_difference)
        yield _counter("sidecar_log_lines_dropped", (), {(): dropped_lines()})
        yield _build_info()
        yield from _process()

    def _requests(self) -> Mapping[tuple[str, ...], float]:
        return {
            (method, _status_class(status), by): count
            for (method, status, by), count in sorted(self.requests.items())
        }


def _status_class(hundreds: int) -> str:
    return f"{hundreds}xx" if hundreds else "none"


def _plain(counter: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counter.items()) if count}


def _labelled(counter: Counter[str]) -> Mapping[tuple[str, ...], float]:
    return {(name,): count for name, count in sorted(counter.items())}


def _counter(name: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, METRICS[f"{name}_total"], labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, value: float | None) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, METRICS[name], value=value)


def _labelled_gauge(name: str, label: str, value: str) -> Metric:
    """One that is 1 for what holds now, and missing where nothing does."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, METRICS[name], labels=(label,))
    if value:
        family.add_metric((value,), 1)
    return family


def _histogram(name: str, histogram: Histogram) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    return HistogramMetricFamily(
        name, METRICS[name], buckets=histogram.buckets(), sum_value=histogram.sum
    )


def _build_info() -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    name = "sidecar_build_info"
    family = GaugeMetricFamily(name, METRICS[name], labels=("version", "python"))
    family.add_metric((__version__, platform.python_version()), 1)
    return family


def _process() -> Iterator[Metric]:
    """The process' own numbers; prometheus_client's need /proc/stat, which our unit hides."""
    times = os.times()
    yield _gauge("process_start_time_seconds", _STARTED)
    yield _counter("process_cpu_seconds", (), {(): times.user + times.system})
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        return  # not Linux
    yield _gauge("process_resident_memory_bytes", pages * os.sysconf("SC_PAGE_SIZE"))
    yield _gauge("process_open_fds", descriptors)
    yield _gauge("process_max_fds", _most_descriptors())


def _most_descriptors() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
