"""Let a ring's reader look, sleep and be woken very often, at random distances, and count the wake-ups that got lost.

    python bench/wakes.py [--sleeps 1000000] [--seed 1] [--json]

A sleep that ends by its 50 ms cap although something is there is a lost wake-up, unless the ring still comes: then it
is `late`, and the producer was put off between its put and its ring. It is waited for that for 5 s, so that no busy
machine makes a late ring look like a lost one (who has lost a wake-up sleeps all of it). A sleep that ends by the cap
with nothing there is `nothing_came`: the producer itself was not given a core for so long. Exits with 1 if a wake-up
was lost, or a frame.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from ipc.proc import set_pdeathsig
from ipc.ring import create_ring, open_reader, open_writer
from ipc.wait import Bell

GRACE_NS = 5_000_000_000
LOOK_NS_MAX = 100_000


def produce(folder: str, seed: int) -> None:
    """One frame at a time, at a random distance after the commit of the last one: while the reader falls asleep."""
    writer = open_writer(f"{folder}/a.ring", Bell.attach(f"{folder}/a.bell"))
    distance = random.Random(seed).random
    sequence = 0
    while True:
        writer.put(sequence.to_bytes(8, "little"))
        sequence += 1
        while writer.committed() != writer.position:
            pass
        for _ in range(int(distance() * 1500)):
            pass


def consume(folder: str, sleeps: int, seed: int) -> dict[str, float]:
    """Every second wait looks for a moment before it sleeps, so that the rings fall between the two as well."""
    reader, bell = open_reader(f"{folder}/a.ring"), Bell.attach(f"{folder}/a.bell")
    bell.lost_grace_ns = GRACE_NS
    look = random.Random(~seed).random
    expected = waits = 0
    began = time.perf_counter()
    while bell.sleeps < sleeps:
        waits += 1
        bell._expected_ns, bell.look_ns = 0, int(look() * LOOK_NS_MAX) if waits & 1 else 0
        bell.wait(reader.ready, 60.0)
        for frame in reader.peek_many(1 << 20):
            if frame != expected.to_bytes(8, "little"):
                raise SystemExit(f"frame {expected} is {frame!r}")
            expected += 1
        reader.commit()
    seconds = time.perf_counter() - began
    empty = bell.cap_ends - bell.late - bell.lost
    return {"sleeps": bell.sleeps, "woken": bell.wakes, "lost": bell.lost, "late": bell.late, "nothing_came": empty,
            "looked": waits - bell.sleeps, "frames": expected, "seconds": round(seconds, 2)}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sleeps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="oms-wakes-", dir="/dev/shm")
    parent, pid = os.getpid(), 0
    try:
        Bell.create(f"{folder}/a.bell")
        create_ring(f"{folder}/a.ring", 1 << 16)
        pid = os.fork()
        if pid == 0:
            set_pdeathsig(signal.SIGKILL, parent)
            produce(folder, options.seed)
        result = consume(folder, options.sleeps, options.seed)
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        shutil.rmtree(folder)
    print(json.dumps(result) if options.json else " ".join(f"{name} {value:,}" for name, value in result.items()))
    return int(result["lost"] > 0)


if __name__ == "__main__":
    sys.exit(main())
