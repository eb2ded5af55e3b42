"""The whole path: upstreams submit → intake → sender → venue process → all reports back → rows committed in SQLite.

    python bench/path_throughput.py [--orders 200000] [--upstreams 2] [--durability process] [--runs 3] [--json]

A real desk in processes of its own, the throttle open, the venue acknowledging and filling every order. The clock runs
from the first submit to the commit that holds the last row. Counted afterwards: the venue's own record, the reports
that each upstream got (accepted, acknowledged, filled), and the rows of every table; anything else than exactly the
orders that were submitted is a wrong answer. Requests are encoded beforehand.
"""

from __future__ import annotations

from typing import Any

from bench import rows as database_rows
from bench.desk import Desk, config_of, running
from bench.load import Load
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main

TABLES = ("orders", "sends", "reports", "executions")
"""Each has one row per order: the order, its send, its acknowledgement, its fill."""
REPORTS = ("PENDING_NEW", "NEW", "TRADE")
FRAME = 512


def bench(options: Options, upstreams: int = 2, durability: str = "process", day: int = 0) -> Finding:
    """Several runs; with `day` one run of so many orders."""
    orders = options.each(upstreams, day or 200_000, 2_000) * upstreams
    finding = Finding("path", f"whole path: submit → rows committed{f', {orders:,} orders in one run' if day else ''}")
    finding.config = {
        "orders": orders, "upstreams": upstreams, "durability": durability, "throttle": "open",
        "rows per order": len(TABLES), "reports per order": len(REPORTS), "requests per submit": FRAME,
    }  # fmt: skip
    for _ in range(options.repeats(1 if day else 100)):
        with running(config_of(durability=durability), options.folder) as desk:
            run(desk, finding, orders, upstreams)
    finding.checked = [
        "the venue got, acknowledged and filled each order once",
        "each upstream got exactly its reports",
        "each order has one row in each table, and is filled as ordered",
    ]
    return finding


def run(desk: Desk, finding: Finding, orders: int, upstreams: int) -> list[float]:
    """One day of `orders` orders through a fresh desk; how many seconds each upstream took for its own."""
    loads = [
        Load(desk.instance, f"up{number}", orders=orders // upstreams, frame=FRAME, reports_per_order=len(REPORTS))
        for number in range(upstreams)
    ]
    try:
        for load in loads:
            load.ready()
        before = desk.cpu_s()
        for load in loads:
            load.go()
        found = [load.result() for load in loads]
        total = sum(each["orders"] for each in found)
        desk.wait("rows", lambda: rows(desk) >= total * len(TABLES), progress=lambda: rows(desk))
        after = desk.cpu_s()
    finally:
        for load in loads:
            load.kill()
    check(desk, found)
    measure(desk, finding, found, {role: after[role] - before[role] for role in before})
    return [(each["answered_ns"] - each["began_ns"]) / 1e9 for each in found]


def rows(desk: Desk) -> int:
    return sum(desk.counter("persistence", name) for name in ("requests", "sends", "reports"))


def measure(desk: Desk, finding: Finding, found: list[dict[str, Any]], cpu_s: dict[str, float]) -> None:
    """What the run took."""
    total = sum(each["orders"] for each in found)
    began = min(each["began_ns"] for each in found)

    def rate(until_ns: int) -> float:
        return float(total / ((until_ns - began) / 1e9))

    finding.add("committed", "orders/s", rate(desk.counter("persistence", "last_commit_ns")))
    finding.add("answered", "orders/s", rate(max(each["answered_ns"] for each in found)))
    cpu_s = cpu_s | {"upstreams": sum(each["cpu_s"] for each in found)}
    for role, seconds in cpu_s.items():
        if role != "scheduler":
            finding.add(f"cpu of {role}", "ns/order", seconds / total * 1e9, "lower")
    finding.add("cpu in all", "ns/order", sum(cpu_s.values()) / total * 1e9, "lower")
    for role in ("sender", "intake"):
        finding.add(f"journal read by {role}", "times", desk.counter(role, "gaps"), "lower")


def check(desk: Desk, found: list[dict[str, Any]]) -> None:
    """Every order once at the venue, in every table and in the reports of its upstream."""
    total = sum(each["orders"] for each in found)
    for each in found:
        if any(each["reports"].get(name) != each["orders"] for name in REPORTS):
            raise WrongAnswer(f"an upstream submitted {each['orders']} orders and got {each['reports']}")
    venue = {name: desk.counter("venue", name) for name in ("new", "acks", "fills", "duplicates", "resends")}
    if venue != {"new": total, "acks": total, "fills": total, "duplicates": 0, "resends": 0}:
        raise WrongAnswer(f"the venue saw {venue} of {total} orders")
    database_rows.check(desk.database, total, TABLES, filled=True)
    if desk.restarts():
        raise WrongAnswer(f"a process died: {desk.health()}")


if __name__ == "__main__":
    main(bench, __doc__, upstreams=2, durability="process", day=0)
