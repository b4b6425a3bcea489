"""Says where a request makes the proxy allocate, from the profiles that tests/allocations.rs writes.

    mkdir -p target/allocations
    ALLOCATIONS=$PWD/target/allocations cargo test --features demo --test allocations
    scripts/allocations.py target/allocations

For each profile: allocations of one request in the threads of the proxy, or of the pass-through in its place, by the
innermost place in this project and the place in a library that made them. What lies below no more of this project than
the loop of a worker is the libraries' own.
"""

import collections
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# As in tests/allocations.rs.
COUNTED = 50
# A thread is known by what it runs.
THREADS = {"worker": "app::spawn_worker", "audit": "audit::sink", "control": "app::control", "pass-through": "allocations::pass_through", "answering": "allocations::answering"}
# Passed over when looking for who allocates.
GLUE = re.compile(
    r"^<?&?(alloc|core|std|dhat|backtrace|__rust\w*|__rustc)\b"
    r"|\((src/(raw_vec|vec|alloc|boxed|string|slice|str|borrow|ops|convert|fmt|iter|backtrace|option|rc)\b|src/sync\.rs"
    r"|(alloc|core|std)/src|dhat-|bytes-|raw/alloc|src/raw/)"
)
# Places of the project that are below everything else a worker does.
LOOPS = ("src/app.rs", "src/listener.rs", "src/listener/connection.rs", "src/listener/preface.rs", "floor.rs")


def own(frame):
    """The place in this project's sources that a frame is in, if it is."""
    place = re.search(r"\(([^()]*\.rs):(\d+):\d+\)$", frame)
    if not place:
        return None
    path = place[1].removeprefix(ROOT.name + "/")
    candidates = [path] if path.startswith("src/") else [f"src/{path}", f"examples/{path}"]
    found = next((one for one in candidates if (ROOT / one).exists()), None)
    return found and f"{found}:{place[2]}"


def short(frame):
    """A frame without its address and type arguments."""
    frame = frame.split(": ", 1)[1]
    name, place = frame.rsplit(" (", 1)
    while (shorter := re.sub(r"<[^<>]*>", "", name)) != name:
        name = shorter
    name = re.sub("(::)+", "::", name).strip(":")
    return f"{name} ({place}"


def thread(frames):
    """Which thread a stack is of: one of THREADS, or none of interest."""
    return next((name for name, mark in THREADS.items() if any(mark in frame for frame in frames)), None)


def sites(profile):
    """Allocations and bytes by thread, place in this project and place in a library."""
    document = json.loads(profile.read_text())
    found = collections.defaultdict(lambda: [0, 0])
    for point in document["pps"]:
        frames = [document["ftbl"][index] for index in point["fs"]]
        name = thread(frames)
        if name is None:
            continue
        real = [frame for frame in frames if not GLUE.search(frame.split(": ", 1)[1])]
        place = next((place for frame in real if (place := own(frame))), None)
        if place is None or place.split(":")[0].endswith(LOOPS):
            place = "(libraries)"
        allocates = "" if not real or own(real[0]) else short(real[0])
        entry = found[name, place, allocates]
        entry[0] += point["tbk"]
        entry[1] += point["tb"]
    return found


def main():
    for profile in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
        found = sites(profile)
        print(f"\n## {profile.stem}\n")
        for name in THREADS:
            of_thread = {key: value for key, value in found.items() if key[0] == name}
            if not of_thread:
                continue
            own_total = sum(blocks for (_, place, _), (blocks, _) in of_thread.items() if place != "(libraries)")
            total = sum(blocks for blocks, _ in of_thread.values())
            print(f"{name}: {total / COUNTED:.1f} a request, {own_total / COUNTED:.1f} of them below the project's code")
            for (_, place, allocates), (blocks, size) in sorted(of_thread.items(), key=lambda one: -one[1][0]):
                if blocks / COUNTED >= 0.3:
                    print(f"  {blocks / COUNTED:6.1f} {size / COUNTED:9.0f} B  {place:38} {allocates}")


if __name__ == "__main__":
    main()
