"""Persistence alone: journals of a day's orders → rows committed in SQLite.

    python -m bench.persistence_rows [--orders 200000] [--runs 3] [--json]

Each order is a NEW that is sent, acknowledged and filled: one row in each of 5 tables. The journals are made first;
what is measured is the persistence role working them off, in this process, on an empty database. A row that is missing,
doubled, not filled or not as ordered is a wrong answer.
"""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import rows
from bench.measure import Finding, Options
from bench.program import main
from oms_actors.actors.persistence import PersistenceRole
from oms_actors.config import Config, DeskConfig, Resolved
from oms_actors.edges import journals
from tests.support.journals import open_script, plain_day
from tests.support.roles import context_of, resolve

TABLES = ("new_orders", "order_states", "sends", "reports", "executions")


def bench(options: Options) -> Finding:
    """Several runs over the same journals."""
    orders = options.count(200_000, 2_000)
    finding = Finding("persistence", "persistence alone: journals → rows committed")
    finding.config = {"orders": orders, "rows per order": len(TABLES)}
    with tempfile.TemporaryDirectory(prefix="oms-bench-", dir=options.folder) as folder:
        resolved = resolve(Path(folder), Config(desk=DeskConfig(snapshot_bytes=0)))
        make_day(resolved, orders)
        for _ in range(options.repeats()):
            run(resolved, orders, finding)
    finding.checked = ["every order has one row in each table, and is filled as ordered"]
    return finding


def make_day(resolved: Resolved, orders: int) -> None:
    """Both journals, with the marks of writers that live."""
    marks: dict[str, Any] = {role: journals.mark(resolved, role) for role in ("intake", "sender")}
    script = open_script(journals.folder(resolved), segment_bytes=64 << 20, boot=journals.boot_word(), marks=marks)
    plain_day(script, orders)


def run(resolved: Resolved, orders: int, finding: Finding) -> None:
    """One run on an empty database."""
    database = Path(resolved.data_dir) / "oms.sqlite"
    for path in database.parent.glob("oms.sqlite*"):
        path.unlink()
    role = PersistenceRole(context_of(resolved, "persistence"))
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    role.start()
    while role.work() or role.page["reports"] < 2 * orders:
        pass
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    role.stop()
    rows.check(database, orders, TABLES, filled=True)
    finding.add("orders", "orders/s", orders / wall)
    finding.add("rows", "rows/s", orders * len(TABLES) / wall)
    finding.add("cpu", "ns/order", cpu / orders * 1e9, "lower")


if __name__ == "__main__":
    main(bench, __doc__)
