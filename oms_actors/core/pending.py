"""What the sender's core keeps: an Order for every NEW, a Change for every change of an order that was sent.

A million orders may wait, so an Order holds only what all or most have; what few have (several other ids, a doubt) is
in an `Extra` of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from oms_actors.core.order import STATUS, Phase
from oms_actors.messages import Kind, ReportFlag
from oms_actors.record import AT_ORDER_NUMBER, AT_SYMBOL, AT_UPSTREAM, KEY

MS = 1_000_000
VALUES = struct.Struct("<qqq")  # quantity, price, stop price at 48
U64 = struct.Struct("<Q")
TIMES = struct.Struct("<qq")  # send and receive time at 32
DONE_WINDOW = 100_000
"""How many finished orders stay known by their ids, for answers that come late."""

QUEUED, SENT, WORKING, IN_DOUBT = int(Phase.QUEUED), int(Phase.SENT), int(Phase.WORKING), int(Phase.IN_DOUBT)
FILLED = FIRST_DONE = int(Phase.FILLED)
FINAL, FROM_SENDER, FROM_VENUE = int(ReportFlag.FINAL), int(ReportFlag.FROM_SENDER), int(ReportFlag.FROM_VENUE)
LATE, UNMATCHED, HAS_TEXT = int(ReportFlag.LATE), int(ReportFlag.UNMATCHED), int(ReportFlag.HAS_TEXT)
NEW, MODIFY, CANCEL = int(Kind.NEW), int(Kind.MODIFY), int(Kind.CANCEL)

RETRY, BEHIND, KILLED, SCOPED = 1, 2, 3, 4
"""Why an item stands aside (`held`): until its next attempt, behind a replace or a doubt, under the kill switch, at
the limit of its account or symbol."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """What the configuration decides; times in ns, 0 = never."""

    after_send_forward: bool = True
    modify_loses_place: bool = False
    max_queue_age_ns: int = 0
    ack_timeout_ns: int = 10_000 * MS
    retries: int = 3
    retry_delay_ns: int = 100 * MS
    counted: frozenset[int] = frozenset((NEW, MODIFY, CANCEL))
    cancel_lane: bool = False
    query_settle_ns: int = 500 * MS
    query_interval_ns: int = 500 * MS
    query_attempts: int = 3
    resends: int = 10
    """So often a request in doubt goes out again by itself."""
    crossing: bool = False
    deduplicates: bool = False
    """The exchange recognises a client order id that it has seen."""


Fields = tuple[Any, ...]
"""A report record, unpacked by REPORT_KEYED."""
COUNTERS = (
    "received", "sent", "responses", "matched", "unmatched", "rejected", "venue_rejects", "fills", "duplicate_fills",
    "late", "illegal", "doubts", "canceled_in_queue", "modified_in_queue",
    "crossed", "overfilled",
)  # fmt: skip


class Extra(msgspec.Struct, eq=False, gc=False):
    """What only some orders have. One that has none is as its request says."""

    internal: int = 0
    """Of the executed quantity: crossed before it was sent, unknown to the exchange."""
    ahead: int = 0
    """Filled by a query's word, the executions still to come; at `ahead_price`."""
    ahead_price: int = 0
    chain: bytes | list[bytes] | None = None
    """Accepted ids after the first; one alone stands for itself (most that are modified are modified once)."""
    venue_key: bytes = b""
    """The key that the exchange knows, if a replace has changed it."""
    resend: bool = False
    """Goes out again, marked as a possible resend."""

    def accept(self, key: bytes) -> None:
        """Another id at the chain's end."""
        chain = self.chain
        if chain is None:
            self.chain = key
        elif isinstance(chain, bytes):
            self.chain = [chain, key]
        else:
            chain.append(key)


class Order(msgspec.Struct, eq=False, gc=False):
    """A NEW and what became of it.

    A struct, because a desk makes and drops a hundred thousand of them a second: it is made in C and the garbage
    collector does not look at it. (A circle through a Change is opened when the change is answered.) What a change of a
    waiting order looks at comes first: where a million wait, each line of the cache is dear.
    """

    record: bytes
    key: bytes
    """Account | client order id (52 bytes), the last accepted one."""
    quantity: int
    price: int
    stop_price: int
    phase: int = QUEUED
    cum: int = 0
    pending: list[Change] | None = None
    extra: Extra | bytes | None = None
    """None: it is as its request says. One that has been modified and has no more to tell has its other id here."""
    value: int = 0
    """Sum of quantity times price of all executions, exact."""
    sent_ns: int = 0
    attempt: int = 0
    stale: int = 0
    held: int = 0
    """Waits outside of the line, and why."""
    answered: bool = False
    exec_ids: bytes | set[bytes] | None = None
    """Of its executions; one alone stands for itself, as most orders have no more."""

    kind: ClassVar[int] = NEW

    def own(self) -> Extra:
        """Its Extra, to write to."""
        extra = self.extra
        if not isinstance(extra, Extra):
            extra = self.extra = Extra(chain=extra)
        return extra

    @property
    def more(self) -> Extra | None:
        """Its Extra, to look at."""
        extra = self.extra
        return Extra(chain=extra) if isinstance(extra, bytes) else extra

    def accept(self, key: bytes) -> None:
        """Another id, the last one from now on."""
        self.key = key
        if self.extra is None:
            self.extra = key
        else:
            self.own().accept(key)

    def executed(self, exec_id: bytes) -> None:
        """Another execution's id."""
        known = self.exec_ids
        if known is None:
            self.exec_ids = exec_id
        elif isinstance(known, bytes):
            self.exec_ids = {known, exec_id}
        else:
            known.add(exec_id)

    def has_execution(self, exec_id: bytes) -> bool:
        """Is an execution of that id known?"""
        known = self.exec_ids
        return known == exec_id if isinstance(known, bytes) else known is not None and exec_id in known

    @property
    def executions(self) -> list[bytes]:
        """The ids of its executions, sorted."""
        known = self.exec_ids
        return [known] if isinstance(known, bytes) else sorted(known or ())

    @executions.setter
    def executions(self, ids: Collection[bytes]) -> None:
        self.exec_ids = next(iter(ids)) if len(ids) == 1 else set(ids) or None

    def waits(self) -> bool:
        """Still to be sent?"""
        return self.phase == QUEUED

    @property
    def first(self) -> bytes:
        """The key under which it came."""
        return self.record[KEY]

    @property
    def venue_key(self) -> bytes:
        """The key under which the exchange knows it."""
        extra = self.extra
        return (extra.venue_key if isinstance(extra, Extra) else b"") or self.record[KEY]

    @property
    def chain(self) -> list[bytes]:
        """Accepted ids after the first."""
        chain = self.extra.chain if isinstance(self.extra, Extra) else self.extra
        return [chain] if isinstance(chain, bytes) else chain or []

    @property
    def internal(self) -> int:
        """Of the executed quantity: crossed inside."""
        return self.extra.internal if isinstance(self.extra, Extra) else 0

    @property
    def resend(self) -> bool:
        """Goes out again, marked as a possible resend?"""
        return isinstance(self.extra, Extra) and self.extra.resend

    @resend.setter
    def resend(self, yes: bool) -> None:
        if yes or self.extra is not None:
            self.own().resend = yes

    @property
    def number(self) -> int:
        """Intake's sequence of the NEW."""
        return int.from_bytes(self.record[AT_ORDER_NUMBER : AT_ORDER_NUMBER + 8], "little")

    @property
    def upstream(self) -> int:
        """Whose it is."""
        return int.from_bytes(self.record[AT_UPSTREAM : AT_UPSTREAM + 4], "little")

    @property
    def symbol(self) -> bytes:
        """Padded."""
        return self.record[AT_SYMBOL : AT_SYMBOL + 16]

    @property
    def account(self) -> bytes:
        """Padded."""
        return self.record[80:96]

    @property
    def replacing(self) -> Change | None:
        """The replace that is at the exchange."""
        for change in self.pending or ():
            if change.kind == MODIFY and change.phase != QUEUED:
                return change
        return None

    @property
    def canceling(self) -> bool:
        """Has a cancel been accepted that is not answered?"""
        return self.pending is not None and any(change.kind == CANCEL for change in self.pending)

    @property
    def status(self) -> int:
        """OrdStatus."""
        if not self.pending:
            return STATUS[self.phase << 3 | (self.cum > 0) << 2]
        canceling = self.canceling
        replacing = any(change.kind == MODIFY for change in self.pending)
        return STATUS[self.phase << 3 | (self.cum > 0) << 2 | replacing << 1 | canceling]


# msgspec stores as Python does and then asks whether the garbage collector ought to know, which here it never ought.
# The interpreter stores straight into a slot only where a type has Python's own way: a quarter of the time, and so few
# steps that the processor fetches the next order meanwhile. (The type takes it over once it has both.)
type.__setattr__(Order, "__delattr__", object.__delattr__)
type.__setattr__(Order, "__setattr__", object.__setattr__)


def order_of(record: bytes) -> Order:
    """The order that a NEW record of intake's journal begins."""
    return Order(record, record[KEY], *VALUES.unpack_from(record, 48))


class Change:
    """A MODIFY or CANCEL of an order that has been sent. WORKING: the exchange has acknowledged the request."""

    __slots__ = ("attempt", "held", "key", "kind", "order", "phase", "record", "resend", "sent_ns", "stale")

    def __init__(self, order: Order, record: bytes) -> None:
        self.order, self.record, self.kind = order, record, record[0]
        self.key = record[KEY]
        self.phase = QUEUED
        self.sent_ns = self.attempt = self.stale = 0
        self.held = 0
        self.resend = False

    def waits(self) -> bool:
        """Still to be sent?"""
        return self.phase == QUEUED

    @property
    def upstream(self) -> int:
        """Who asked."""
        return int.from_bytes(self.record[AT_UPSTREAM : AT_UPSTREAM + 4], "little")


Pending = Order | Change
