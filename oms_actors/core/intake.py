"""Intake's core: which requests are admitted.

Theory of operation. State is what the journals say: the ids used on this trade date, the orders that wait in the
sender's queue, the upstreams with their places. It changes by `apply` (a frame of intake's journal) and `departed` (a
frame of the sender's), live and at a restart alike. In between a `Batch` decides about the requests of one cycle,
against the state and its own earlier decisions; it becomes a frame's payload. If the frame cannot be written the batch
is forgotten, and nothing has happened.

A request is journalled as it came, with our stamps: `sequence` (its own), `upstream`, `receive_time_ns`,
`order_number` (of a NEW: its sequence), `reason` and `field` (0 = admitted), and in `epoch` the low bits of its place
in the upstream's ring, so that a restarted intake knows what it has had. A refused one is followed by a REPORT, its
final answer. What does not decode is a RAW record with such a REPORT.

Ids. A client order id is used up by an admitted request until a ROLL record begins the next trade date (orders that are
carried over keep theirs: `core.carried`); a refused one may be tried again under the same id. A request marked possible
resend whose id is known changes nothing: it is journalled as a duplicate, with a report for the journal's readers only,
and the sender answers it with the order's state.

Plain requests are decided by columns, all at once; where that cannot be, the halves are tried, and what remains goes
one by one. Both ways decide the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from oms_actors.core.answers import Run, acceptance, acceptances, departed, reasons, refusal_status, reports_of, runs
from oms_actors.core.carried import Carried
from oms_actors.core.exposure import Exposure
from oms_actors.core.hours import SessionState
from oms_actors.core.reports import report
from oms_actors.core.requests import CANCEL, MODIFY, NEW, Fault, Plain, broken_rule, is_plain_new, undecodable
from oms_actors.core.risk import Risk
from oms_actors.errors import Field, Reason
from oms_actors.messages import ExecType, Flag, Kind, OrdStatus, ReportFlag, SessionEvent, Side
from oms_actors.record import (
    AT_FLAGS,
    AT_ORDER_NUMBER,
    AT_ORIG,
    AT_PRICE,
    AT_QUANTITY,
    AT_SYMBOL,
    KEY,
    KEY_BYTES,
    RAW,
    REPORT_BYTES,
    REQUEST_BYTES,
    REQUEST_FRAME_BYTES_MAX,
    SESSION,
    VERSION,
)

UPSTREAM = struct.Struct("<BBHIQQ64sQQ152x")
"""record.UPSTREAM with two more fields from its reserve: the ring's token and the place in it."""
HERE, LEAVES, GONE = 0, 1, 2
"""State of an UPSTREAM record. LEAVES is said once: its orders are to be canceled; from then on it is GONE until it
is HERE again."""
PLACE_BYTES = 16
"""Places in a ring are multiples of this, in bytes since the ring was made."""
_PLACES = 1 << 32
_WORDS = REQUEST_BYTES // 8
_STAMP = struct.Struct("<QIIIHH")  # sequence, upstream, session, epoch, reason, field at byte 8
_KEPT = struct.Struct("<6sHQIIIHH8sq136sQ")
"""A request: head | partition, sequence, upstream, session, epoch, reason, field | send time | receive time | what it
asks for | order number. What stands between bars is ours."""
_FEW, _TOO_FEW = 32, 2
"""So many requests are not worth another try at once; so many are not worth the first."""


class Piece(NamedTuple):
    """Requests of one upstream as they came from its ring; `place` is where the ring goes on behind them."""

    upstream: int
    place: int
    data: bytes


class Answer(NamedTuple):
    """Reports for an upstream. All of intake's sequences up to `sequence` are then said to it."""

    upstream: int
    sequence: int
    reports: bytes | bytearray


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What the configuration decides."""

    capacity: int = 1_000_000
    """Orders that may wait."""
    refused_while_closed: frozenset[int] = frozenset((NEW, MODIFY, CANCEL))


@dataclass(slots=True)
class Upstream:
    """What the journal knows of an upstream."""

    number: int
    name: bytes
    token: int = 0
    """Of the ring it has now."""
    place: int = 0
    """How far that ring has been taken in."""
    committed: tuple[int, int] = (0, 0)
    """It has taken all reports up to these sequences of intake's and of the sender's."""
    state: int = HERE
    """As in its record."""


@dataclass(slots=True)
class Intake:
    """One state."""

    rules: IntakeRules = field(default_factory=IntakeRules)
    trade_date: int = 0
    """yyyymmdd; 0 until the first is known. Only a ROLL record changes it, and only to a later one."""
    ids: set[bytes] = field(default_factory=set)
    """Used on this trade date."""
    carried: Carried = field(default_factory=Carried)
    waiting: set[int] = field(default_factory=set)
    """Order numbers in the sender's queue, or on the way there."""
    upstreams: dict[int, Upstream] = field(default_factory=dict)
    exposure: Exposure = field(default_factory=lambda: Exposure(Risk()), compare=False)

    def batch(self, sequence: int, now_ns: int, wall_ns: int, session: SessionState) -> Batch:
        """A cycle's decisions; `sequence` is the journal's next."""
        return Batch(self, sequence, now_ns, wall_ns, session)

    def admit_alone(
        self, upstream: int, place: int, record: bytes, sequence: int, now_ns: int, is_open: bool
    ) -> bytes:  # fmt: skip
        """The record that admits a plain order that has come alone (upstream and place as in `Piece`); b"" where there
        may be something to say against it. It decides as a `Batch` does one by one, in a fraction of the time: who
        sends one order at a time waits for each."""
        key, exposure, carried = record[KEY], self.exposure, self.carried
        if (
            not is_plain_new(record)
            or key in self.ids
            or not (is_open or NEW not in self.rules.refused_while_closed)
            or exposure.watching or exposure.risk.enabled
            or ((carried.keys or carried.before) and carried.knows(key))
            or len(self.waiting) >= self.rules.capacity
        ):  # fmt: skip
            return b""
        return _KEPT.pack(
            record[:6], 0, sequence, upstream, 0, place // PLACE_BYTES % _PLACES, 0, 0, record[32:40], now_ns,
            record[48:184], sequence,
        )  # fmt: skip

    def departed(self, found: list[Run], now_ns: int) -> list[int]:
        """Takes in a frame of the sender's journal (as runs): what has left the queue makes room. Returns the
        upstreams that the guard against repeated executions stops with it; `now_ns` is the frame's (monotonic)."""
        if self.waiting:
            self.waiting -= departed(found)
        self.carried.departed(found)
        return self.exposure.heard(found, now_ns) if self.exposure.watching else []

    def replay(self, payload: bytes, sequence: int) -> None:
        """`apply` at a restart, when nothing has been counted while it was decided."""
        self.apply(payload, sequence)
        if self.exposure.watching:
            self.exposure.replay(payload)

    def apply(self, payload: bytes, sequence: int) -> None:
        """Takes in a frame of intake's journal; `sequence` is that of its first record."""
        if len(payload) == REQUEST_BYTES:  # an order that came alone
            self._apply_request(payload, sequence)
            return
        for kinds, data in runs(payload):
            kind = kinds[0]
            if kind in (NEW, MODIFY, CANCEL):
                self._apply_requests(kinds, data, sequence)
            elif kind == Kind.RAW:
                _, _, _, number, _, _, place, _ = RAW.unpack(data)
                self.upstreams[number].place = place
            elif kind == Kind.UPSTREAM:
                self._apply_upstream(data)
            elif kind == Kind.SESSION:
                self._apply_roll(data)
            sequence += len(kinds)

    def _apply_request(self, record: bytes, sequence: int) -> None:
        """As `_apply_requests` for one."""
        _, _, _, number, _, epoch, reason, _, _, _, _, _ = _KEPT.unpack(record)
        if not reason:
            self.ids.add(record[KEY])
            if record[0] == NEW:
                self.waiting.add(sequence)
        self._moved(number, epoch)

    def _moved(self, number: int, epoch: int) -> None:
        """An upstream's ring has been taken in up to a place, of which a record keeps the low bits."""
        upstream = self.upstreams[number]
        upstream.place += (epoch - upstream.place // PLACE_BYTES) % _PLACES * PLACE_BYTES

    def _apply_requests(self, kinds: bytes, data: bytes, sequence: int) -> None:
        keys = [data[at : at + KEY_BYTES] for at in range(KEY.start, len(data), REQUEST_BYTES)]
        refused = reasons(data)
        if any(refused):
            self.ids.update(key for key, reason in zip(keys, refused, strict=True) if not reason)
            records = zip(count(sequence), kinds, refused)
            self.waiting.update(n for n, kind, reason in records if kind == NEW and not reason)
        else:
            self.ids.update(keys)
            self.waiting.update(n for n, kind in enumerate(kinds, sequence) if kind == NEW)
        with memoryview(data).cast("I") as words:
            numbers, places = words[4 :: 2 * _WORDS].tolist(), words[6 :: 2 * _WORDS].tolist()
        for number, place in dict(zip(numbers, places, strict=True)).items():
            self._moved(number, place)

    def _apply_upstream(self, record: bytes) -> None:
        _, _, state, number, intakes, senders, name, token, place = UPSTREAM.unpack(record)
        upstream = self.upstreams.setdefault(number, Upstream(number, name.rstrip(b"\0")))
        upstream.token, upstream.place, upstream.committed = token, place, (intakes, senders)
        upstream.state = GONE if state else HERE

    def _apply_roll(self, record: bytes) -> None:
        """A trade date begins. What came before the first one that is known counts as its own."""
        _, _, _, _, _, _, _, _, date, _ = SESSION.unpack(record)
        if self.trade_date:
            self.carried.roll(date, self.ids)
            self.ids = set()
        self.trade_date = date

    def knows(self, key: bytes) -> bool:
        """Is this id in use?"""
        return key in self.ids or self.carried.knows(key)

    def named(self, name: bytes) -> Upstream | None:
        """The upstream of that name, if it was ever here."""
        return next((upstream for upstream in self.upstreams.values() if upstream.name == name), None)


def upstream_record(upstream: Upstream) -> bytes:
    """The UPSTREAM record that says all this."""
    return UPSTREAM.pack(
        Kind.UPSTREAM, VERSION, upstream.state, upstream.number, *upstream.committed, upstream.name, upstream.token,
        upstream.place,
    )  # fmt: skip


class Batch:
    """The decisions of one cycle. `payload()` is what they are in the journal."""

    def __init__(self, core: Intake, sequence: int, now_ns: int, wall_ns: int, session: SessionState) -> None:
        self.core, self.now_ns, self.wall_ns = core, now_ns, wall_ns
        self.sequence = self.first = sequence
        """Of the next record, of the first."""
        self.accepted = self.rejected = self.malformed = 0
        self._told: list[Callable[[], Iterable[Answer]]] = []  # makes the answers, once there is time for them
        self._parts: list[bytes | bytearray] = []
        self._ids: set[bytes] = set()
        self._waiting = 0
        self._closed = frozenset() if session.is_open_at(wall_ns) else core.rules.refused_while_closed
        self._next_open_ns = session.next_open_ns

    @property
    def records(self) -> int:
        """How many there are in the payload."""
        return self.sequence - self.first

    def payload(self) -> bytes:
        """All of it, in order."""
        return b"".join(self._parts)

    def answers(self) -> Iterator[Answer]:
        """What it says to each upstream, once the payload is durable: made only now, for the sender need not wait."""
        for made in self._told:
            yield from made()

    def upstream(self, upstream: Upstream) -> None:
        """Notes an upstream's name, ring or progress."""
        self._append(upstream_record(upstream), 1)

    def roll(self, trade_date: int) -> None:
        """Begins a trade date; the record has a frame of its own, so that all others are of one date."""
        self._append(
            SESSION.pack(
                Kind.SESSION, VERSION, SessionEvent.ROLL, 0, self.wall_ns, self.now_ns, 0, 0, trade_date, b""
            ), 1,
        )  # fmt: skip

    def forget(self) -> None:
        """It could not be journalled: nothing has happened."""
        if self.core.exposure.watching:
            self.core.exposure.undo(self.payload())

    def take(self, pieces: list[Piece]) -> None:
        """Decides about requests in the order of their arrival."""
        pieces = [piece for piece in pieces if piece.data]
        if len(pieces) == 1 and len(pieces[0].data) == REQUEST_BYTES and self._admit_one(pieces[0]):
            return
        if sum(len(piece.data) for piece in pieces) <= _TOO_FEW * REQUEST_BYTES:
            for piece in pieces:
                self._one_by_one(piece)
            return
        whole = not any(len(p.data) % REQUEST_BYTES or len(p.data) > REQUEST_FRAME_BYTES_MAX for p in pieces)
        if len(pieces) == 1 or not whole or not self._admit(pieces):
            for piece in pieces:
                self._take(piece)

    def _take(self, piece: Piece) -> None:
        if len(piece.data) > REQUEST_FRAME_BYTES_MAX:
            self.garbage(piece, Fault(Reason.TOO_LARGE, Field.RECORD, len(piece.data), REQUEST_FRAME_BYTES_MAX))
            return
        if self._admit([piece]):
            return
        half = len(piece.data) // REQUEST_BYTES // 2 * REQUEST_BYTES
        if self._closed or self.core.exposure.active or half <= _FEW // 2 * REQUEST_BYTES:
            self._one_by_one(piece)
        else:
            self._take(piece._replace(data=piece.data[:half]))
            self._take(piece._replace(data=piece.data[half:]))

    # -- one alone ----------------------------------------------------------------------------------------------------

    def _admit_one(self, piece: Piece) -> bool:
        """Admits a plain order against which there is nothing to say, as `Intake.admit_alone` does."""
        kept = self.core.admit_alone(*piece, self.sequence, self.now_ns, NEW not in self._closed)
        if self._ids or not kept:
            return False
        number, sequence = piece.upstream, self.sequence
        self._ids.add(kept[KEY])
        self._waiting += 1
        self.accepted += 1
        self._append(kept, 1)
        self._told.append(lambda: (Answer(number, sequence, acceptance(kept, self.wall_ns)),))
        return True

    # -- all at once --------------------------------------------------------------------------------------------------

    def _admit(self, pieces: list[Piece]) -> bool:
        """If nothing at all is to be said against these requests, admits them; else leaves everything as it is."""
        data = bytearray().join([piece.data for piece in pieces])
        plain = Plain(data)
        kinds = plain.kinds
        news = kinds.count(NEW)
        if (
            self.core.exposure.active
            or not plain.ok
            or (self._closed and not self._closed.isdisjoint(kinds))
            or len(self.core.waiting) + self._waiting + news > self.core.rules.capacity
            or not self._are_new(plain.keys)
            or (news < len(kinds) and not self._are_known(plain))
        ):
            return False
        self._stamp(data, kinds, pieces)
        self._ids.update(plain.keys)
        self._waiting += news
        self.accepted += len(kinds)
        first = self.sequence
        self._append(data, len(kinds))
        self._told.append(lambda: self._split(pieces, acceptances(kinds, data, self.wall_ns), first - 1))
        return True

    def _are_new(self, keys: list[bytes]) -> bool:
        found = set(keys)
        core = self.core
        return (
            len(found) == len(keys) and found.isdisjoint(core.ids) and found.isdisjoint(self._ids)
            and core.carried.disjoint(found)
        )  # fmt: skip

    def _are_known(self, plain: Plain) -> bool:
        """Does every change name an id that was there before it?"""
        known, here = self.core.ids, self._ids
        missing = [(i, key) for i, key in plain.origs() if key not in known and key not in here]
        if not missing:
            return True
        first, carried = dict(zip(plain.keys, count())), self.core.carried
        return all(first.get(key, i) < i or carried.knows(key) for i, key in missing)

    def _stamp(self, data: bytearray, kinds: bytes | bytearray, pieces: list[Piece]) -> None:
        total, sequence = len(kinds), self.sequence
        numbers, places = bytearray(), bytearray()
        for number, place, part in pieces:
            times = len(part) // REQUEST_BYTES
            numbers += number.to_bytes(8, "little") * times
            places += (place // PLACE_BYTES % _PLACES).to_bytes(8, "little") * times
        sequences = struct.pack(f"<{total}Q", *range(sequence, sequence + total))
        data[6::REQUEST_BYTES] = data[7::REQUEST_BYTES] = bytes(total)
        with memoryview(data).cast("Q") as words:
            words[1::_WORDS] = memoryview(sequences).cast("Q")
            words[2::_WORDS] = memoryview(numbers).cast("Q")
            words[3::_WORDS] = memoryview(places).cast("Q")
            words[5::_WORDS] = memoryview(self.now_ns.to_bytes(8, "little") * total).cast("Q")
            if kinds.count(NEW) < total:
                order_numbers = [n if kind == NEW else 0 for n, kind in enumerate(kinds, sequence)]
                sequences = struct.pack(f"<{total}Q", *order_numbers)
            words[_WORDS - 1 :: _WORDS] = memoryview(sequences).cast("Q")

    @staticmethod
    def _split(pieces: list[Piece], reports: bytearray, sequence: int) -> Iterator[Answer]:
        """To each upstream its own reports; `sequence` is the one before their first."""
        begin = 0
        for number, _, part in pieces:
            requests = len(part) // REQUEST_BYTES
            end = begin + requests * REPORT_BYTES
            sequence += requests
            yield Answer(number, sequence, reports if len(pieces) == 1 else reports[begin:end])
            begin = end

    # -- one by one ---------------------------------------------------------------------------------------------------

    def garbage(self, piece: Piece, fault: Fault) -> None:
        """Keeps the beginning of bytes that are no requests at all, and answers once."""
        mark = len(self._parts)
        self._raw(piece, piece.data[:REQUEST_BYTES], fault)
        self._answer(piece, mark)

    def _one_by_one(self, piece: Piece) -> None:
        mark = len(self._parts)
        for at in range(0, len(piece.data), REQUEST_BYTES):
            record = piece.data[at : at + REQUEST_BYTES]
            fault = undecodable(record)
            if fault is not None:
                self._raw(piece, record, fault)
                continue
            fault = self._fault_of(record, piece.upstream)
            if self.core.exposure.watching:
                reason = fault.reason if fault else 0
                self.core.exposure.came(record, piece.upstream, reason, self.sequence, self.now_ns)
            if fault is None:
                self._keep(piece, record)
            else:
                self._refuse(piece, record, fault)
        self._answer(piece, mark)

    def _answer(self, piece: Piece, mark: int) -> None:
        """What the records since `mark` say to their upstream."""
        end, last = len(self._parts), self.sequence - 1
        self._told.append(lambda: (self._answer_of(piece, b"".join(self._parts[mark:end]), last),))

    def _answer_of(self, piece: Piece, part: bytes, last: int) -> Answer:
        return Answer(piece.upstream, last, b"".join(reports_of(runs(part), self.wall_ns)))

    def _fault_of(self, record: bytes, upstream: int) -> Fault | None:
        """What is to be said against a request that decodes."""
        kind, key, core = record[0], record[KEY], self.core
        fault = broken_rule(record)
        if fault is not None:
            return fault
        if core.knows(key) or key in self._ids:
            return Fault(Reason.DUPLICATE_CLIENT_ORDER_ID, Field.CLIENT_ORDER_ID)
        if kind != NEW:
            orig = record[80:96] + record[132:168]
            if not core.knows(orig) and orig not in self._ids:
                return Fault(Reason.UNKNOWN_ORDER, Field.ORIG_CLIENT_ORDER_ID)
        if kind in self._closed:
            return Fault(Reason.OUT_OF_HOURS, Field.SESSION, 0, self._next_open_ns)
        waiting = len(core.waiting) + self._waiting
        if kind == NEW and waiting >= core.rules.capacity:
            return Fault(Reason.QUEUE_FULL, Field.QUEUE, waiting, core.rules.capacity)
        return core.exposure.fault(record, upstream, self.now_ns) if core.exposure.active else None

    def _keep(self, piece: Piece, record: bytes) -> None:
        self._ids.add(record[KEY])
        self._waiting += record[0] == NEW
        self.accepted += 1
        self._append(self._stamped(piece, record, 0, 0), 1)

    def _refuse(self, piece: Piece, record: bytes, fault: Fault) -> None:
        number = self.sequence if record[0] == NEW else 0
        self._append(self._stamped(piece, record, fault.reason, fault.field), 1)
        self._append(refusal(record, fault, self.sequence, piece.upstream, self.wall_ns, number), 1)
        self.rejected += 1

    def _raw(self, piece: Piece, record: bytes, fault: Fault) -> None:
        raw = RAW.pack(
            Kind.RAW, VERSION, len(record), piece.upstream, self.sequence, self.wall_ns, piece.place, record
        )
        self._append(raw, 1)
        self._append(refusal(record, fault, self.sequence, piece.upstream, self.wall_ns), 1)
        self.malformed += 1

    def _stamped(self, piece: Piece, record: bytes, reason: int, field: int) -> bytearray:
        kept = bytearray(record)
        kept[6:8] = b"\0\0"
        place = piece.place // PLACE_BYTES % _PLACES
        _STAMP.pack_into(kept, 8, self.sequence, piece.upstream, 0, place, reason, field)
        kept[40:48] = self.now_ns.to_bytes(8, "little")
        kept[184:192] = (self.sequence if kept[0] == NEW else 0).to_bytes(8, "little")
        return kept

    def _append(self, part: bytes | bytearray, records: int) -> None:
        self._parts.append(part)
        self.sequence += records


def refusal(record: bytes, fault: Fault, sequence: int, upstream: int, wall_ns: int, number: int = 0) -> bytes:
    """The REPORT that refuses a record, whatever bytes it has; for a known possible resend one that nobody is told.

    `sequence` is the report's (0 = it is not in the journal), `number` the order's.
    """
    record = record.ljust(REQUEST_BYTES, b"\0")
    kind = record[0] if NEW <= record[0] <= CANCEL else 0
    exec_type, ord_status = refusal_status(fault.reason, kind)
    flags, reason, where = int(ReportFlag.FINAL), int(fault.reason), int(fault.field)
    if reason == Reason.DUPLICATE_CLIENT_ORDER_ID and record[AT_FLAGS] & Flag.POSSIBLE_RESEND:
        exec_type, ord_status = ExecType.ORDER_STATUS, _ACCEPTED[kind]
        flags, reason, where = int(ReportFlag.POSSIBLE_DUPLICATE), 0, 0
    return report(
        key=record[KEY], exec_type=exec_type, ord_status=ord_status, flags=flags, request_kind=kind, sequence=sequence,
        upstream=upstream, reason=reason, field=where, time_ns=wall_ns, side=record[2] if record[2] <= Side.SELL else 0,
        quantity=_signed(record, AT_QUANTITY), price=_signed(record, AT_PRICE), orig=record[AT_ORIG:AT_SYMBOL],
        symbol=record[AT_SYMBOL:AT_ORDER_NUMBER], value=fault.value, limit=fault.limit, number=number,
    )  # fmt: skip


_ACCEPTED = {NEW: OrdStatus.PENDING_NEW, MODIFY: OrdStatus.PENDING_REPLACE, CANCEL: OrdStatus.PENDING_CANCEL}


def _signed(record: bytes, at: int) -> int:
    return int.from_bytes(record[at : at + 8], "little", signed=True)
