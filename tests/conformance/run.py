"""Runs the protocol suites against the proxy: `run.py [h2spec] [grpc] [tls]`, all of them without arguments.

Whatever fails and is not listed as an exception fails the run, and so does what is listed and passes.
"""

import http.server
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

import proxy
import tls

SUITE_SECONDS = 300
# A refusal does not wait for the rest of a call: it may overtake what a test sends next, and what comes for a stream that
# is over is passed over (RFC 9113, 5.1), which the test takes for a failure. So its tests have so many tries, each alone.
OVERTAKEN_TRIES = 20
# Of the suites' cases, those that send metadata and want to see it arrive.
WITH_METADATA = ["basic", "duplicate_metadata", "errors", "server_empty"]
# A header that reaches the control plane, and may come in several lines.
LISTED = "accept-language"


class Page(http.server.BaseHTTPRequestHandler):
    """What h2spec is shown: a page of the control plane."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        # What comes in chunks is left unread.
        self.close_connection = "transfer-encoding" in self.headers
        body = b"conformance\n" * 100
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_GET

    def log_message(self, *_):
        pass


class Pages(http.server.ThreadingHTTPServer):
    """Serves it; that connections break off is part of the tests."""

    def handle_error(self, *_):
        pass


def h2spec(folder):
    """Every test of h2spec: of a page that is forwarded, over TLS and in plain text, and of a refusal."""
    excepted = set(patterns("h2spec.txt"))
    leaf = proxy.Authority(folder / "authority").leaf("h2spec", "ec", ["localhost", "127.0.0.1"])
    pages = Pages(("127.0.0.1", 0), Page)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{pages.server_address[1]}"
    passed, failing, wrong = 0, set(), []
    with proxy.running(folder, {"tls": {"tls": leaf}, "plain": {}}, url, url) as running:
        for name, listener, path in (
            ("tls", "tls", "/conformance"),
            ("plain", "plain", "/conformance"),
            ("refused", "tls", "/nowhere"),
        ):
            command = [
                proxy.TOOLS / "h2spec",
                "-h",
                "127.0.0.1",
                "-p",
                str(running.ports[listener]),
                "-P",
                path,
                "--strict",
            ]
            command += ["--tls", "--insecure"] if listener == "tls" else []
            said, cases = h2spec_cases(command, folder / f"{name}.xml")
            failed = {case for case, failed in cases.items() if failed}
            if name == "refused":
                failed = {case for case in failed if always_fails(command, folder / "again.xml", case)}
            failed = {f"{name} {package}: {title}" for package, title in failed}
            print(f"  {name:<8} {len(cases) - len(failed)} of {len(cases)} tests passed")
            if "skipped" not in said or " 0 skipped" not in said or len(cases) < 100:
                wrong.append(f"{name}: h2spec did not run all of its tests:\n{said[-2000:]}")
            passed += len(cases) - len(failed)
            failing |= failed
    wrong += [f"failed: {title}" for title in sorted(failing - excepted)]
    wrong += [f"passes, though it is excepted: {title}" for title in sorted(excepted - failing)]
    return passed, len(failing & excepted), wrong


def h2spec_cases(command, report):
    """What h2spec says, and its tests by package and title: whether they failed."""
    command = [*command, "-j", report]
    said = subprocess.run(command, capture_output=True, text=True, timeout=SUITE_SECONDS, check=False).stdout
    cases = xml.etree.ElementTree.parse(report).iter("testcase")
    return said, {(case.get("package"), case.get("classname")): len(case) > 0 for case in cases}


def always_fails(command, report, case):
    """Whether a test fails as often as it is tried."""
    for _ in range(OVERTAKEN_TRIES):
        _, cases = h2spec_cases([*command, case[0]], report)
        if not cases[case]:
            print(f"  once overtaken by the refusal: {case[0]}: {case[1]}")
            return False
    return True


def patterns(name):
    """The lines of a list of exceptions."""
    lines = (proxy.HERE / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def grpc(folder):
    """The Connect project's suite for gRPC: its clients before the proxy, its servers behind it."""
    listed = [f"--test-file={file}" for file in with_listed_metadata(folder)]
    plain = folder / "plain.yaml"
    config = proxy.HERE / "grpc.yaml"
    plain.write_text(config.read_text().replace("supportsTls: true", "supportsTls: false"))
    metadata = "grpc-request-metadata.txt"
    runs = [
        ("a server of connect-go", "server", "referenceserver", config, [metadata, "grpc-server.txt"], []),
        ("a server of grpc-go", "server", "grpcserver", config, [metadata, "grpc-server.txt"], []),
        (f"the same, metadata in {LISTED}", "server", "grpcserver", config, [], listed),
        ("a client of connect-go", "client", "referenceclient", config, [metadata], []),
        # It has no TLS.
        ("a client of grpc-go", "client", "grpcclient", plain, [metadata, "grpc-client-grpcgo.txt"], []),
    ]
    passed, excepted, wrong = 0, 0, []
    for title, role, program, config, exceptions, more in runs:
        known = [f"--known-failing={pattern}" for name in exceptions for pattern in patterns(name)]
        command = [proxy.TOOLS / "connectconformance", "--mode", role, "--conf", config, *known, *more]
        command += ["--max-servers", "2", "--parallel", "4"] if role == "server" else []
        command += ["--", sys.executable, proxy.HERE / "between.py", role, program]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SUITE_SECONDS, check=False
        )
        summary = re.search(
            r"Total cases: (\d+)\n(\d+) passed, (\d+) failed(?:\n\(Another (\d+) failed as expected)?", done.stdout
        )
        if done.returncode or not summary or proxy.FAILED in done.stdout:
            wrong.append(f"{title}:\n{done.stdout[-8000:]}")
        if summary:
            passed += int(summary[2])
            excepted += int(summary[4] or 0)
            print(f"  {title:<42} {summary[2]} of {summary[1]} cases passed, {summary[4] or 0} excepted")
    return passed, excepted, wrong


def with_listed_metadata(folder):
    """The suites' cases with metadata once more, with a header that travels."""
    module = ["go", "list", "-m", "-f", "{{.Dir}}", "connectrpc.com/conformance"]
    found = subprocess.run(module, cwd=proxy.HERE, capture_output=True, text=True, check=True).stdout.strip()
    data = pathlib.Path(found) / "internal/app/connectconformance/testsuites/data"
    for name in WITH_METADATA:
        text = (data / f"{name}.yaml").read_text()
        renamed = re.sub("x-conformance-test", LISTED, text, flags=re.IGNORECASE)
        if renamed == text:
            raise SystemExit(f"{name}.yaml has no x-conformance-test any more")
        file = folder / f"{name}.yaml"
        file.write_text(renamed)
        yield file


SUITES = {"h2spec": h2spec, "grpc": grpc, "tls": tls.run}


def main():
    # What it has started is to end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = sys.argv[1:] or list(SUITES)
    if unknown := set(chosen) - set(SUITES):
        raise SystemExit(f"run.py: there is no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    rows, wrong = [], []
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        for name in chosen:
            print(f"{name}:", flush=True)
            begun = time.monotonic()
            own = pathlib.Path(folder) / name
            own.mkdir()
            passed, excepted, problems = SUITES[name](own)
            rows.append(f"{name:<8} {passed:>7} {excepted:>8} {len(problems):>6} {time.monotonic() - begun:>6.0f} s")
            wrong += [f"{name}: {problem}" for problem in problems]
    print(f"\n{'suite':<8} {'passed':>7} {'excepted':>8} {'wrong':>6} {'time':>8}", *rows, sep="\n")
    if wrong:
        raise SystemExit("\n".join(["", *wrong]))


if __name__ == "__main__":
    main()
