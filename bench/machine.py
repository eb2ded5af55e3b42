"""How fast the machine is just now: what every figure hangs on, and no program can help.

A virtual machine shares its processors, caches and memory with others that it cannot see; its speed may change by
two within minutes. So `oms bench` looks at it between the benches: at a fixed piece of Python (the operations that a
desk lives of), and at how late a sleep of a millisecond ends while nothing else goes on. Two days compare only where
these figures do.
"""

from __future__ import annotations

import struct
from threading import Thread
from time import monotonic_ns, perf_counter_ns, sleep

from bench.measure import Finding
from ipc.proc import fine_timers

PIECE, LATE = "a fixed piece of Python", "a sleep of 1 ms ends late, p99"
SLEEPS = 300
_TRIES, _ROUNDS = 7, 4_000
_TRIPLE = struct.Struct("<qqq")


class _Thing:
    __slots__ = ("x",)

    def __init__(self) -> None:
        self.x = 1

    def plus(self, value: int) -> int:
        return self.x + value


def finding() -> Finding:
    """Nothing yet; `sample` adds to it."""
    return Finding("machine", "the machine itself, between the benches")


def sample(into: Finding, sleeps: int = SLEEPS) -> None:
    """One more look: half a second."""
    into.add(PIECE, "ns", piece_ns(), "lower")
    into.add(LATE, "µs", late_ns(sleeps) / 1e3, "lower")


def piece_ns() -> float:
    """ns of one round, the quickest of some tries: a call, a dict, a slice, a word of memory, a `pack`."""
    return min(_rounds() for _ in range(_TRIES)) / _ROUNDS


def _rounds() -> int:
    thing, known, data, pack = _Thing(), {}, bytes(range(200)), _TRIPLE.pack
    words = memoryview(bytearray(800)).cast("q")
    began = perf_counter_ns()
    for at in range(_ROUNDS):
        thing.plus(at)
        known[at & 63] = data[3:20]
        words[at & 63] = at
        pack(at, words[3], 3)
    return perf_counter_ns() - began


def late_ns(sleeps: int) -> int:
    """The 99th percentile of how late sleeps of 1 ms end. On a thread of its own: fine timers are inherited by whatever
    a thread starts, and the benches are to have what users have."""
    late: list[int] = []

    def measure() -> None:
        fine_timers()
        for _ in range(sleeps):
            due_ns = monotonic_ns() + 1_000_000
            sleep(0.001)
            late.append(monotonic_ns() - due_ns)

    thread = Thread(target=measure)
    thread.start()
    thread.join()
    late.sort()
    return late[len(late) * 99 // 100]
