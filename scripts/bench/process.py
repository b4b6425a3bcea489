"""Processes that are measured: one core, CPU time, memory, and never left behind."""

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

from common import WORK, Wrong


class Running:
    """A process of ours on one core, ended at the end of the block and never left behind. Without a command, nothing."""

    def __init__(self, command, core, log):
        self.command, self.core, self.log = [str(part) for part in command], core, WORK / log
        self.process = None

    def __enter__(self):
        if self.command:
            with self.log.open("w") as log:
                pinned = ["taskset", "-c", self.core, *self.command]
                self.process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        # Not asked to drain: nothing is in flight, and HAProxy and Envoy would take their time.
        if self.process:
            self.process.kill()
            self.process.wait()

    def wait_for(self, port):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process and self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Wrong(f"{self.command[0]} does not listen: {self.tail()}")

    def tail(self):
        return self.log.read_text()[-2000:] if self.process else ""

    def cpu_seconds(self):
        """User and system time of all its threads: exact where the kernel counts it, else in ticks of 10 ms."""
        if not self.process:
            return 0.0
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        exact = 0
        for task in tasks.iterdir():
            # A thread may end meanwhile.
            with contextlib.suppress(OSError):
                exact += int((task / "schedstat").read_text().split()[0])
        if exact:
            return exact / 1e9
        fields = (tasks.parent / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self):
        """Its share of memory: its own pages, and of shared ones its part."""
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) / 1024

    def most_memory_during(self, action):
        """The most memory while something is done."""
        seen, done = [self.memory_mib()], threading.Event()

        def look():
            while not done.wait(0.05):
                seen.append(self.memory_mib())

        looking = threading.Thread(target=look)
        looking.start()
        try:
            action()
        finally:
            done.set()
            looking.join()
        return max(seen)


def free_ports(*names):
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports
