#!/usr/bin/env python3
"""Mutation testing of what decides: changes one thing at a time in the engines and looks whether a unit test notices.

    scripts/mutants.py [SECONDS] [FILE...]    go on for that long (default 1800), with these files or those of mutants.txt
    scripts/mutants.py --report               write docs/mutants.md

cargo-mutants says which mutants there are. To compile each of them takes the better part of a day, so all are compiled at once,
each behind a switch, into a copy of the engines (in src/lib.rs, up to `policy`: they use nothing below them), and each is switched
on at run time for the tests that reach it. A mutant that does not compile is left out and counted as unviable. What was found is kept
in target/mutants/ as long as neither the file nor the tests beside it change.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target/mutants"
TREE = WORK / "tree"
FOUND = WORK / "found.json"
UNVIABLE = WORK / "unviable.json"
LISTED = (ROOT / "scripts/mutants.txt").read_text().split()
VERSION = "27.1.0"
TIMEOUT = 60
# They measure time, or compare whole policies for many seconds; what they check is checked by faster ones too.
SLOW = re.compile(r"twenty_thousand_rules|whatever_is_decided_otherwise|ten_thousand_values")
SWITCH = """
use std::sync::OnceLock;

static ON: OnceLock<u32> = OnceLock::new();
static REACHED: OnceLock<Option<std::sync::Mutex<(std::fs::File, std::collections::BTreeSet<u32>)>>> = OnceLock::new();

/// The number of the mutant that is switched on; notes that this place is reached.
pub fn mutant(place: u32) -> u32 {
    let reached = REACHED.get_or_init(|| {
        let path = std::env::var_os("MUTANT_REACHED")?;
        Some(std::sync::Mutex::new((std::fs::File::create(path).ok()?, std::collections::BTreeSet::new())))
    });
    if let Some(noted) = reached {
        let mut noted = noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if noted.1.insert(place) {
            use std::io::Write;
            let _ = writeln!(noted.0, "{place}");
        }
    }
    *ON.get_or_init(|| std::env::var("MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
pub mod demo {
    pub mod load_balancer;
    pub mod session;
    pub mod signing;
}
"""


def run(*command, cwd=ROOT, **more):
    return subprocess.run([str(word) for word in command], cwd=cwd, text=True, capture_output=True, **more)


def must(*command, **more):
    done = run(*command, **more)
    if done.returncode:
        sys.exit(f"mutants.py: {' '.join(map(str, command))} failed\n{done.stdout}\n{done.stderr}")
    return done.stdout


def environment():
    return os.environ | {
        "CARGO_TARGET_DIR": str(WORK / "target"),
        "CARGO_INCREMENTAL": "0",
        "PROPTEST_CASES": os.environ.get("PROPTEST_CASES", "64"),
    }


def tools():
    program = ROOT / "target/tools/bin/cargo-mutants"
    if not program.exists() or VERSION not in run(program, "--version").stdout:
        must("cargo", "install", "--quiet", "--locked", "--root", "target/tools", "--version", VERSION, "cargo-mutants")
    must("cargo", "build", "--quiet", "--locked", "--manifest-path", "scripts/mutants/Cargo.toml", "--target-dir", WORK / "extents")
    return program, WORK / "extents/debug/extents"


def copy_engines():
    shutil.rmtree(TREE, ignore_errors=True)
    names = must("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, TREE / name)
    library = TREE / "src/lib.rs"
    engines, _, _ = library.read_text().partition("\npub mod policy;\n")
    library.write_text(f"{engines}\npub mod policy;\n{SWITCH}")
    (TREE / "src/main.rs").unlink()
    manifest = TREE / "Cargo.toml"
    # Lints say nothing about mutants. The tests are run very often.
    manifest.write_text(
        manifest.read_text().partition("[lints.rust]")[0]
        + "[profile.dev.package.flyte-authz-proxy]\ndebug = 0\nopt-level = 1\n[workspace]\n"
    )


def key(mutant):
    """Tells a mutant from all others and stays the same when lines move."""
    return mutant["name"]


class Source:
    """A file with its mutants, each behind a switch."""

    def __init__(self, name, places, mutants):
        self.name = name
        self.text = (ROOT / name).read_text()
        starts = [0]
        for line in self.text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        self.at = lambda line, column: starts[line - 1] + column - 1
        self.sites = []  # (start, end, kind, details, [(number, replacement)])
        self.inexpressible = []
        self.place(places, mutants)

    def position(self, written):
        line, column = map(int, written.split(":"))
        return self.at(line, column)

    def place(self, places, mutants):
        parsed = [line.split() for line in places]
        binary = {self.position(p[3]): p for p in parsed if p[0] == "binary"}
        unary = {self.position(p[1]): p for p in parsed if p[0] == "unary"}
        arms = {self.position(p[1]): p for p in parsed if p[0] == "arm"}
        guards = {self.position(p[3]): p for p in parsed if p[0] == "arm" and p[3] != "-"}
        bodies = [self.position(p[1]) for p in parsed if p[0] == "body"]
        grouped = {}
        for mutant in mutants:
            start = self.at(mutant["span"]["start"]["line"], mutant["span"]["start"]["column"])
            grouped.setdefault((start, mutant["genre"]), []).append(mutant)
        for (start, genre), group in grouped.items():
            if genre == "FnValue" and "impl " in group[0]["function"]["return_type"]:
                # Two returns would have to be of one type that has no name.
                self.inexpressible += group
            elif genre == "FnValue" and any(self.text[b + 1 : start].strip() == "" or self.only_comments(b + 1, start) for b in bodies if b < start):
                self.sites.append((start, start, "body", None, group))
            elif genre == "BinaryOperator" and start in binary:
                p = [self.position(word) for word in binary[start][1:]]
                self.sites.append((p[0], p[1], "binary", p[2:], group))
            elif genre == "UnaryOperator" and start in unary:
                p = [self.position(word) for word in unary[start][1:]]
                self.sites.append((p[0], p[1], "unary", p[2], group))
            elif genre == "MatchArm" and start in arms:
                arrow = self.position(arms[start][2])
                self.sites.append((arrow, arrow, "arm", None, group))
            elif genre == "MatchArmGuard" and start in guards:
                end = self.position(guards[start][4])
                self.sites.append((start, end, "guard", None, group))
            else:
                self.inexpressible += group
        order = {"body": 0, "arm": 0, "guard": 1, "binary": 2, "unary": 3}
        self.sites.sort(key=lambda site: (site[0], -site[1] if site[2] not in ("body", "arm") else -(10**9), order[site[2]]))

    def only_comments(self, start, end):
        return all(line.strip().startswith("//") or not line.strip() for line in self.text[start:end].split("\n"))

    def written(self, without):
        """The file with all mutants but those numbers, each between /*<N*/ and /*N>*/."""
        text, _ = self.range(0, len(self.text), 0, without)
        return text

    def range(self, start, end, index, without):
        parts, at = [], start
        while index < len(self.sites) and self.sites[index][0] < end + (self.sites[index][1] == self.sites[index][0] == end):
            site = self.sites[index]
            parts.append(self.text[at : site[0]])
            inner, next_index = self.range(site[0], site[1], index + 1, without) if site[1] > site[0] else ("", index + 1)
            parts.append(self.switch(site, inner, without))
            at, index = site[1], next_index
        parts.append(self.text[at:end])
        return "".join(parts), index

    def switch(self, site, inner, without):
        start, end, kind, details, group = site
        group = [mutant for mutant in group if mutant["number"] not in without]
        if not group:
            return inner
        place = group[0]["number"]
        marked = lambda number, text: f"/*<{number}*/{text}/*{number}>*/"
        arms = []
        for mutant in group:
            number, replacement = mutant["number"], mutant["replacement"]
            if kind == "body":
                arms.append(marked(number, f"if crate::mutant({place}) == {number} {{ return {replacement}; }} "))
                continue
            if kind == "arm":
                return marked(number, f" if crate::mutant({place}) != {number} ")
            if kind == "binary":
                replacement = self.text[start : details[0]] + replacement + self.text[details[1] : end]
            if kind == "unary":
                replacement = self.text[details:end]
            arms.append(marked(number, f"{number} => {replacement}, "))
        if kind == "body":
            return "".join(arms)
        return f"(match crate::mutant({place}) {{ {''.join(arms)}_ => {inner} }})"


def compile_all(sources):
    """Compiles the engines with every mutant that compiles; returns the program of the tests and the numbers left out."""
    known = json.loads(UNVIABLE.read_text()) if UNVIABLE.exists() else {}
    without = set()
    for source in sources:
        names = known.get(source.name + fingerprint(source.name), [])
        without |= {m["number"] for *_, group in source.sites for m in group if m["name"] in names}
    for _ in range(30):
        texts = {}
        for source in sources:
            texts[source.name] = source.written(without)
            (TREE / source.name).write_text(texts[source.name])
        done = run("cargo", "test", "--lib", "--no-run", "--message-format", "json", cwd=TREE, env=environment())
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode == 0:
            return next(m["executable"] for m in messages if m.get("executable")), without
        found = set()
        for message in messages:
            if message.get("reason") != "compiler-message" or message["message"]["level"] != "error":
                continue
            for span in message["message"]["spans"]:
                if span["is_primary"]:
                    text = texts.get(span["file_name"])
                    found |= numbers_at(text, span) or arms_behind(text, span, message["message"])
        if not found:
            errors = [m["message"]["rendered"] for m in messages if m.get("reason") == "compiler-message" and m["message"]["level"] == "error"]
            sys.exit("mutants.py: does not compile, for no mutant's fault\n" + "\n".join(errors)[:6000] + done.stderr[-2000:])
        print(f"mutants.py: {len(found)} mutants do not compile", flush=True)
        without |= found
        for source in sources:
            names = [m["name"] for *_, group in source.sites for m in group if m["number"] in without]
            known[source.name + fingerprint(source.name)] = names
        UNVIABLE.write_text(json.dumps(known))
    sys.exit("mutants.py: does not come to compile")


def numbers_at(text, span):
    if text is None:
        return set()
    at = len(text.encode()[: span["byte_start"]].decode(errors="ignore"))
    innermost = None
    for match in re.finditer(r"/\*<(\d+)\*/", text):
        end = text.find(f"/*{match[1]}>*/", match.end())
        if match.start() <= at < end and (innermost is None or match.start() > innermost[0]):
            innermost = (match.start(), int(match[1]))
    return {innermost[1]} if innermost else set()


def arms_behind(text, span, message):
    """The arms of a match that is told to be incomplete: without a wildcard behind them, they cannot be taken out."""
    if text is None or (message.get("code") or {}).get("code") != "E0004":
        return set()
    at = len(text.encode()[: span["byte_start"]].decode(errors="ignore"))
    end = re.compile(r"\n    }\n").search(text, at)
    return {int(number) for number in re.findall(r"/\*<(\d+)\*/ if crate", text[at : end.start() if end else len(text)])}


def reached_by(program, tests):
    """For each place the tests that reach it, the fastest first."""
    reached, notes = {}, WORK / "reached"
    notes.mkdir(exist_ok=True)

    def look(numbered):
        number, test = numbered
        note = notes / str(number)
        begin = time.monotonic()
        done = run(program, "--exact", test, cwd=TREE, env=environment() | {"MUTANT_REACHED": str(note)})
        if done.returncode:
            sys.exit(f"mutants.py: {test} fails without a mutant\n{done.stdout}")
        return test, time.monotonic() - begin, note.read_text().split() if note.exists() else []

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for test, took, places in pool.map(look, enumerate(tests)):
            for place in places:
                reached.setdefault(int(place), []).append((took, test))
    return {place: [test for _, test in sorted(tests)] for place, tests in reached.items()}


def judge(program, mutant, tests):
    """Runs the tests with the mutant: caught by one of them, missed, or by none but for the time it takes."""
    if not tests:
        return "missed", "not reached"
    # The fastest few alone, to be done with most mutants at once.
    for some in [tests[:6], tests[6:]]:
        if not some:
            continue
        # `--fail-fast` is not stable yet.
        command = [program, "--exact", "-Zunstable-options", "--fail-fast", "--test-threads", "2", *some]
        try:
            done = run(*command, cwd=TREE, env=environment() | {"MUTANT": str(mutant["number"]), "RUSTC_BOOTSTRAP": "1"}, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return "timeout", ""
        if done.returncode:
            failed = re.search(r"^test (\S+)( - should panic)? \.\.\. FAILED", done.stdout, re.M)
            return "caught", failed[1] if failed else "aborted"
    return "missed", ""


def fingerprint(name):
    """Of the file and of what tests it: results are kept while both stay."""
    beside = ROOT / name.removesuffix(".rs")
    files = [ROOT / name, *sorted(beside.rglob("*tests*.rs"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()[:16]


def main():
    arguments = sys.argv[1:]
    if arguments == ["--report"]:
        return report()
    seconds = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else 1800
    files = arguments or LISTED
    deadline = time.monotonic() + seconds
    cargo_mutants, extents = tools()
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    chosen = [name for name in files if arguments or found.get(name, {}).get("fingerprint") != fingerprint(name)]
    if not chosen:
        return print("mutants.py: all is done")
    copy_engines()
    wanted = [word for name in chosen for word in ("--file", name)]
    mutants = json.loads(must(cargo_mutants, "mutants", "--list", "--json", *wanted, cwd=TREE, env=environment()))
    for number, mutant in enumerate(mutants, 1):
        mutant["number"] = number
    sources = []
    for name in chosen:
        places = must(extents, ROOT / name).splitlines()[1:]
        sources.append(Source(name, places, [m for m in mutants if m["file"] == name]))
    print(f"mutants.py: {len(mutants)} mutants in {len(sources)} files", flush=True)
    program, without = compile_all(sources)
    listed = must(program, "--list", cwd=TREE, env=environment())
    tests = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test") and not SLOW.search(line)]
    reached = reached_by(program, tests)
    print(f"mutants.py: {len(tests)} tests reach {len(reached)} places; {len(without)} mutants do not compile", flush=True)
    commit = must("git", "rev-parse", "--short", "HEAD").strip()
    for source in sources:
        if time.monotonic() > deadline:
            print(f"mutants.py: out of time before {source.name}; run it again to go on")
            break
        outcomes = {key(m): ["by hand", ""] for m in source.inexpressible}
        work = []
        for *_, group in source.sites:
            group_on = [m for m in group if m["number"] not in without]
            outcomes |= {key(m): ["unviable", ""] for m in group if m["number"] in without}
            work += [(m, reached.get(group_on[0]["number"], [])) for m in group_on]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (mutant, _), outcome in zip(work, pool.map(lambda pair: judge(program, *pair), work)):
                outcomes[key(mutant)] = list(outcome)
        found[source.name] = {"fingerprint": fingerprint(source.name), "commit": commit, "mutants": outcomes}
        FOUND.write_text(json.dumps(found, indent=1))
        missed = [name for name, (outcome, _) in outcomes.items() if outcome in ("missed", "by hand")]
        print(f"{source.name}: {len(outcomes)} mutants, {len(missed)} missed", flush=True)
        for name in missed:
            print(f"    {name} [{' '.join(outcomes[name])}]", flush=True)


def report():
    """Writes the table into docs/mutants.md."""
    found = json.loads(FOUND.read_text())
    heads = ["caught", "timeout", "unviable", "by hand", "missed"]
    lines = ["| file | mutants | " + " | ".join(heads) + " | commit |", "|---" * (len(heads) + 3) + "|"]
    sums = [0] * (len(heads) + 1)
    for name in LISTED:
        if name not in found:
            lines.append(f"| `{name}` | not done |" + " |" * (len(heads) + 1))
            continue
        outcomes = [outcome for outcome, _ in found[name]["mutants"].values()]
        counts = [len(outcomes), *(outcomes.count(head) for head in heads)]
        sums = [total + count for total, count in zip(sums, counts)]
        lines.append(f"| `{name}` | " + " | ".join(map(str, counts)) + f" | {found[name]['commit']} |")
    lines.append("| **all** | " + " | ".join(map(str, sums)) + " | |")
    page = ROOT / "docs/mutants.md"
    before, rest = page.read_text().split("<!-- table: written by scripts/mutants.py --report -->\n")
    _, after = rest.split("<!-- end of the table -->\n")
    table = "\n".join(lines)
    page.write_text(
        f"{before}<!-- table: written by scripts/mutants.py --report -->\n\n{table}\n\n<!-- end of the table -->\n{after}"
    )

main()
