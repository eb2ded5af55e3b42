"""Our peers in the same run: the classic threaded OMS, its batched twin, a pipeline on multiprocessing.Queue.

    python -m bench.peers_throughput [--orders 20000] [--runs 3] [--json]

Orders per second from the first submit to the last response committed, and (threaded) submit → send at 1,000/s. They
have one row per order and one database in the default mode of Python's sqlite3 where they commit each response; ours
has four rows, two journals and a venue process (`path_throughput`). What they hold is counted: each order one row.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.measure import Finding, Options, WrongAnswer
from bench.peers import multiprocess
from bench.peers.orders import COUNT, OrderRequest
from bench.peers.threaded import ThreadedOms
from bench.program import main

NO_LIMIT = 10**9
CLASSIC_SHARE = 20
"""The classic one commits each response: so many times fewer orders are enough."""
RATE, SECONDS = 1_000, 3.0
PATIENCE_S = 30.0


def bench(options: Options) -> Finding:
    """Each in turn, several times over."""
    orders = options.count(20_000, 200)
    finding = Finding("peers", "peers: written from their public designs")
    finding.config = {"orders": orders, "of the classic one": max(50, orders // CLASSIC_SHARE)}
    for _ in range(options.repeats()):
        with tempfile.TemporaryDirectory(prefix="oms-bench-", dir=options.folder) as name:
            folder = Path(name)
            few = max(50, orders // CLASSIC_SHARE)
            finding.add("classic threaded", "orders/s", flood(folder / "classic.db", few, True))
            finding.add("batched commits", "orders/s", flood(folder / "batched.db", orders, False))
            finding.add("multiprocessing.Queue", "orders/s", processes(folder / "processes.db", orders))
            for kind, commit_each in (("classic", True), ("batched", False)):
                count = int(RATE * options.duration(SECONDS, 0.2))
                steady(finding, kind, folder / f"{kind}-steady.db", count, commit_each)
    finding.checked = ["each order has one row"]
    return finding


def flood(path: Path, orders: int, commit_each: bool) -> float:
    """Orders per second of a threaded one."""
    oms = ThreadedOms(path, NO_LIMIT, commit_each, lambda request: None)
    began = time.perf_counter()
    for number in range(orders):
        oms.on_data(OrderRequest(1, 585.33, 100, "BUY", number))
    _wait(oms, orders)
    seconds = time.perf_counter() - began
    _check(oms.close(), orders)
    return orders / seconds


def steady(finding: Finding, kind: str, path: Path, orders: int, commit_each: bool) -> None:
    """Latency of a threaded one at a steady rate."""
    latencies: list[int] = []

    def on_sent(request: OrderRequest) -> None:
        latencies.append(time.monotonic_ns() - request.received_ns)

    oms = ThreadedOms(path, NO_LIMIT, commit_each, on_sent)
    due = time.perf_counter()
    for number in range(orders):
        time.sleep(max(0.0, due - time.perf_counter()))
        oms.on_data(OrderRequest(1, 585.33, 100, "BUY", number))
        due += 1 / RATE
    _wait(oms, orders)
    _check(oms.close(), orders)
    latencies.sort()
    finding.add(f"{kind}, submit → send at 1,000/s, p50", "µs", latencies[orders // 2] / 1e3, "lower")
    finding.add(f"{kind}, submit → send at 1,000/s, p99", "µs", latencies[orders * 99 // 100] / 1e3, "lower")
    finding.add_latencies(f"{kind} threaded, submit → send", latencies)


def processes(path: Path, orders: int) -> float:
    """Orders per second of the pipeline."""
    seconds = multiprocess.run(orders, path)
    with closing(sqlite3.connect(path)) as database:
        _check(database.execute(COUNT).fetchone(), orders)
    return orders / seconds


def _wait(oms: ThreadedOms, orders: int) -> None:
    """Until every order has its response; WrongAnswer once none has come for a while."""
    stored, until = -1, 0.0
    while oms.stored < orders:
        if oms.stored != stored:
            stored, until = oms.stored, time.monotonic() + PATIENCE_S
        if time.monotonic() > until:
            raise WrongAnswer(f"{stored} of {orders} responses came, and no more")
        time.sleep(0.001)


def _check(rows: tuple[int, int], orders: int) -> None:
    """`rows`: all of them, and those of different orders."""
    if rows != (orders, orders):
        raise WrongAnswer(f"{orders} orders have {rows[0]} rows, {rows[1]} of them have one")


if __name__ == "__main__":
    main(bench, __doc__)
