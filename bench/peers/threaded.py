"""The classic threaded OMS: one process, a lock around everything, a deque, a counter per second.

`on_data` takes an order on the caller's thread; a sender thread lets out what the counter of this second allows and
calls the exchange; the exchange answers on a thread of its own through `on_data_response`, which matches the order,
computes the latency and writes one row. A modify or cancel of an order that waits changes or removes it there. With
`commit_each` every response is a commit of its own, as the classic design has it; else a thread commits what has
gathered every 50 ms.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from bench.peers.orders import COUNT, INSERT, SCHEMA, OrderRequest, OrderResponse, RequestType, ResponseKind

COMMIT_INTERVAL_S = 0.05


class Exchange:
    """Accepts everything, from a thread of its own."""

    def __init__(self, answer: Callable[[OrderResponse], None]) -> None:
        self._asked: queue.SimpleQueue[OrderRequest | None] = queue.SimpleQueue()
        self._answer = answer
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, request: OrderRequest) -> None:
        self._asked.put(request)

    def _run(self) -> None:
        while (request := self._asked.get()) is not None:
            self._answer(OrderResponse(request.order_id, ResponseKind.ACCEPT))

    def close(self) -> None:
        self._asked.put(None)
        self._thread.join()


class ThreadedOms:
    """See above. `on_sent(order)` is called at the instant of each exchange call."""

    def __init__(self, path: Path, rate: int, commit_each: bool, on_sent: Callable[[OrderRequest], None]) -> None:
        self._rate, self._commit_each, self._on_sent = rate, commit_each, on_sent
        self._lock = threading.Lock()
        self._waiting: deque[OrderRequest] = deque()
        self._by_id: dict[int, OrderRequest] = {}
        self._sent_ns: dict[int, int] = {}
        self._second, self._in_second = 0, 0
        self._rows: list[tuple[int, str, int]] = []
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute(SCHEMA)
        self._database.commit()
        self.stored = 0
        """Responses that are committed."""
        self._stopping = False
        self._exchange = Exchange(self.on_data_response)
        self._threads = [threading.Thread(target=self._send_loop, daemon=True)]
        if not commit_each:
            self._threads.append(threading.Thread(target=self._commit_loop, daemon=True))
        for thread in self._threads:
            thread.start()

    def on_data(self, request: OrderRequest) -> None:
        """An order from upstream."""
        request.received_ns = time.monotonic_ns()
        with self._lock:
            waiting = self._by_id.get(request.order_id)
            if request.request_type is RequestType.NEW:
                self._waiting.append(request)
                self._by_id[request.order_id] = request
            elif waiting is not None and request.request_type is RequestType.MODIFY:
                waiting.price, waiting.quantity = request.price, request.quantity
            elif waiting is not None:
                self._waiting.remove(waiting)
                del self._by_id[request.order_id]

    def _send_loop(self) -> None:
        while not self._stopping:
            with self._lock:
                request = self._next()
                if request is not None:
                    self._sent_ns[request.order_id] = time.monotonic_ns()
            if request is None:
                time.sleep(0.0001)
                continue
            self._on_sent(request)
            self._exchange.send(request)

    def _next(self) -> OrderRequest | None:
        second = int(time.time())
        if second != self._second:
            self._second, self._in_second = second, 0
        if not self._waiting or self._in_second >= self._rate:
            return None
        self._in_second += 1
        request = self._waiting.popleft()
        del self._by_id[request.order_id]
        return request

    def on_data_response(self, response: OrderResponse) -> None:
        """The exchange's answer."""
        with self._lock:
            response.latency_ns = time.monotonic_ns() - self._sent_ns.pop(response.order_id)
            row = (response.order_id, response.kind.name, response.latency_ns)
            if self._commit_each:
                self._database.execute(INSERT, row)
                self._database.commit()
                self.stored += 1
            else:
                self._rows.append(row)

    def _commit_loop(self) -> None:
        while not self._stopping or self._rows:
            time.sleep(COMMIT_INTERVAL_S)
            with self._lock:
                rows, self._rows = self._rows, []
            self._database.executemany(INSERT, rows)
            self._database.commit()
            self.stored += len(rows)

    def close(self) -> tuple[int, int]:
        """Ends it; how many rows the database has, and of how many orders."""
        self._stopping = True
        for thread in self._threads:
            thread.join()
        self._exchange.close()
        rows: tuple[int, int] = self._database.execute(COUNT).fetchone()
        self._database.close()
        return rows
