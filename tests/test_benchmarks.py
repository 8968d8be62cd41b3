"""The benchmark's report: what is made of numbers, without measuring any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import answers, report
from benchmarks.__main__ import added
from benchmarks.results import Results

RATES = {"direct": 20_000, "unsigned": 8_000, "sidecar": 4_500, "go": 1_900, "njs": 2_000}


def load(target: str, number: int, connections: int, rate: float, cpu: float) -> dict[str, Any]:
    return {
        "scenario": "throughput",
        "target": target,
        "round": number,
        "bits": 2048,
        "connections": connections,
        "requests_per_second": rate,
        "p50_us": 50.0 if target == "direct" else 450.0,
        "p99_us": 900.0,
        "cpu_us": cpu,
        "others_cpu_us": 20.0,
        "peak_mib": 50.0,
    }


def throughput_document() -> dict[str, Any]:
    samples: list[dict[str, Any]] = []
    for number in range(3):
        samples.append(
            {
                "scenario": "signature",
                "target": "bare",
                "round": number,
                "bits": 2048,
                "cpu_us": 220.0,
            }
        )
        for target, rate in RATES.items():
            # A disturbed round has half the throughput, but the same ratios.
            samples += [
                load(target, number, connections, rate / (1 + number % 2), 100.0)
                for connections in report.CONNECTIONS
            ]
    return {
        "date": "2026-01-01",
        "rounds": 3,
        "seconds": 2,
        "cores": 2,
        "machine": {"processor": "a processor"},
        "titles": {"direct": "nothing", **{name: name.upper() for name in RATES}},
        "left_out": {"mitmproxy": "not built"},
        "failures": [],
        "samples": samples,
    }


def test_a_ratio_is_taken_within_each_round() -> None:
    results = Results(throughput_document())
    assert results.best_peer() == "njs"
    assert results.times_the_best(8) == 2.25
    assert report.render(results.document).count("| 2.25 | ✓ |") == 3


def test_the_table_says_how_the_sidecar_stands_to_the_best_peer_at_every_load() -> None:
    document = throughput_document()
    for sample in document["samples"]:
        if sample["target"] == "go" and sample.get("connections") == 8:
            sample["requests_per_second"] *= 3
    times = "2.25, 0.79, 2.25 and 2.25 times as many requests a second as the best of the others"
    assert times in report.summary(document)


def test_the_latency_at_one_connection_is_held_against_the_nearest_peer() -> None:
    document = throughput_document()
    for sample in document["samples"]:
        if sample["target"] == "go" and sample.get("connections") == 1:
            sample["p50_us"] = 440.0
    assert Results(document).nearest_peer() == ("go", 390.0)
    assert "(GO) | < 390 µs | 400 µs | ✗ |" in report.render(document)


def test_scenarios_that_were_not_measured_now_are_kept() -> None:
    document = throughput_document() | {"minutes": 1.0}
    search = {"scenario": "searches", "target": "sidecar", "round": 0}
    before = document | {"samples": [search, document["samples"][0] | {"cpu_us": 1.0}]}
    results = added(before, document)
    assert results["samples"] == [search, *document["samples"]]
    assert results["minutes"] == 2.0


def test_the_limit_follows_from_the_unsigned_relay_and_the_bare_signature() -> None:
    results = Results(throughput_document())
    assert [round(limit) for limit in results.limit().values()] == [6250] * 3
    assert [round(limit) for limit in results.limit(others=True).values()] == [5882] * 3


def test_what_is_not_kept_is_marked() -> None:
    document = throughput_document()
    for sample in document["samples"]:
        if sample["target"] == "njs":
            sample["requests_per_second"] *= 2
    assert report.render(document).count("| 1.12 | ✗ |") == 3


def test_a_report_names_what_is_missing_and_has_no_empty_sections() -> None:
    text = report.render(throughput_document())
    assert "Not measured: mitmproxy (not built)." in text
    assert "512 MB" not in text
    assert "| a processor |" in text


def test_searches_have_the_sizes_that_they_are_called_by(tmp_path: Path) -> None:
    answers.write(tmp_path, "http://127.0.0.1:8080/jira")
    for name, size in (("50 kB", 50_000), ("5 MB", 5_000_000)):
        path = tmp_path / answers.SEARCHES[name][1:]
        assert abs(path.stat().st_size - size) < size * 0.1
        assert path.with_name(path.name + ".gz").exists()
