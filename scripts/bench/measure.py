"""What is measured of one peer in one round."""

import sys

import load
from common import OPEN_LOOP_RATE, PROXY_CORE, Wrong
from load import GET, GRPC, GRPC_HUGE, GRPC_LARGE, GRPC_LIST, POST, REST_LIST, fits, part
from peers import FLOOR
from process import Running


class Round:
    """Measures peers one after the other."""

    def __init__(self, ports, amount):
        self.load, self.ports, self.amount = load.Load(ports), ports, amount

    def measure(self, peer, with_memory):
        """Figures of one peer by name; what it cannot do is left out."""
        with Running(peer.command, PROXY_CORE, "peer.log") as running:
            running.wait_for(self.ports["proxy" if peer.command else "grpc"])
            self.load.ready(peer, running)
            figures = {"idle MiB": running.memory_mib()} if peer.command and with_memory else {}
            self.load.check(peer)
            if peer.lists:
                self.load.check_lists(peer)
            for workload, requests in self.workloads():
                if fits(peer, workload):
                    self.saturate(peer, running, workload, requests, figures)
            self.open_loop(peer, running, figures)
            if peer.command:
                self.handshakes(running, figures)
            self.load.check(peer)
        if peer.command and with_memory:
            self.memory(peer, figures)
        return figures

    def workloads(self):
        amount = self.amount
        yield from ((GRPC, amount.saturated), (GRPC_LARGE, amount.large), (GET, amount.saturated))
        yield from ((POST, amount.saturated // 2), (GRPC_LIST, amount.lists), (REST_LIST, amount.lists))

    def saturate(self, peer, running, workload, requests, figures):
        self.load.many(peer, workload, min(self.amount.warm_up, requests // 4))
        before = running.cpu_seconds()
        seconds, _ = self.load.many(peer, workload, requests)
        if peer.command:
            figures[f"{workload.name} CPU"] = (running.cpu_seconds() - before) * 1e6 / requests
        figures[f"{workload.name} rate"] = requests / seconds

    def open_loop(self, peer, running, figures):
        requests = OPEN_LOOP_RATE * self.amount.open_seconds
        before = running.cpu_seconds()
        _, times = self.load.many(peer, GRPC, requests, rate=OPEN_LOOP_RATE)
        if peer.command:
            figures["open CPU"] = (running.cpu_seconds() - before) * 1e6 / requests
        figures["p50"], figures["p99"] = part(times, 0.5), part(times, 0.99)

    def handshakes(self, running, figures):
        count = self.amount.handshakes
        for kind in ("full", "resumed"):
            before = running.cpu_seconds()
            done = self.load.client("handshakes", count, kind)
            figures[f"{kind} handshake CPU"] = (running.cpu_seconds() - before) * 1e6 / count
            figures[f"{kind} handshakes"] = count / done["seconds"]
            figures[f"{kind} share"] = done["resumed"] / count

    def memory(self, peer, figures):
        """Memory with connections that make a call a second, and with 64 messages of 1 MiB in flight: each of a process
        of its own, since what was once used is not given back at once."""
        for connections in self.amount.connections:
            with Running(peer.command, PROXY_CORE, "peer.log") as running:
                self.started(peer, running)
                try:
                    figures[f"{connections} connections MiB"] = running.most_memory_during(
                        lambda: self.load.many(peer, GRPC, 3 * connections, connections, rate=connections)
                    )
                except Wrong as wrong:
                    # Others may fail with so many connections, which shows as a dash; the proxy and the floor may not.
                    if peer.filters or peer.name == FLOOR:
                        raise
                    print(f"{peer.name} fails with {connections} connections: {str(wrong)[:200]}", file=sys.stderr)
        if fits(peer, GRPC_HUGE):
            with Running(peer.command, PROXY_CORE, "peer.log") as running:
                self.started(peer, running)
                before = running.cpu_seconds()
                figures["64 messages MiB"] = running.most_memory_during(
                    lambda: self.load.many(peer, GRPC_HUGE, self.amount.huge, streams=8)
                )
                figures["gRPC 1 MiB CPU"] = (running.cpu_seconds() - before) * 1e6 / self.amount.huge

    def started(self, peer, running):
        running.wait_for(self.ports["proxy"])
        self.load.ready(peer, running)
