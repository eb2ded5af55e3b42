"""Memory of a desk by the day's volume: what each process holds of its own after so many orders are done.

    python -m bench.desk_memory [--orders 200000] [--json]

The growth from an empty desk to one that has seen `--orders` orders acknowledged and filled, per order. Orders that are
done leave the sender after the newest 100,000; intake keeps the ids of the trade date.
"""

from __future__ import annotations

import psutil

from bench import path_throughput
from bench.desk import Desk, config_of, running
from bench.measure import Finding, Options
from bench.program import main


def bench(options: Options) -> Finding:
    """One day, in two halves: a growth that stops shows in the second."""
    orders = options.count(200_000, 2_000)
    finding = Finding("memory", "memory by the day's volume")
    finding.config = {"orders": orders}
    with running(config_of(), options.folder) as desk:
        empty = own_bytes(desk)
        path_throughput.run(desk, Finding("path", ""), orders, 2)
        full = own_bytes(desk)
    for role in empty:
        finding.add(f"{role}, empty", "MiB", empty[role] / 2**20, "lower")
        finding.add(f"{role}, after {orders:,} orders", "MiB", full[role] / 2**20, "lower")
        finding.add(f"{role}, growth", "bytes/order", (full[role] - empty[role]) / orders, "lower")
    finding.checked = ["as the whole path"]
    return finding


def own_bytes(desk: Desk) -> dict[str, int]:
    """What each process has for itself alone."""
    return {name: psutil.Process(pid).memory_full_info().uss for name, pid in desk.children().items()}


if __name__ == "__main__":
    main(bench, __doc__)
