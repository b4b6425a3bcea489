"""Compares the proxy with no proxy, a bare pass-through on the same stack, HAProxy, nginx and Envoy. See benches/README.md.

Called by scripts/bench.sh, which installs and builds what is needed.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

import plot
import report
from common import LOAD_CORE, PROGRAMS, PROXY_CORE, ROOT, WORK, Amount, Wrong
from growth import Growth
from measure import Round
from peers import peers
from process import Running, free_ports


def verification():
    """What reading and verifying one token costs by itself: microseconds by algorithm."""
    command = ["taskset", "-c", PROXY_CORE, PROGRAMS / "examples" / "verify_token", WORK / "jwks.json"]
    command += [WORK / name for name in ("token", "es256", "eddsa")]
    run = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=60)
    measured = json.loads(run.stdout)
    return {"RS256": measured["token"] / 1000, "ES256": measured["es256"] / 1000, "EdDSA": measured["eddsa"] / 1000}


def run(arguments, ports, chosen):
    """Every round of every part that is wanted."""
    amount = Amount(arguments.quick)
    measuring = Round(ports, amount)
    growing = Growth(ports, amount, measuring.load)
    rounds, grown, reloads, alone = [], [], [], []
    with Running(measuring.load.upstream(), LOAD_CORE, "upstream.log") as running:
        running.wait_for(ports["http"])
        for number in range(arguments.rounds):
            one = {}
            for peer in chosen:
                print(f"round {number + 1} of {arguments.rounds}: {peer.name}", file=sys.stderr)
                # Memory hardly differs from round to round.
                one[peer.name] = measuring.measure(peer, with_memory=number == 0)
            rounds.append(one)
            if not arguments.only:
                print(f"round {number + 1} of {arguments.rounds}: growth", file=sys.stderr)
                grown.append(growing.measure())
                reloads.append(growing.reload())
                alone.append(verification())
    return rounds, grown, reloads, alone


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "3")))
    parser.add_argument("--only", help="only peers whose name matches this regular expression, and no growth")
    parser.add_argument("--quick", action="store_true", help="so little that it only shows that everything works")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two cores are needed, one for the proxy and one for the load")
    # So that the processes started are ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ports = free_ports("proxy", "admin", "grpc", "http")
    chosen = [peer for peer in peers(ports) if not arguments.only or re.search(arguments.only, peer.name)]
    if not chosen:
        sys.exit("bench: no peer has such a name")
    started = time.monotonic()
    try:
        rounds, grown, reloads, alone = run(arguments, ports, chosen)
    except Wrong as wrong:
        sys.exit(f"bench: {wrong}")
    page = report.page(rounds, grown, reloads, alone)
    print(page)
    print(f"took {(time.monotonic() - started) / 60:.0f} minutes", file=sys.stderr)
    (WORK / "results.json").write_text(json.dumps(rounds, indent=1))
    # What is published is all of it, in earnest.
    published = not arguments.only and not arguments.quick
    directory = ROOT / "docs" / "performance" if published else WORK
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "README.md").write_text(page)
    (directory / "plot.svg").write_text(plot.plot(rounds))
    print(f"written to {directory.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
