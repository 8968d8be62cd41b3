"""Small GETs: how many a second, how long they take, what they cost; and with other key sizes."""

from __future__ import annotations

import threading

from benchmarks import signatures, targets, wrk
from benchmarks.answers import SMALL
from benchmarks.client import Client
from benchmarks.lab import Running
from benchmarks.session import Session

CONNECTIONS = (1, 8, 32, 128)
COMPARED = (targets.DIRECT, targets.UNSIGNED, targets.SIDECAR, targets.NOT_LOGGING, *targets.PEERS)
SLOW = ("mitmproxy", "naive")
"""Measured in one round: they are so far behind that more would only take time."""
BITS = (1024, 2048, 3072, 4096)
FASTEST = (targets.CLUSTER, targets.GO)
"""The peers whose throughput with other key sizes is worth a look."""
BUSY = 32
"""Connections under which things other than throughput are looked at."""
_PROBE_PAUSE = 0.005


def throughput(session: Session) -> None:
    """Requests a second, latency, CPU and memory at 1 to 128 connections."""
    running = session.start(*COMPARED)
    _warm_up(running)
    for connections in CONNECTIONS:

        def measure(number: int, each: Running, connections: int = connections) -> None:
            if each is running[0]:
                _sign(session, number, 2048)
            if number == 0 or each.target.name not in SLOW:
                _load(session, "throughput", each, number, connections)

        session.interleaved(f"throughput at {connections}", running, measure)
    session.stop(running)


def interpreters(session: Session) -> None:
    """The same sidecar in other Pythons, with and without signing."""
    running = session.start(*targets.INTERPRETERS)
    _warm_up(running)
    for connections in (1, BUSY):

        def measure(number: int, each: Running, connections: int = connections) -> None:
            _load(session, "interpreters", each, number, connections)

        session.interleaved(f"interpreters at {connections}", running, measure)
    session.stop(running)


def key_sizes(session: Session) -> None:
    """What longer keys do to the throughput."""
    for bits in BITS:
        running = [session.lab.start(t, bits) for t in session.usable(targets.SIDECAR, *FASTEST)]
        _warm_up(running)

        def measure(
            number: int, each: Running, first: Running = running[0], bits: int = bits
        ) -> None:
            if each is first:
                _sign(session, number, bits)
            _load(session, "key sizes", each, number, BUSY, bits=bits)

        session.interleaved(f"{bits} bits", running, measure)
        session.stop(running)


def health(session: Session) -> None:
    """How long an unrelated /_sidecar/health takes while 4096-bit signatures are made."""
    for target, bits in (
        (targets.UNSIGNED, 2048),
        (targets.SIDECAR, 2048),
        (targets.SIDECAR, 4096),
    ):

        def measure(number: int, each: Running, bits: int = bits) -> None:
            waits = _waits_under_load(session, each)
            session.note("health", each.target.name, number, bits=bits, waits_us=waits)

        with session.lab.running(target, bits) as running:
            _warm_up([running])
            session.interleaved(f"health, {target.name} {bits}", [running], measure)


def _waits_under_load(session: Session, each: Running) -> list[float]:
    done = threading.Event()
    waits: list[float] = []
    prober = threading.Thread(target=_probe, args=(each, done, waits))
    prober.start()
    try:
        wrk.load(
            each.url + SMALL,
            connections=BUSY,
            seconds=session.seconds,
            process=each.process,
            upstream=session.lab.upstream,
        )
    finally:
        done.set()
        prober.join()
    return waits


def _probe(running: Running, done: threading.Event, waits: list[float]) -> None:
    with Client(running.url) as client:
        while not done.wait(_PROBE_PAUSE):
            waits.append(round(client.get("/_sidecar/health").seconds * 1e6, 1))


def _warm_up(running: list[Running]) -> None:
    for each in running:
        wrk.warm_up(each.url + SMALL)
        each.settle()


def _sign(session: Session, number: int, bits: int) -> None:
    cost = signatures.bare(session.lab.key(bits)[0])
    session.note("signature", "bare", number, bits=bits, cpu_us=cost)


def _load(
    session: Session, scenario: str, each: Running, number: int, connections: int, bits: int = 2048
) -> None:
    result = wrk.load(
        each.url + SMALL,
        connections=connections,
        seconds=session.seconds,
        process=each.process,
        upstream=session.lab.upstream,
    )
    session.note(scenario, each.target.name, number, bits=bits, **result)
