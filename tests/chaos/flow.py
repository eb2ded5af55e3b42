"""An upstream that keeps the books: what it submitted, what it was told, what is still open.

It is as careful as an upstream must be: what nobody has acknowledged after a while, or across a restart of the desk, it
submits again, marked as a possible resend.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from chaos.program import INSTANCE

from ipc.errors import IpcError
from oms_actors.errors import DeskDown
from oms_actors.messages import CancelOrder, ExecType, Flag, Kind, ModifyOrder, NewOrder, ReportFlag, Request
from oms_actors.record import AT_FLAGS, REPORT_BYTES, encode
from oms_actors.upstream import RingFull, Upstream

PATIENCE_S = 3.0
_ACCEPTED = frozenset((ExecType.PENDING_NEW, ExecType.PENDING_REPLACE, ExecType.PENDING_CANCEL))


class Flow:
    """`rate` requests per second, of which `changes` are changes. `pump` is called in a loop and does what is due."""

    def __init__(self, name: str, rate: float, seed: int, changes: float = 0.1) -> None:
        self._changes = changes
        self.name, self.rate, self.dice = name, rate, random.Random(f"{name} {seed}")
        self.upstream: Upstream | None = None
        self.open: dict[bytes, tuple[bytes, float]] = {}
        """Client order id → the request and when it was last submitted, until its final answer."""
        self.unanswered: dict[bytes, None] = {}
        """Those that nobody has acknowledged yet, oldest first."""
        self.accepted: set[bytes] = set()
        self.finals: Counter[bytes] = Counter()
        self.submissions: Counter[bytes] = Counter()
        self.flowing = True
        self._orders: list[str] = []
        self._count = 0
        self._began = time.monotonic()
        self._invented = 0
        self._seen: set[tuple[int, bytes]] = set()

    # -- the loop ---------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Submits what is due, takes what has been said."""
        if self.upstream is None and not self._attach():
            return
        assert self.upstream is not None
        try:
            self._submit(self._due())
            for frame in self.upstream.raw_reports(0.0):
                self._took(frame)
        except DeskDown:
            self.leave()

    def _attach(self) -> bool:
        with suppress(DeskDown, IpcError):
            self.upstream = Upstream.attach(INSTANCE, self.name)
        return self.upstream is not None

    def leave(self) -> None:
        """As if the process had ended in order."""
        if self.upstream is not None:
            self.upstream.close()
        self.upstream = None

    def pause(self) -> None:
        """The time that passes now does not count for the rate."""
        self._began, self._invented = time.monotonic(), 0

    # -- requests ---------------------------------------------------------------------------------------------------

    def _due(self) -> list[bytes]:
        now = time.monotonic()
        found = list(self._stale(now))
        if self.flowing:
            missing = min(int((now - self._began) * self.rate) - self._invented, 500)
            self._invented += max(missing, 0)
            found += [encode(self._invent()) for _ in range(missing)]
        return found

    def _stale(self, now: float) -> Iterator[bytes]:
        for own in list(self.unanswered):
            record, at = self.open[own]
            if now - at < PATIENCE_S:
                return
            del self.unanswered[own]  # and to the end
            yield record[:AT_FLAGS] + bytes((record[AT_FLAGS] | Flag.POSSIBLE_RESEND,)) + record[AT_FLAGS + 1 :]

    def _invent(self) -> Request:
        self._count += 1
        own, dice = f"{self.name}-{self._count}", self.dice
        chance = dice.random()
        if chance < self._changes and self._orders:
            orig = dice.choice(self._orders[-200:])
            if chance < 0.04:
                return ModifyOrder(client_order_id=own, orig_client_order_id=orig, price=f"{dice.randrange(90, 110)}")
            return CancelOrder(client_order_id=own, orig_client_order_id=orig)
        self._orders.append(own)
        return NewOrder(
            client_order_id=own, symbol="ABC", side=dice.choice(("BUY", "SELL")), quantity=dice.randrange(1, 100),
            price=f"{dice.randrange(90, 110)}",
        )  # fmt: skip

    def _submit(self, records: list[bytes]) -> None:
        if not records or self.upstream is None:
            return
        now, sent = time.monotonic(), len(records)
        for record in records:
            own = record[96:132]
            self.open[own] = (record, now)
            self.unanswered[own] = None
            self.submissions[own] += 1
        try:
            self.upstream.submit_records(b"".join(records))
        except RingFull as error:
            sent = error.submitted
        for record in records[sent:]:
            self.open[record[96:132]] = (record, now - PATIENCE_S + 0.1)  # soon again

    # -- reports ----------------------------------------------------------------------------------------------------

    def _took(self, frame: bytes) -> None:
        for at in range(0, len(frame), REPORT_BYTES):
            if frame[at] != Kind.REPORT:
                continue
            own, exec_type, flags, kind = frame[at + 112 : at + 148], frame[at + 3], frame[at + 5], frame[at + 6]
            place = flags & ReportFlag.FROM_SENDER, frame[at + 8 : at + 16]
            if not kind or (place in self._seen and any(place[1])):
                continue
            self._seen.add(place)
            self.unanswered.pop(own, None)
            if exec_type in _ACCEPTED:
                self.accepted.add(own)
            if flags & ReportFlag.FINAL:
                self.finals[own] += 1
                self.open.pop(own, None)

    # -- the end ----------------------------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Has everything its final answer?"""
        return not self.open
