"""Finished orders: bytes that the sender's core holds for each, and what a life costs with and without packing.

    python -m bench.finished_orders [--orders 300000] [--runs 3] [--json]

The sender's core alone: orders are admitted, sent, acknowledged and executed. The last 100,000 (`pending.DONE_WINDOW`)
stay known, and what is not of late is packed (`core.archive`): from then on memory must not grow, whatever comes. It is
looked at by tracemalloc, after every third of the orders, with short running numbers as client order ids and with
UUIDs, which hardly compress.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from time import process_time_ns
from uuid import UUID

from bench.load import encoded
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from bench.waiting_queue import numbered
from oms_actors.core import ledger
from oms_actors.core.batches import Batches
from oms_actors.core.execution import Member, Rules
from oms_actors.core.fill import FillModel
from oms_actors.core.pending import SenderSettings
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.messages import Outcome
from oms_actors.record import AT_CLIENT_ORDER_ID, REQUEST_BYTES

FRAME = 32
"""So many orders come at once: what one cycle may put away."""
BYTES_MAX = 350
"""A finished order that is put away may need so much, however its client order id looks."""
_SECOND = 1_000_000_000


def bench(options: Options) -> Finding:
    """Memory for both kinds of ids; cost of a life."""
    orders = options.count(300_000, 3_000)
    finding = Finding("finished", "finished orders: bytes that they keep, cost of a life")
    finding.config = {"orders": orders, "orders at once": FRAME, "stay known": ledger.DONE_WINDOW}
    for ids in ("running numbers", "uuid"):
        for at, held in enumerate(growth(orders, ids), 1):
            finding.add(f"held after {at}/3, {ids}", "MB", held / 1e6, "lower")
    for _ in range(options.repeats()):
        for packing in (False, True):
            cost = life(min(orders, 40_000), packing)
            finding.add(f"a life {'with' if packing else 'without'} packing", "ns/order", cost, "lower")
    finding.checked = ["each order executed once; the last ones known, all others forgotten"]
    return finding


class Day:
    """A core and an exchange that fills everything."""

    def __init__(self, ids: str = "running numbers", packing: bool = True) -> None:
        self.core = Batches(SenderSettings(), Throttle(ThrottleLimit(rate=1_000_000)))
        self.ids, self.packing = ids, packing
        self.orders = 0
        self._model, self._member, self._dice = FillModel(Rules()), Member(1, "desk"), random.Random(7)

    def trade(self, count: int) -> int:
        """So many orders live their lives; CPU ns."""
        spent, end = 0, self.orders + count
        while self.orders < end:
            first, some = self.orders + 1, min(FRAME, end - self.orders)
            requests = self._named(numbered(encoded("o", first, some), first))
            began = process_time_ns()
            self._send(requests)
            spent += process_time_ns() - began
            answers, self._member.out = b"".join(self._member.out), []
            self._member.known.clear()
            began = process_time_ns()
            self._hear(answers)
            spent += process_time_ns() - began
            self.orders += some
        return spent

    def _named(self, requests: bytes) -> bytes:
        if self.ids != "uuid":
            return requests
        frame = bytearray(requests)
        for at in range(AT_CLIENT_ORDER_ID, len(frame), REQUEST_BYTES):
            frame[at : at + 36] = str(UUID(int=self._dice.getrandbits(128), version=4)).encode()
        return bytes(frame)

    def _send(self, requests: bytes) -> None:
        core, now = self.core, (self.orders + 1) * _SECOND
        core.begin(now, now)
        core.take(requests)
        core.tick()
        core.release(FRAME)
        core.taken()
        for sequence, item, intents in core.calls:
            if isinstance(item, list):
                core.returned_all(now, now + 1, sequence, item, Outcome.SENT)
            else:
                core.returned(now, now + 1, sequence, item, Outcome.SENT)
            self._model.step(self._member, intents, now)
        core.calls.clear()

    def _hear(self, answers: bytes) -> None:
        core, now = self.core, (self.orders + 1) * _SECOND + 2
        core.begin(now, now)
        core.respond_frame(answers)
        core.taken()
        core.latencies.clear()
        if self.packing:
            core.put_away()

    def check(self) -> None:
        """WrongAnswer unless everything was executed, and just the last ones are known."""
        core = self.core
        found = core.counters["fills"], len(core._done) + core.archive.count, core.working, core.waiting
        if found != (self.orders, min(self.orders, ledger.DONE_WINDOW), 0, 0):
            raise WrongAnswer(f"executed, known, working, waiting: {found} of {self.orders}")


def growth(orders: int, ids: str) -> list[int]:
    """Bytes that the core holds after each third of so many orders."""
    day, found = Day(ids), []
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        day.trade(orders // 3)
        gc.collect()
        found.append(tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()
    day.check()
    return found


def life(orders: int, packing: bool) -> float:
    """CPU ns of the core for one order, from its request to its execution."""
    day = Day(packing=packing)
    gc.collect()
    spent = day.trade(orders)
    day.check()
    return spent / orders


if __name__ == "__main__":
    main(bench, __doc__)
