"""Numbers: what is counted, by which names, and at what price."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from sidecar import __version__
from sidecar.jira.problems import Problem
from sidecar.sandbox import Sandbox
from sidecar.telemetry.metrics import METRICS, Gauges, Histogram, Metrics
from sidecar.telemetry.record import Record
from sidecar.telemetry.troubles import Troubles
from tests.conftest import MakeSidecar, Running, store_token
from tests.support.waiting import PATIENCE
from tests.support.wire import Client


def metrics() -> Metrics:
    return Metrics(Troubles(), lambda: Gauges(True, 3, 2, 1, 5, 1.9e9, -0.5))


def record(**facts: object) -> Record:
    one = Record("GET", "/x", "id", 0.0, 200, "jira", 10, 20, 0.001, 0.03, 0.0007, 0.04)
    for name, value in facts.items():
        setattr(one, name, value)
    return one


def families(text: bytes) -> Iterator[Metric]:
    """Parsed as Prometheus would."""
    yield from text_string_to_metric_families(text.decode())


def samples(text: bytes) -> dict[str, float]:
    """Values by name and labels, as in the text."""
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def scraped(client: Client) -> dict[str, float]:
    answer = await client.get("/_sidecar/metrics")
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples(answer.body)


class TestNames:
    def test_all_that_is_exposed_is_documented_and_the_other_way_round(self) -> None:
        exposed = {}
        for family in families(metrics().exposition()):
            suffix = "_total" if family.type == "counter" else ""
            exposed[family.name + suffix] = family.documentation
        assert exposed == METRICS

    @pytest.mark.parametrize("name", METRICS)
    def test_names_follow_prometheus_conventions(self, name: str) -> None:
        assert name.startswith(("sidecar_", "process_"))
        assert not name.endswith(("_ms", "_milliseconds", "_count", "_sum", "_bucket"))
        if "duration" in name or "difference" in name or "timestamp" in name:
            assert name.endswith("_seconds")

    def test_whatever_comes_the_number_of_series_is_bounded(self) -> None:
        counted = metrics()
        counted.finished(record())
        for number in range(200):
            counted.finished(record(method=f"M{number}", path=f"/{number}", request_id=str(number)))
        other = [key for key in samples(counted.exposition()) if 'method="other"' in key]
        assert other == ['sidecar_requests_total{answered_by="jira",method="other",status="2xx"}']

    def test_the_build_is_named(self) -> None:
        python = ".".join(map(str, sys.version_info[:3]))
        key = f'sidecar_build_info{{python="{python}",version="{__version__}"}}'
        assert samples(metrics().exposition())[key] == 1


class TestCounting:
    def test_a_request_counts_once_in_everything_that_it_touched(self) -> None:
        counted = metrics()
        counted.finished(record(retries=2, resent_for="nonce_used"))
        counted.finished(record(status=0, first_byte=0.0, signing=0.0, closed_early="client"))
        found = samples(counted.exposition())
        jira = 'sidecar_requests_total{answered_by="jira",method="GET",status='
        assert found[jira + '"2xx"}'] == 1
        assert found[jira + '"none"}'] == 1
        assert found['sidecar_retries_total{reason="oauth_problem"}'] == 1
        assert found['sidecar_retries_total{reason="connection_lost"}'] == 1
        assert found['sidecar_closed_early_total{by="client"}'] == 1
        assert found["sidecar_request_body_bytes_total"] == 20
        assert found["sidecar_response_body_bytes_total"] == 40
        assert found["sidecar_request_duration_seconds_count"] == 2
        assert found["sidecar_upstream_first_byte_duration_seconds_count"] == 1
        assert found["sidecar_upstream_connect_duration_seconds_count"] == 1
        assert found["sidecar_signing_duration_seconds_sum"] == 0.0007

    def test_gauges_are_what_is_true_now_and_missing_where_nothing_is_known(self) -> None:
        found = samples(metrics().exposition())
        assert found["sidecar_ready"] == 1
        assert found["sidecar_requests_in_flight"] == 3
        assert found["sidecar_requests_waiting"] == 2
        assert found["sidecar_client_connections"] == 5
        assert found["sidecar_token_expiry_timestamp_seconds"] == 1.9e9
        assert found["sidecar_clock_difference_seconds"] == -0.5
        unknown = Metrics(Troubles(), lambda: Gauges(False, 0, 0, 0, 0, None, None))
        assert "sidecar_clock_difference_seconds" not in samples(unknown.exposition())
        assert samples(unknown.exposition())["sidecar_ready"] == 0

    def test_problems_and_heals_by_kind_unknown_ones_together(self) -> None:
        troubles = Troubles()
        troubles.seen(Problem("token_rejected"))
        for number in range(5):
            troubles.seen(Problem(f"unheard_of_{number}"))
        troubles.healed(Problem("nonce_used"))
        found = samples(
            Metrics(troubles, lambda: Gauges(False, 0, 0, 0, 0, None, None)).exposition()
        )
        assert found['sidecar_oauth_problems_total{problem="token_rejected"}'] == 1
        assert found['sidecar_oauth_problems_total{problem="other"}'] == 5
        assert found['sidecar_heals_total{problem="nonce_used"}'] == 1

    @given(st.lists(st.floats(0, 100)))
    def test_a_histogram_counts_like_one_that_compares_one_by_one(
        self, values: list[float]
    ) -> None:
        histogram = Histogram([0.5, 1, 10])
        for value in values:
            histogram.observe(value)
        bounds = {"0.5": 0.5, "1.0": 1.0, "10.0": 10.0, "+Inf": float("inf")}
        assert histogram.buckets() == [
            (name, sum(value <= bound for value in values)) for name, bound in bounds.items()
        ]
        assert histogram.sum == pytest.approx(sum(values))


class TestPrice:
    def test_a_request_costs_a_few_microseconds(self) -> None:
        """In a process of its own: measuring coverage costs more than what is measured."""
        program = (
            "import timeit; from tests.telemetry.test_metrics import metrics, record\n"
            "counted, one = metrics(), record()\n"
            "times = timeit.repeat(lambda: counted.finished(one), number=1000, repeat=20)\n"
            "print(min(times) / 1000)"
        )
        plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        root = Path(__file__).parents[2]
        seconds = subprocess.check_output(
            [sys.executable, "-c", program], cwd=root, env=plain, timeout=PATIENCE
        )
        assert float(seconds) < 10e-6

    def test_prometheus_client_is_not_imported_before_somebody_asks(self) -> None:
        program = (
            "import sys, sidecar.server.run; raise SystemExit('prometheus_client' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", program], timeout=PATIENCE).returncode == 0


class TestServed:
    async def test_requests_by_method_status_and_who_answered(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        await sidecar.get("/rest/api/2/myself")
        await sidecar.get("/rest/api/2/nothing")
        await sidecar.request("PUT", "/_sandbox/echo", body=b"x" * 100)
        await sidecar.get("/x", ("Host", "evil.example"))
        await sidecar.raw(b"nonsense\r\n\r\n")
        await sidecar.get("/_sidecar/health")
        found = await scraped(sidecar)
        series = {key: value for key, value in found.items() if "requests_total" in key}
        requests = "sidecar_requests_total{answered_by="
        assert series == {
            requests + '"jira",method="GET",status="2xx"}': 1,
            requests + '"jira",method="GET",status="4xx"}': 1,
            requests + '"jira",method="PUT",status="2xx"}': 1,
            requests + '"sidecar",method="GET",status="4xx"}': 1,
            requests + '"sidecar",method="other",status="4xx"}': 1,
        }
        assert found["sidecar_request_body_bytes_total"] == 100
        assert found["sidecar_signing_duration_seconds_count"] == 3
        assert found['sidecar_errors_total{error="http_request_denied"}'] == 1
        assert found['sidecar_errors_total{error="http_request_error"}'] == 1
        counters = (await sidecar.get("/_sidecar/status")).json()["counters"]
        assert counters["requests"] == {"2xx": 2, "4xx": 3}
        assert counters["received_bytes"] == 100

    async def test_what_is_in_flight_and_what_waits(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(
            sandbox.url, token=sandbox.grant().token, limits__connections=1
        )
        async with await sidecar.wire() as first, await sidecar.wire() as second:
            await first.send(sidecar.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
            sandbox.release("g")
            await first.head()
            await second.send(sidecar.message("GET", "/rest/api/2/myself"))
            found = await scraped(sidecar)
            while not found["sidecar_requests_waiting"]:
                found = await scraped(sidecar)
            assert found["sidecar_requests_in_flight"] == 2  # and not the one that asks
            assert found["sidecar_client_connections"] == 3
            sandbox.release("g")
            assert (await second.receive()).status == 200

    async def test_a_heal_shows_and_so_does_a_problem_that_stays(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        sandbox.faults.nonce_used = 1
        assert (await sidecar.get("/rest/api/2/myself")).status == 200
        sandbox.revoke()
        assert (await sidecar.get("/rest/api/2/myself")).status == 401
        found = await scraped(sidecar)
        assert found['sidecar_heals_total{problem="nonce_used"}'] == 1
        assert found['sidecar_retries_total{reason="oauth_problem"}'] == 1
        assert found['sidecar_oauth_problems_total{problem="token_rejected"}'] == 1
        counters = (await sidecar.get("/_sidecar/status")).json()["counters"]
        assert counters["heals"] == {"nonce_used": 1}
        assert counters["problems"] == {"token_rejected": 1}

    async def test_the_tokens_end_is_told(self, sandbox: Sandbox, sidecar: Running) -> None:
        store_token(sidecar.config, sandbox.grant().token, expires_at=1_900_000_000.0)
        await sidecar.get("/rest/api/2/myself")
        found = await scraped(sidecar)
        assert found["sidecar_token_expiry_timestamp_seconds"] == 1_900_000_000
        assert abs(found["sidecar_clock_difference_seconds"]) < 2

    async def test_the_process_is_measured(self, sidecar: Running) -> None:
        found = await scraped(sidecar)
        assert found["process_open_fds"] > 3
        assert found["process_resident_memory_bytes"] > 10e6
        assert 0 <= time.time() - found["process_start_time_seconds"] < 36000

    async def test_head_has_no_body_and_nothing_is_secret(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        await sidecar.get("/rest/api/2/myself")
        head = await sidecar.request("HEAD", "/_sidecar/metrics")
        assert head.status == 200
        assert head.body == b""
        body = (await sidecar.get("/_sidecar/metrics")).body
        for token in sandbox.provider.access_tokens:
            assert token.encode() not in body
