"""How the proxy's cost grows with rules, issuers and tokens, and what a change of a large policy does to calls."""

import concurrent.futures
import re
import time
import urllib.request

import peers
from common import OPEN_LOOP_RATE, PROXY_CORE, WORK, Wrong
from load import GRPC, part
from peers import Peer, proxy
from process import Running


class Growth:
    """Measures the proxy with policies and issuers of several sizes."""

    def __init__(self, ports, amount, load):
        self.ports, self.amount, self.load = ports, amount, load
        # Seconds from the last change of a policy until it was in force.
        self.took = 0.0

    def measure(self):
        """Microseconds of CPU a call, by what grows and how large it is."""
        figures = {}
        for rules in self.amount.rules:
            figures["rules", rules] = self.cpu({"rules": rules}, self.with_h2load)
        for issuers in self.amount.issuers:
            figures["issuers", issuers] = self.cpu({"issuers": issuers}, self.with_h2load)
        for tokens in self.amount.tokens:
            figures["tokens", tokens] = self.cpu({}, lambda _, count: self.with_tokens(tokens, count))
        return figures

    def cpu(self, settings, calls):
        peer = Peer(peers.OURS, proxy(self.ports, **settings), judges=True, filters=True)
        with Running(peer.command, PROXY_CORE, "growth.log") as running:
            running.wait_for(self.ports["proxy"])
            self.load.ready(peer, running)
            calls(peer, self.amount.warm_up)
            before = running.cpu_seconds()
            calls(peer, self.amount.saturated)
            return (running.cpu_seconds() - before) * 1e6 / self.amount.saturated

    def with_h2load(self, peer, count):
        self.load.many(peer, GRPC, count)

    def with_tokens(self, tokens, count):
        self.load.client("tokens", WORK / "allowed.bin", count, WORK / "tokens", tokens)

    def reload(self):
        """A large policy: seconds until it is served from the start, memory, and calls while it is replaced."""
        rules = self.amount.most_rules
        peer = Peer(f"flyte-authz-proxy, {rules} rules", proxy(self.ports, rules=rules), judges=True, filters=True)
        started = time.monotonic()
        with Running(peer.command, PROXY_CORE, "reload.log") as running:
            running.wait_for(self.ports["proxy"])
            self.load.ready(peer, running)
            figures = {
                "rules": rules,
                "start s": time.monotonic() - started,
                "start CPU s": running.cpu_seconds(),
                "MiB": running.memory_mib(),
            }
            undisturbed, _ = self.open_loop(peer, lambda: 0)
            during, most = self.open_loop(peer, lambda: running.most_memory_during(lambda: self.change(rules)))
            figures |= {"reload s": self.took, "most MiB": most}
        for name, times in (("undisturbed", undisturbed), ("during reload", during)):
            figures[f"{name} p99"], figures[f"{name} max"] = part(times, 0.99), times[-1]
        return figures

    def open_loop(self, peer, beside):
        """The times of calls at a fixed rate, and what something done beside them gives."""
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            calls = executor.submit(
                self.load.many, peer, GRPC, OPEN_LOOP_RATE * self.amount.reload_seconds, rate=OPEN_LOOP_RATE
            )
            given = beside()
            return calls.result()[1], given

    def change(self, rules):
        """Replaces a file of the policy while calls are made, by renaming as editors do, and waits until it is in force."""
        generation = self.generation()
        file = WORK / peers.policy_directory(rules) / "rules-0.yaml"
        time.sleep(1)
        beside = file.with_suffix(".new")
        beside.write_text(f"{file.read_text()}# changed\n")
        beside.rename(file)
        changed = time.monotonic()
        while self.generation() == generation:
            if time.monotonic() > changed + 60:
                raise Wrong("the policy was changed, but not loaded anew")
            time.sleep(0.1)
        self.took = time.monotonic() - changed

    def generation(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return int(float(re.search(r"^flyte_authz_policy_generation (\S+)$", text, re.M)[1]))
