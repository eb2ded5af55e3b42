"""Two processes hand one record of 192 bytes back and forth: the time of a round trip, two sleeps and wakes included.

    python -m bench.ring_roundtrip [--orders 20000] [--runs 3] [--json]

Every answer is checked. "ring, sleeping" never looks before it sleeps.
"""

from __future__ import annotations

import random
import time

from bench.links import LINKS, RECORD_BYTES, Link, Other, SleepingRing
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main

PADDINGS = 61
"""Behind a record's number: bytes that are never those of the record before."""
ALL = {**LINKS, "ring, sleeping": SleepingRing}


def bench(options: Options) -> Finding:
    """Every link in turn, several times over."""
    trips = options.count(20_000, 200)
    finding = Finding("roundtrip", "ring: there and back between two processes")
    finding.config = {"trips": trips, "record": f"{RECORD_BYTES} bytes", "waits": "blocking"}
    for _ in range(options.repeats()):
        for name in ALL:
            times = sorted(measure(name, trips))
            finding.add(f"{name}, p50", "µs", times[len(times) // 2] / 1e3, "lower")
            finding.add(f"{name}, p99", "µs", times[len(times) * 99 // 100] / 1e3, "lower")
            finding.add_latencies(name, times)
    finding.checked = ["each trip brought its own record back"]
    return finding


def echo(there: Link, back: Link, trips: int) -> None:
    """The other side."""
    take, put = there.reader(), back.writer()
    for _ in range(trips):
        put(take()[0])
    back.finish()


def measure(name: str, trips: int) -> list[int]:
    """Round trips in ns; the first tenth warms up and does not count."""
    there, back = ALL[name](), ALL[name]()
    try:
        with Other(lambda: echo(there, back, trips)):
            return travel(there, back, trips)[trips // 10 :]
    finally:
        there.close()
        back.close()


def travel(there: Link, back: Link, trips: int) -> list[int]:
    """This side: all round trips in ns."""
    put, take = there.writer(), back.reader()
    noise = random.Random(7)
    paddings = [noise.randbytes(RECORD_BYTES - 8) for _ in range(PADDINGS)]
    times = []
    for number in range(trips):
        record = number.to_bytes(8, "little") + paddings[number % PADDINGS]
        began = time.perf_counter_ns()
        put(record)
        answer = take()
        times.append(time.perf_counter_ns() - began)
        if list(answer) != [record]:
            raise WrongAnswer(f"trip {number} brought {answer!r}")
    return times


if __name__ == "__main__":
    main(bench, __doc__)
