"""Latency of the order path at a steady rate: submit → exchange.send, open loop, for one durability.

    python -m bench.path_latency [--rate 1000] [--seconds 10] [--durability process|power] [--runs 3] [--json]

One upstream calls `submit` for one order at a time, each when it is due; the adapter (`bench.adapters:Recorder`) writes
down when `send` was called with it. The clock of an order starts when it was *due*: if anything delays the submit
itself, that counts (coordinated omission); "from the call of submit" is the same without. Beside it stand the desk's
own histograms of its journals' syncs. Each order must have been sent once and acknowledged.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench.desk import Desk, config_of, running
from bench.load import Load
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main

ADAPTER = "bench.adapters:Recorder"
DUE, SUBMITTED = "submit → send, from when it was due", "submit → send, from the call of submit"
WARM_S = 0.5
"""The beginning of each run does not count."""


def bench(options: Options, durability: str = "process") -> Finding:
    """Several runs; their latencies are one distribution, their percentiles the noise."""
    rate, seconds = options.rate or 1000, options.duration(10.0, 0.5)
    orders = max(10, int(rate * (seconds + (0 if options.tiny else WARM_S))))  # timed: `--orders` is not for us
    finding = Finding(f"latency_{durability}", f"latency at {rate:,} orders/s, {durability}")
    finding.config = {
        "rate": rate, "seconds": seconds, "durability": durability, "exchange": "recording null adapter",
        "open loop": True, "upstreams": 1,
    }  # fmt: skip
    warm = 0 if options.tiny else int(rate * WARM_S)
    for _ in range(options.repeats()):
        with words(2 * orders) as (due_path, instants), words(orders) as (sent_path, sent):
            config = config_of(durability=durability, adapter=ADAPTER, options={"path": sent_path})
            with running(config, options.folder) as desk:
                run(desk, finding, orders, rate, due_path)
            judge(finding, instants, sent, orders, warm)
    finding.checked = ["each order was handed to the exchange once and acknowledged"]
    return finding


@contextmanager
def words(count: int) -> Iterator[tuple[str, memoryview]]:
    """A file of so many words in shared memory."""
    with tempfile.NamedTemporaryFile(prefix="oms-bench-", dir="/dev/shm") as file:
        file.truncate(8 * count)
        with memoryview(mmap.mmap(file.fileno(), 8 * count)).cast("q") as words:
            yield file.name, words


def run(desk: Desk, finding: Finding, orders: int, rate: int, path: str) -> None:
    """One run; the instants are in shared memory afterwards."""
    load = Load(desk.instance, "up0", orders=orders, rate=rate, path=path)
    try:
        load.ready()
        before = desk.cpu_s()
        load.go()
        found = load.result()
        after = desk.cpu_s()
    finally:
        load.kill()
    if found["reports"] != {"NEW": orders, "PENDING_NEW": orders}:
        raise WrongAnswer(f"{orders} orders were submitted, but {found['reports']} came back")
    if desk.counter("sender", "sent") != orders:
        raise WrongAnswer(f"{orders} orders were submitted, {desk.counter('sender', 'sent')} were sent")
    for role in ("intake", "sender"):
        histogram = desk.page(role).histogram("fsync_ns")
        finding.add(f"sync of {role}, p50", "µs", histogram.percentile(50) / 1e3, "lower")
        finding.add(f"cpu of {role}", "ns/order", (after[role] - before[role]) / orders * 1e9, "lower")
    accepted = desk.page("intake").histogram("submit_to_accept_ns")
    finding.add("submit → accepted, p50", "µs", accepted.percentile(50) / 1e3, "lower")


def judge(finding: Finding, instants: memoryview, sent: memoryview, orders: int, warm: int) -> None:
    """Puts the instants together."""
    if 0 in sent[:orders].tolist():
        raise WrongAnswer("an order never reached the exchange")
    for name, offset in ((DUE, 0), (SUBMITTED, 1)):
        taken = sorted(
            at_ns - began_ns for at_ns, began_ns in
            zip(sent[warm:orders].tolist(), instants[2 * warm + offset : 2 * orders : 2].tolist(), strict=True)
        )  # fmt: skip
        finding.add_latencies(name, taken)
        for percent in (50, 99):
            value = taken[min(len(taken) - 1, len(taken) * percent // 100)] / 1e3
            finding.add(f"{name}, p{percent}", "µs", value, "lower")


if __name__ == "__main__":
    main(bench, __doc__, durability="process")
