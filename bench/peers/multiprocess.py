"""The pipeline on multiprocessing.Queue with pickled dataclasses: upstream → intake → sender → database.

Each order goes through three queues, one at a time, as such programs are mostly written. Intake refuses an id that it
has seen, the sender notes the instant and has the exchange (a call in its process) accept it, the last process writes
the responses into SQLite, a batch per 50 ms. A process that dies takes what is in its memory and queues with it.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

from bench.peers.orders import INSERT, SCHEMA, OrderRequest, OrderResponse, ResponseKind

COMMIT_INTERVAL_S = 0.05


def intake(incoming: Queue[OrderRequest | None], outgoing: Queue[OrderRequest | None]) -> None:
    """Looks at each order and hands it on."""
    seen: set[int] = set()
    while (request := incoming.get()) is not None:
        if request.order_id not in seen and request.quantity > 0 and request.price > 0:
            seen.add(request.order_id)
            outgoing.put(request)
    outgoing.put(None)


def sender(incoming: Queue[OrderRequest | None], outgoing: Queue[OrderResponse | None]) -> None:
    """Calls the exchange, which accepts at once."""
    while (request := incoming.get()) is not None:
        sent_ns = time.monotonic_ns()
        outgoing.put(OrderResponse(request.order_id, ResponseKind.ACCEPT, time.monotonic_ns() - sent_ns))
    outgoing.put(None)


def database(incoming: Queue[OrderResponse | None], path: Path) -> None:
    """Writes rows."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(SCHEMA)
        rows: list[tuple[int, str, int]] = []
        due, going = time.monotonic() + COMMIT_INTERVAL_S, True
        while going or rows:
            try:
                response = incoming.get(timeout=COMMIT_INTERVAL_S) if going else None
                going = response is not None
                if response is not None:
                    rows.append((response.order_id, response.kind.name, response.latency_ns))
            except Empty:
                pass
            if time.monotonic() >= due or not going:
                connection.executemany(INSERT, rows)
                connection.commit()
                rows, due = [], time.monotonic() + COMMIT_INTERVAL_S


def run(orders: int, path: Path) -> float:
    """Seconds from the first order to the last commit."""
    context = multiprocessing.get_context("spawn")
    first, second = context.Queue(), context.Queue()
    third = context.Queue()
    processes = [
        context.Process(target=intake, args=(first, second)),
        context.Process(target=sender, args=(second, third)),
        context.Process(target=database, args=(third, path)),
    ]
    for process in processes:
        process.start()
    time.sleep(0.5)  # interpreters start
    began = time.perf_counter()
    for number in range(orders):
        first.put(OrderRequest(1, 585.33, 100, "BUY", number))
    first.put(None)
    for process in processes:
        process.join()
    return time.perf_counter() - began
