"""A sender's core by hand: its journal is a list, the exchange says what a test wants, time moves only when told to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from oms_actors.core.pending import SenderSettings
from oms_actors.core.recovery import requests_of
from oms_actors.core.reports import report
from oms_actors.core.risk import NO_LIMITS, Risk, RiskLimits
from oms_actors.core.scopes import ScopeLimit, Scopes
from oms_actors.core.sender import Sender
from oms_actors.core.snapshot import dump, load
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.errors import Reason
from oms_actors.messages import (
    CancelOrder,
    Kind,
    ModifyOrder,
    NewOrder,
    Outcome,
    Report,
    ReportFlag,
    Request,
    ResponseType,
    SessionEvent,
)
from oms_actors.record import SESSION, VERSION, decode_report, encode, encode_text, key_of, records

MS = 1_000_000
ONE = 10**8


class Bench:
    """One core, its journal and what it has sent and said. `rate`: calls per second; `limits`: risk."""

    def __init__(
        self, rate: int = 100, limits: RiskLimits = NO_LIMITS, scopes: tuple[ScopeLimit, ...] = (), **changes: object
    ) -> None:
        self.settings = replace(SenderSettings(), **changes)  # type: ignore[arg-type]
        self.rate, self.limits, self.scopes = rate, limits, scopes
        self.core = self.fresh()
        self.now = 1_000 * MS
        self.wall = 10**18
        self.admitted: list[bytes] = []
        self.journal: list[tuple[bytes, int, int, int]] = []
        self.sent: list[bytes] = []
        self.reports: list[Report] = []

    def fresh(self) -> Sender:
        """A core that knows nothing yet."""
        limit = ThrottleLimit(rate=self.rate)
        return Sender(self.settings, Throttle(limit), Risk(self.limits), Scopes(self.scopes))

    def request(self, request: Request | bytes, upstream: int = 1, reason: int = 0) -> bytes:
        """As intake's journal holds it (bytes: another record of intake's)."""
        sequence = len(self.admitted) + 1
        if isinstance(request, bytes):
            self.admitted.append(request)
            return request
        record = bytearray(encode(request))
        record[8:16] = sequence.to_bytes(8, "little")
        record[16:20] = upstream.to_bytes(4, "little")
        record[28:30] = reason.to_bytes(2, "little")
        record[40:48] = self.now.to_bytes(8, "little")
        if record[0] == Kind.NEW:
            record[184:192] = sequence.to_bytes(8, "little")
        self.admitted.append(bytes(record))
        return bytes(record)

    def requests(self, begin: int = 0, end: int | None = None) -> list[bytes]:
        """Those of intake's records that are admitted requests."""
        return list(requests_of(b"".join(self.admitted[begin:end])))

    def cycle(
        self, *requests: Request | bytes, heard: Iterable[bytes] = (), outcome: Outcome = Outcome.SENT, ms: int = 1,
        release: int = 1000, upstream: int = 1, reason: int = 0, again: Iterable[str] = (),
    ) -> list[Report]:  # fmt: skip
        """One cycle; returns the reports that it made. `again`: ids that come again, marked as possible resends."""
        self.now += ms * MS
        self.wall += ms * MS
        core = self.core
        core.begin(self.now, self.wall)
        if requests:
            core.take(b"".join([self.request(r, upstream, reason) for r in requests]))
        for name in again:
            core.take(self.request(new(name, possible_resend=True), upstream, Reason.DUPLICATE_CLIENT_ORDER_ID))
        for record in heard:
            core.respond(record, encode_text(0, "so it is") if record[5] & ReportFlag.HAS_TEXT else None)
        core.tick()
        core.go_on(1000)
        core.match(1000)
        if release:
            core.release(release)
        return self._flush_and_call(outcome)

    def _flush_and_call(self, outcome: Outcome) -> list[Report]:
        core = self.core
        payload, _ = core.taken()
        self.journal.append((payload, len(self.admitted), core.now, core.wall))
        calls, core.calls = core.calls, []
        for sequence, item, record in calls:
            self.sent.append(record)
            core.returned(self.now, self.now, sequence, item, outcome)
        core.put_away()
        new = [decode_report(r) for r in records(payload) if r[0] == Kind.REPORT]
        self.reports += new
        return new

    def replayed(self, core: Sender | None = None, snapshot_after: int = -1) -> Sender:
        """Another core, from the journals; `snapshot_after` so many frames it goes on as yet another one."""
        core, done = core or self.fresh(), 0
        for number, (payload, consumed, mono, wall) in enumerate(self.journal):
            if number == snapshot_after:
                data = msgspec.msgpack.decode(msgspec.msgpack.encode(dump(core)))
                base, core = core.base, self.fresh()
                core.base = base
                assert load(core, data)
            core.begin(mono, wall)
            core.replay(payload, self.requests(done, consumed))
            done = consumed
        return core


def said(
    kind: ResponseType, client_order_id: str, quantity: int = 0, price: int = 0, exec_id: str = "", account: str = ""
) -> bytes:
    """A record of the exchange."""
    return report(
        key=key_of(account, client_order_id), exec_type=0, ord_status=0, response_type=kind,
        last_quantity=quantity * ONE, last_price=price * ONE, exec_id=exec_id.encode().ljust(24, b"\0"),
    )  # fmt: skip


def new(name: str = "A", quantity: int = 10, price: int | None = 5, **more: Any) -> NewOrder:
    """A NEW; buys X unless told otherwise."""
    fields: dict[str, Any] = {"symbol": "X", "side": "BUY", "quantity": quantity, "price": price} | more
    return NewOrder(client_order_id=name, **fields)


def sell(name: str, quantity: int, price: int) -> NewOrder:
    """A NEW that sells."""
    return new(name, quantity, price, side="SELL")


def modify(name: str, orig: str, **values: Any) -> ModifyOrder:
    """A MODIFY of the order `orig`."""
    return ModifyOrder(client_order_id=name, orig_client_order_id=orig, **values)


def cancel(name: str, orig: str, **more: Any) -> CancelOrder:
    """A CANCEL of the order `orig`."""
    return CancelOrder(client_order_id=name, orig_client_order_id=orig, **more)


def rolled_to(trade_date: int) -> bytes:
    """Intake's word that another trade date has begun."""
    return SESSION.pack(Kind.SESSION, VERSION, SessionEvent.ROLL, 0, 0, 0, 0, 0, trade_date, b"")


def sent_ids(bench: Bench) -> list[str]:
    """What the exchange has got, in order."""
    return [record[96:132].rstrip(b"\0").decode() for record in bench.sent]


