"""The order path: upstreams submit → intake → sender → exchange call → its answer journalled. No venue process.

    python -m bench.order_path_throughput [--orders 200000] [--durability process|power] [--runs 3] [--json]

The adapter (`bench.adapters:NullVenue`) answers each order with one acknowledgement. The clock runs from the first
submit to the frame with the last answer in the sender's journal; the database runs along, may lag, and must have every
row in the end. With durability "power" each of the two journals is synced for every batch; the fdatasync of this disk
is measured beside it.
"""

from __future__ import annotations

from time import monotonic_ns

from bench import rows
from bench.desk import Desk, config_of, running
from bench.host import fdatasync_us
from bench.load import Load
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main

FRAME = 512
REPORTS = ("PENDING_NEW", "NEW")
TABLES = ("orders", "sends", "reports")
ADAPTER = "bench.adapters:NullVenue"


def bench(options: Options, durability: str = "process", upstreams: int = 2) -> Finding:
    """Several runs."""
    orders = options.each(upstreams, 200_000, 2_000) * upstreams
    finding = Finding(f"order_path_{durability}", f"order path: submit → answer journalled, {durability}")
    finding.config = {
        "orders": orders, "upstreams": upstreams, "durability": durability, "throttle": "open",
        "exchange": "null adapter", "requests per submit": FRAME,
    }  # fmt: skip
    for _ in range(options.repeats()):
        with running(config_of(durability=durability, adapter=ADAPTER), options.folder) as desk:
            finding.add("fdatasync", "µs", fdatasync_us(desk.data_dir), "neither")
            run(desk, finding, orders, upstreams)
    finding.checked = ["each order acknowledged once, to its upstream", "each has its rows in the database, as ordered"]
    return finding


def run(desk: Desk, finding: Finding, orders: int, upstreams: int) -> None:
    """One day."""
    share = orders // upstreams
    loads = [Load(desk.instance, f"up{n}", orders=share, frame=FRAME, reports_per_order=2) for n in range(upstreams)]
    try:
        for load in loads:
            load.ready()
        before = desk.cpu_s()
        for load in loads:
            load.go()
        total = share * upstreams
        desk.wait("answers", lambda: desk.counter("sender", "matched") >= total,
                  progress=lambda: desk.counter("sender", "matched"))  # fmt: skip
        answered_ns = monotonic_ns()
        cpu_s = desk.cpu_s()
        behind = total - desk.counter("persistence", "reports")
        found = [load.result() for load in loads]
        desk.wait("rows", lambda: desk.counter("persistence", "reports") >= total,
                  progress=lambda: desk.counter("persistence", "reports"))  # fmt: skip
    finally:
        for load in loads:
            load.kill()
    if any(each["reports"].get(name) != share for each in found for name in REPORTS):
        raise WrongAnswer(f"each upstream submitted {share} orders, they got {[each['reports'] for each in found]}")
    rows.check(desk.database, total, TABLES, filled=False)
    began_ns = min(each["began_ns"] for each in found)
    answered_ns = min(answered_ns, max(each["answered_ns"] for each in found))
    finding.add("order path", "orders/s", total / (answered_ns - began_ns) * 1e9)
    finding.add("database behind at the end", "orders", behind, "neither")
    drained_ns = desk.counter("persistence", "last_commit_ns") - answered_ns
    finding.add("drained after", "s", max(0, drained_ns) / 1e9, "lower")
    for role in ("sender", "intake"):
        finding.add(f"cpu of {role}", "ns/order", (cpu_s[role] - before[role]) / total * 1e9, "lower")


if __name__ == "__main__":
    main(bench, __doc__, durability="process")
