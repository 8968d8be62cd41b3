"""How many file descriptors there are, and who gets how many."""

from __future__ import annotations

import resource

import pytest

from sidecar.config.load import Config, load
from sidecar.net import descriptors


def config(**limits: object) -> Config:
    values: dict[str, object] = {
        "jira.base_url": "https://jira.example.com",
        "jira.consumer_key": "K",
    }
    values |= {f"limits.{name}": value for name, value in limits.items()}
    return load(None, {"HOME": "/nowhere"}, values)


def allow(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int | None = None) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft if hard is None else hard))


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (256, 512, [(512, 512)]),
        (1024, 1 << 20, [(65536, 1 << 20)]),
        (1024, resource.RLIM_INFINITY, [(65536, resource.RLIM_INFINITY)]),
        (1 << 20, 1 << 20, []),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, []),
    ],
)
def test_as_many_are_taken_as_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: list[tuple[int, int]]
) -> None:
    asked: list[tuple[int, int]] = []
    allow(monkeypatch, soft, hard)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    descriptors.raise_limit()
    assert asked == wanted


def test_a_system_that_does_not_allow_what_it_says_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    allow(monkeypatch, 256, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    descriptors.raise_limit()


@pytest.mark.parametrize(
    ("allowed", "clients"),
    [(65536, 4096), (8192, 4096), (1024, 1024 - 32 - 100), (200, 84), (64, 16), (16, 1)],
)
def test_clients_get_what_the_process_does_not_need_itself(
    monkeypatch: pytest.MonkeyPatch, allowed: int, clients: int
) -> None:
    allow(monkeypatch, allowed)
    assert descriptors.most_clients(config().limits) == clients


def test_clients_get_what_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, 64)
    assert descriptors.most_clients(config(clients=5000).limits) == 5000


def test_limits_that_need_more_than_there_are_are_warned_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow(monkeypatch, 1231)
    (warning,) = descriptors.warnings(config())
    assert "1232 file descriptors, and 1231 are allowed" in warning
    assert "LimitNOFILE=" in warning
    allow(monkeypatch, 1232)
    assert list(descriptors.warnings(config())) == []
    (warning,) = descriptors.warnings(config(clients=2000))
    assert "2132 file descriptors" in warning
