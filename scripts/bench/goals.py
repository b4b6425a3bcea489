"""What the proxy is to reach: ratios within one run, each with its limit."""

import statistics

from peers import ENVOY, ENVOY_FRESH, ENVOY_MANY, FLOOR, HAPROXY, OURS, OURS_FRESH, OURS_MANY, OURS_SILENT

# What, whose figure, by whose, which figure, at most.
RATIOS = [
    ("gRPC 1 KiB, without the audit record", OURS_SILENT, FLOOR, "gRPC 1 KiB CPU", 1.10),
    ("REST GET, without the audit record", OURS_SILENT, FLOOR, "REST GET CPU", 1.10),
    ("gRPC 1 KiB", OURS, FLOOR, "gRPC 1 KiB CPU", 1.20),
    ("REST GET", OURS, FLOOR, "REST GET CPU", 1.20),
    ("gRPC 1 KiB (hoped for)", OURS, HAPROXY, "gRPC 1 KiB CPU", 1.00),
    ("gRPC 1 KiB", OURS, ENVOY, "gRPC 1 KiB CPU", 0.25),
    ("gRPC 1 KiB, 2000 calls a second", OURS, ENVOY, "open CPU", 0.50),
    ("gRPC 1 KiB, 1000 rules", OURS_MANY, ENVOY_MANY, "gRPC 1 KiB CPU", 0.05),
    ("every token fresh", OURS_FRESH, FLOOR, "gRPC 1 KiB CPU", 2.2),
    ("every token fresh", OURS_FRESH, ENVOY_FRESH, "gRPC 1 KiB CPU", 0.40),
    ("added p50, 2000 calls a second", OURS, FLOOR, "added p50", 1.25),
    ("added p99, 2000 calls a second", OURS, FLOOR, "added p99", 1.5),
    ("added p99, 2000 calls a second", OURS, ENVOY, "added p99", 0.75),
    ("gRPC 100 KiB", OURS, FLOOR, "gRPC 100 KiB CPU", 1.10),
    ("gRPC 1 MiB", OURS, FLOOR, "gRPC 1 MiB CPU", 1.10),
    ("memory, 64 messages of 1 MiB in flight", OURS, FLOOR, "64 messages MiB", 1.25),
    ("a full handshake", OURS, FLOOR, "full handshake CPU", 1.10),
    ("a full handshake", OURS, ENVOY, "full handshake CPU", 0.70),
    ("a list of 1000 projects, filtered, gRPC", OURS, FLOOR, "gRPC list CPU", 1.5),
    ("a list of 1000 projects, filtered, REST", OURS, FLOOR, "REST list CPU", 1.5),
]


def median(rounds, name, key, base=None):
    """The median over the rounds of a figure, or of its ratio to another's of the same round; none if it is missing."""
    values = []
    for one in rounds:
        figure, other = one.get(name, {}).get(key), one.get(base or name, {}).get(key)
        if figure is None or other is None or (base and not other):
            continue
        values.append(figure / other if base else figure)
    return statistics.median(values) if values else None


def rows(rounds, grown, reloads):
    """What was to be reached, at most how much, how much it is, and whether that is enough."""
    for what, name, base, key, most in RATIOS:
        yield what, f"÷ {base}", most, median(rounds, name, key, base), "at most"
    share = median(rounds, OURS, "resumed share")
    yield "handshakes that are resumed", "share", 0.95, share, "at least"
    yield "memory, idle", "MiB", 16, median(rounds, OURS, "idle MiB"), "at most"
    yield "memory, 1000 connections", "MiB", 60, median(rounds, OURS, "1000 connections MiB"), "at most"
    for kind in ("rules", "issuers", "tokens"):
        sizes = sorted(size for one, size in grown[0] if one == kind) if grown else []
        if not sizes:
            continue
        ratios = [one[kind, sizes[-1]] / one[kind, sizes[0]] for one in grown]
        yield f"from {sizes[0]} to {sizes[-1]} {kind}", "ratio", 1.05, statistics.median(ratios), "at most"
    if reloads:
        middle = {key: statistics.median(one[key] for one in reloads) for key in reloads[0]}
        rules = f"{middle['rules']:.0f} rules"
        yield f"{rules}: from start to the first answer", "s", 1, middle["start s"], "at most"
        yield f"{rules}: memory", "MiB", 100, middle["MiB"], "at most"
        ratio = middle["during reload p99"] / middle["undisturbed p99"]
        yield f"{rules}: p99 during reload", "÷ without", 1.2, ratio, "at most"
