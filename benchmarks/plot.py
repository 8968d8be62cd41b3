"""The picture: throughput against the limit, by connections and by key size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.results import Results, middle

CONNECTIONS = (1, 8, 32, 128)
BITS = (1024, 2048, 3072, 4096)
NAMES = {
    "unsigned": "sidecar, not signing",
    "sidecar": "sidecar",
    "go": "Go, gomodule/oauth1",
    "njs": "nginx, njs",
    "node": "Node, oauth-1.0a",
    "cluster": "Node, cluster of 2",
    "mitmproxy": "mitmproxy",
    "naive": "aiohttp + oauthlib, naive",
}
COLOURS = {
    "unsigned": "#999999",
    "sidecar": "#d1495b",
    "go": "#00798c",
    "njs": "#3d8b37",
    "node": "#edae49",
    "cluster": "#c46210",
    "mitmproxy": "#6a4c93",
    "naive": "#30343f",
}


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the picture; nothing where no throughput was measured."""
    results = Results(document)
    if not results.has("throughput"):
        return
    mpl.rcParams["svg.hashsalt"] = "sidecar"  # the same picture for the same numbers
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    _by_connections(results, left)
    _by_key_size(results, right)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _by_connections(results: Results, axes: Axes) -> None:
    for name in ("sidecar", *(n for n in NAMES if n not in ("sidecar", "unsigned"))):
        rates = [middle(results.throughput(name, c)) or 0.0 for c in CONNECTIONS]
        if all(rates):
            width = 2.5 if name == "sidecar" else 1.5
            axes.plot(
                CONNECTIONS, rates, "o-", color=COLOURS[name], label=NAMES[name], linewidth=width
            )
    if (limit := middle(results.limit())) is not None:
        axes.axhline(limit, color="black", linestyle="--", linewidth=1)
        axes.annotate(
            f"the limit: {limit:,.0f}", (1, limit), textcoords="offset points", xytext=(0, 4)
        )
        axes.set_ylim(0, limit * 1.15)
    axes.set_xscale("log", base=2)
    axes.set_xticks(CONNECTIONS, [str(c) for c in CONNECTIONS])
    axes.set_title("Small GETs, RSA-2048")
    axes.set_xlabel("connections")
    axes.set_ylabel("requests a second")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center right")


def _by_key_size(results: Results, axes: Axes) -> None:
    relay = results.median("cpu_us", "throughput", "unsigned", connections=32)
    names = [name for name in NAMES if name in results.targets("key sizes")]
    width = 0.8 / max(len(names), 1)
    for index, name in enumerate(names):
        rates = [
            results.median("requests_per_second", "key sizes", name, bits=bits) or 0
            for bits in BITS
        ]
        places = [at + (index - (len(names) - 1) / 2) * width for at in range(len(BITS))]
        axes.bar(places, rates, width * 0.92, color=COLOURS[name], label=NAMES[name])
    for at, bits in enumerate(BITS):
        sign = middle(results.signature(bits))
        if relay and sign and names:
            limit = results.cores * 1e6 / (relay + sign)
            axes.hlines(limit, at - 0.45, at + 0.45, color="black", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(BITS)), [f"{bits} bits" for bits in BITS])
    axes.set_title("32 connections, by key size (dashed: the limit)")
    axes.set_ylabel("requests a second")
    axes.grid(axis="y", alpha=0.3)
    if names:
        axes.legend(fontsize="small")
