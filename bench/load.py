"""An upstream as a process of its own: submits orders that were encoded beforehand and counts what comes back.

`Load(...)` starts it in the parent, `python -m bench.load` is the child. It attaches, encodes, says "ready", waits for
"go", and at the end prints what it did. Orders are LIMIT, 100 AAPL; ids are the prefix and a running number.
"""

from __future__ import annotations

import json
import mmap
import resource
import signal
import subprocess
import sys
from collections import Counter
from time import monotonic, monotonic_ns, sleep
from typing import Any

from bench.rows import PRICE, QUANTITY
from ipc.proc import fine_timers
from oms_actors.messages import ExecType, Kind, NewOrder
from oms_actors.record import AT_ACCOUNT, AT_CLIENT_ORDER_ID, REPORT_BYTES, REQUEST_BYTES, encode
from oms_actors.upstream import RingFull, Upstream

ID_DIGITS = 8
SPIN_NS = 100_000
QUIET_S = 30.0
"""So long without any report, and it is given up."""
_KIND_AT, _EXEC_TYPE_AT = 0, 3


def encoded(prefix: str, first: int, count: int, symbol: str = "AAPL") -> bytes:
    """`count` NEW requests; ids `<prefix>00000001` …; every other one sells."""
    halves = []
    for side in ("BUY", "SELL"):
        order = NewOrder(client_order_id="0", symbol=symbol, side=side, quantity=QUANTITY, price=PRICE)
        record = encode(order)
        at = AT_CLIENT_ORDER_ID
        head = record[:AT_ACCOUNT] + record[AT_ACCOUNT:at] + prefix.encode()
        tail = record[at + len(prefix) + ID_DIGITS :]
        halves.append((head, tail))
    return b"".join([
        b"%b%08d%b" % (halves[number & 1][0], number, halves[number & 1][1])
        for number in range(first, first + count)
    ])  # fmt: skip


class Tally:
    """Counts reports by ExecType, by columns: nothing is decoded."""

    def __init__(self) -> None:
        self.by_type: Counter[int] = Counter()
        self.reports = 0
        self.last_ns = 0

    def take(self, frames: list[bytes]) -> None:
        for frame in frames:
            kinds = frame[_KIND_AT::REPORT_BYTES]
            types = frame[_EXEC_TYPE_AT::REPORT_BYTES]
            if kinds.count(Kind.REPORT) != len(kinds):
                types = bytes(t for kind, t in zip(kinds, types, strict=True) if kind == Kind.REPORT)
            self.by_type.update(types) if len(types) < 8 else self._count(types)
            self.reports += len(types)
        if frames:
            self.last_ns = monotonic_ns()

    def _count(self, types: bytes) -> None:
        for exec_type in set(types):
            self.by_type[exec_type] += types.count(exec_type)

    def named(self) -> dict[str, int]:
        return {ExecType(code).name: count for code, count in sorted(self.by_type.items())}


def drive(
    upstream: Upstream, requests: bytes, frame: int, reports: int, rate_per_s: float | None = None
) -> dict[str, Any]:
    """Submits everything, `frame` requests at a time, until `reports` have come; as fast as the desk takes it, or each
    frame when it is due."""
    tally, full = Tally(), 0
    view = memoryview(requests)
    size = frame * REQUEST_BYTES
    interval_ns = frame / rate_per_s * 1e9 if rate_per_s else 0
    began = monotonic_ns()
    for number, at in enumerate(range(0, len(view), size)):
        while interval_ns and (left_ns := began + number * interval_ns - monotonic_ns()) > 0:
            sleep(left_ns / 1e9)
        full += _submit(upstream, view[at : at + size], tally)
        tally.take(upstream.raw_reports(0))
    submitted = monotonic_ns()
    until = monotonic() + QUIET_S
    while tally.reports < reports and monotonic() < until:
        frames = upstream.raw_reports(1.0)
        if frames:
            tally.take(frames)
            until = monotonic() + QUIET_S
    return {
        "orders": len(requests) // REQUEST_BYTES, "began_ns": began, "submitted_ns": submitted,
        "answered_ns": tally.last_ns, "ring_full": full, "reports": tally.named(),
    }  # fmt: skip


def _submit(upstream: Upstream, part: memoryview, tally: Tally) -> int:
    """Returns how often the ring was full."""
    full = 0
    while part:
        try:
            upstream.submit_records(part)
            return full
        except RingFull as error:
            full += 1
            part = part[error.submitted * REQUEST_BYTES :]
            tally.take(upstream.raw_reports(0.002))
    return full


def pace(upstream: Upstream, orders: list[NewOrder], rate: int, words: memoryview) -> dict[str, Any]:
    """Open loop: submits order i when it is due, i / rate seconds after the start, whatever became of those before.

    In `words`, 2i and 2i + 1: the instants at which it was due and was submitted (monotonic ns).
    """
    submit, reports, tally = upstream.submit, upstream.raw_reports, Tally()
    interval_ns = 1_000_000_000 // rate
    began = due_ns = monotonic_ns() + 10_000_000
    for at, order in enumerate(orders):
        _wait_until(due_ns)
        words[2 * at], words[2 * at + 1] = due_ns, monotonic_ns()
        submit(order, timeout=1.0)
        tally.take(reports(0))
        due_ns += interval_ns
    until = monotonic() + QUIET_S
    while tally.by_type[ExecType.NEW] < len(orders) and monotonic() < until:
        tally.take(reports(0.1))
    return {"orders": len(orders), "began_ns": began, "answered_ns": tally.last_ns, "reports": tally.named()}


def _wait_until(due_ns: int) -> None:
    """Sleeps, and spins for the last moment: what is late here would be laid at the desk's door."""
    while (left_ns := due_ns - monotonic_ns()) > 0:
        if left_ns > SPIN_NS:
            sleep((left_ns - SPIN_NS) / 1e9)


class Load:
    """The child, seen from the parent: `ready()`, `go()`, `result()`; `kill()` at any time."""

    def __init__(self, instance: str, name: str, **question: Any) -> None:
        self.name = name
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the child inherits it, until it is in main
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "bench.load", instance, name, json.dumps(question)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def pid(self) -> int:
        return self._child.pid

    def _line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"upstream {self.name} ended with {self._child.wait()}")
        return line

    def ready(self) -> None:
        """Waits until it has attached and encoded."""
        self._line()

    def go(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("go\n")
        self._child.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Waits for its end."""
        found: dict[str, Any] = json.loads(self._line())
        self._child.wait()
        return found

    def kill(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str]) -> None:
    """The child: instance, name and question. Ctrl-C, which reaches all of a terminal's processes, ends it without a
    word: the parent has something to say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    instance, name, question = arguments[0], arguments[1], json.loads(arguments[2])
    with Upstream.attach(instance, name, timeout=30.0) as upstream:
        found = paced(upstream, **question) if "rate" in question else flood(upstream, **question)
    _say(json.dumps(found))


def flood(
    upstream: Upstream, orders: int, frame: int, reports_per_order: int, rate_per_s: float | None = None
) -> dict[str, Any]:
    """As fast as the desk takes it, or in frames at a rate."""
    requests = encoded(f"{upstream.name}-", 1, orders)
    _await_go()
    before = _cpu_s()
    found = drive(upstream, requests, frame, orders * reports_per_order, rate_per_s)
    return found | {"cpu_s": _cpu_s() - before}


def paced(upstream: Upstream, orders: int, rate: int, path: str) -> dict[str, Any]:
    """At a rate; `path`: where the instants go."""
    requests = [
        NewOrder(client_order_id=f"{upstream.name}-{number:0{ID_DIGITS}d}", symbol="AAPL", side="BUY", quantity=100,
                 price="585.33") for number in range(orders)
    ]  # fmt: skip
    fine_timers()
    with open(path, "r+b") as file, memoryview(mmap.mmap(file.fileno(), 0)).cast("q") as words:
        _await_go()
        return pace(upstream, requests, rate, words)


def _await_go() -> None:
    _say("ready")
    sys.stdin.readline()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
