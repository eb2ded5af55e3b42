"""From journal frames to database rows.

Theory of operation. Frames go in (`intake`, `sender`), a batch of rows comes out (`take`), by shape: a table, some of
its columns, and whether a row may meet an older one with the same key (then its columns replace the old ones). Rows
carry the whole new value of what they name, so it does not matter how the journals were cut into batches: the last
word wins. An order is a row as it came (`new_orders`), which never changes, and a short one that says how it stands
(`order_states`), written once per batch however much has happened.

Frames are only sorted into kinds of records as they come. `take` then works off each kind for all frames together: what
every order has (the order itself, its send, its acknowledgement, its fills) by columns, which is several times as fast
as record by record; whatever is rarer takes the long way (`_odd_report`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import compress
from operator import add
from typing import NamedTuple

from oms_actors.core.columns import Columns, either, neither, rows_of, where, without
from oms_actors.messages import ExecType, Kind, OrdStatus, Outcome, ReportFlag
from oms_actors.record import (
    MATCH,
    RAW,
    REPORT,
    REPORT_BYTES,
    REQUEST_BYTES,
    RESULT,
    SESSION,
    SIZES,
    UPSTREAM,
    decode_text,
    text,
)

Values = list[object]
"""Rows one after the other, all of one shape: so the driver takes them. No None and no bytes where rows are many: it
takes six times as long for them as for int and str."""
State = tuple[int, int, int, int]


class Shape(NamedTuple):
    """Some columns of a table, its key first. Where a row with the same key exists, these columns get new values."""

    table: str
    columns: tuple[str, ...]
    keys: int = 1


_REFUSAL = ("reason", "field", "value", "limit_value")
_STATE = ("ord_status", "cum_quantity", "avg_price", "update_time_ns")

NEW_ORDERS = Shape("new_orders", (
    "order_number", "client_order_id", "account", "symbol", "upstream", "side", "order_type", "time_in_force", "flags",
    "quantity", "price", "stop_price", "expire_time_ns", "receive_time_ns",
))  # fmt: skip
ORDER_STATES = Shape("order_states", ("order_number", *_STATE))
ORDER_PENDING = Shape("order_states", ("order_number", "ord_status"))
ORDER_REASONS = Shape("order_states", ("order_number", *_REFUSAL))
ORDER_REPLACED = Shape("order_states", ("order_number", "current_client_order_id", "current_quantity", "current_price"))
CHANGES = Shape("changes", (
    "sequence", "kind", "client_order_id", "orig_client_order_id", "account", "symbol", "upstream", "side", "flags",
    "quantity", "price", "stop_price", "receive_time_ns",
))  # fmt: skip
CHANGE_REFUSED = Shape("changes", ("sequence", *_REFUSAL))
SENDS = Shape("sends", ("sequence", "order_number", "kind", "time_ns"))
CHANGE_SENDS = Shape("sends", ("sequence", "order_number", "kind", "time_ns", "client_order_id"))
SEND_RESULTS = Shape("sends", ("sequence", "outcome", "call_duration_ns"))
REPORTS = Shape("reports", (
    "sequence", "order_number", "exec_type", "response_type", "flags", "latency_ns", "time_ns", "ord_status",
))  # fmt: skip
ODD_REPORTS = Shape("reports", (
    *REPORTS.columns, "kind", "client_order_id", "orig_client_order_id", "account", "upstream", "quantity", "price",
    "exec_id", *_REFUSAL,
))  # fmt: skip
REPORT_TEXTS = Shape("reports", ("sequence", "text"))
ORDER_TEXTS = Shape("order_states", ("order_number", "text"))
EXECUTIONS = Shape("executions", (
    "sequence", "order_number", "exec_id", "quantity", "price", "flags", "latency_ns", "time_ns",
))  # fmt: skip
EXECUTION_TEXTS = Shape("executions", ("sequence", "text"))
SESSIONS = Shape("sessions", (
    "sequence", "event", "reason", "time_ns", "open_ns", "close_ns", "trade_date", "text",
))  # fmt: skip
RAW_INPUT = Shape("raw", ("origin", "sequence", "upstream", "time_ns", "data"), keys=2)
RAW_REFUSED = Shape("raw", ("origin", "sequence", *_REFUSAL), keys=2)
UPSTREAMS = Shape("upstreams", ("number", "name"))
MATCHES = Shape("matches", (
    "sequence", "time_ns", "buy_order_number", "sell_order_number", "symbol", "quantity", "price",
))  # fmt: skip
OWN_CANCELS = Shape("own_cancels", ("sequence", "client_order_id", "orig_client_order_id", "account", "time_ns"))

SHAPES = (
    NEW_ORDERS, ORDER_STATES, ORDER_PENDING, ORDER_REASONS, ORDER_REPLACED, ORDER_TEXTS, CHANGES, CHANGE_REFUSED, SENDS,
    CHANGE_SENDS, SEND_RESULTS, REPORTS, ODD_REPORTS, REPORT_TEXTS, EXECUTIONS, EXECUTION_TEXTS, SESSIONS, RAW_INPUT,
    RAW_REFUSED, UPSTREAMS, MATCHES, OWN_CANCELS,
)  # fmt: skip
"""In the order of writing. Two shapes of one table share no column but the key, except the status of an order, where
`Fold` keeps one last word."""

_CHANGE = struct.Struct("<BxB2xB2xQI20xqqqq8x16s36s36s16s8x")
"""kind, side, flags, sequence, upstream, receive_time_ns, quantity, price, stop_price, account, ids, symbol."""
# Where the fields of a request and of a report lie (see oms_actors.record).
_SIDE, _ORDER_TYPE, _TIME_IN_FORCE, _FLAGS, _SEQUENCE, _UPSTREAM = 2, 3, 4, 5, 8, 16
_RECEIVE, _QUANTITY, _PRICE, _STOP_PRICE, _EXPIRE = 40, 48, 56, 64, 72
_ACCOUNT, _OWN_ID, _SYMBOL, _NUMBER = 80, 96, 168, 184
_EXEC_TYPE, _STATUS, _RESPONSE, _REASON, _TIME, _LATENCY, _LAST_QUANTITY, _LAST_PRICE = 3, 4, 7, 28, 32, 40, 48, 56
_CUM, _AVERAGE, _ORIG, _EXEC_ID, _REPORT_NUMBER = 64, 80, 148, 200, 248

NEW, INTENT_NEW, INTENT_CANCEL = int(Kind.NEW), int(Kind.INTENT_NEW), int(Kind.INTENT_CANCEL)
TRADE, REPLACED, REJECTED = int(ExecType.TRADE), int(ExecType.REPLACED), int(ExecType.REJECTED)
RESTATED = int(ExecType.RESTATED)
NO_STATUS, REJECTED_STATUS = int(OrdStatus.NONE), int(OrdStatus.REJECTED)
PENDING_CANCEL, PENDING_REPLACE = int(OrdStatus.PENDING_CANCEL), int(OrdStatus.PENDING_REPLACE)
_ENDS = frozenset(map(int, (ExecType.REJECTED, ExecType.CANCELED, ExecType.EXPIRED, ExecType.DONE_UNKNOWN)))
"""Reports whose reason is why the order ended."""
_FOREIGN = int(ReportFlag.UNMATCHED | ReportFlag.POSSIBLE_DUPLICATE)
"""Stored as it came: says nothing about the order's state. So does a report without OrdStatus."""
_IS_FOREIGN = where(flags for flags in range(256) if flags & _FOREIGN)
_IS_ZERO, _IS_TEXT, _IS_TRADE, _IS_INTENT_NEW = where([0]), where(range(1, 256)), where([TRADE]), where([INTENT_NEW])
_KIND_OF_INTENT = bytes((value - 32) % 256 for value in range(256))
_FAMILIES = ((NEW,), (Kind.MODIFY, Kind.CANCEL), (INTENT_NEW, Kind.INTENT_MODIFY, INTENT_CANCEL))
_CHANGES, _INTENTS = frozenset(_FAMILIES[1]), frozenset(_FAMILIES[2])
_LIKE = {int(kind): bytes(family) for family in _FAMILIES for kind in family}
_STRETCH = 1024


def stretches(payload: bytes) -> Iterator[tuple[int, memoryview]]:
    """(kind, records) of every run of records that can be taken together; ValueError where no record is."""
    at, end, view = 0, len(payload), memoryview(payload)
    while at < end:
        kind = payload[at]
        size = SIZES[kind] << 5
        if not size:
            raise ValueError(f"no record at byte {at} of {end}: kind {kind}")
        kinds = payload[at : at + size * _STRETCH : size]
        count = len(kinds) - len(kinds.lstrip(_LIKE.get(kind) or kinds[:1]))
        stop = at + count * size
        if stop > end:
            raise ValueError(f"the record at byte {stop - size} sticks out of {end}")
        yield kind, view[at:stop]
        at = stop


class Fold:
    """Collects records until their rows are taken. `records`: how many went in since then."""

    def __init__(self) -> None:
        self.unknown = 0
        """Records that have no table, ever."""
        self._begin()

    def _begin(self) -> None:
        self.records = 0
        self._rows: dict[Shape, Values] = {shape: [] for shape in SHAPES}
        self._news: list[memoryview] = []
        self._ahead: list[int] = []  # for each NEW: UTC minus its frame's monotonic time
        self._intents: list[memoryview] = []
        self._intent_times: list[int] = []
        self._reports: list[memoryview] = []
        self._texts: list[tuple[int, str]] = []  # the report's sequence, the exchange's words
        self._states: dict[object, State] = {}
        self._pending: dict[int, tuple[int, int]] = {}  # order → (INTENT's sequence, status) of a change that went out

    def take(self) -> dict[Shape, Values]:
        """The rows since the last time, by shape in the order of writing; shapes without rows are left out."""
        rows = self._rows
        if self._news:
            self._take_news()
        if self._intents:
            self._take_intents()
        if self._reports:
            self._take_reports()
        self._settle_pending({})
        if self._states:
            rows[ORDER_STATES] = rows_of([list(self._states), *zip(*self._states.values(), strict=True)])
        self._begin()
        return {shape: values for shape, values in rows.items() if values}

    def keep(self, origin: str, sequence: int, wall_ns: int, payload: bytes) -> None:
        """A frame that is not made of records (a bug, or a newer program's): stored as it is."""
        self._rows[RAW_INPUT] += (origin, sequence, 0, wall_ns, payload)
        self.records += 1

    # -- intake's journal -------------------------------------------------------------------------------------------

    def intake(self, payload: bytes, wall_ns: int, mono_ns: int) -> None:
        """One frame of intake's journal with its times (UTC, monotonic). ValueError: not a frame of records."""
        ahead = wall_ns - mono_ns
        refused: tuple[Shape, tuple[object, ...]] | None = None  # where the details of a refusal go
        for kind, part in stretches(payload):
            count = len(part) // (SIZES[kind] << 5)
            self.records += count
            if kind == NEW:
                self._news.append(part)
                self._ahead += [ahead] * count
                refused = ORDER_REASONS, (int.from_bytes(part[_NUMBER - REQUEST_BYTES :], "little"),)
            elif kind in _CHANGES:
                refused = CHANGE_REFUSED, (self._changes(part, ahead),)
            elif kind == Kind.RAW:
                refused = RAW_REFUSED, ("intake", self._raw(part))
            elif kind == Kind.REPORT and refused is not None:
                self._refusal(*refused, part)
            elif kind == Kind.UPSTREAM:
                for _, _, _, number, _, _, name in UPSTREAM.iter_unpack(part):
                    self._rows[UPSTREAMS] += (number, text(name))
            elif kind != Kind.SESSION:  # a roll: the sender's journal says what became of it
                self.unknown += 1

    def _take_news(self) -> None:
        records = Columns(self._news, REQUEST_BYTES)
        self._rows[NEW_ORDERS] = rows_of((
            records.i64(_NUMBER), records.text(_OWN_ID, 36), records.text(_ACCOUNT, 16), records.text(_SYMBOL, 16),
            records.u32(_UPSTREAM), records.byte(_SIDE), records.byte(_ORDER_TYPE), records.byte(_TIME_IN_FORCE),
            records.byte(_FLAGS), records.i64(_QUANTITY), records.i64(_PRICE), records.i64(_STOP_PRICE),
            records.i64(_EXPIRE), list(map(add, records.i64(_RECEIVE), self._ahead)),
        ))  # fmt: skip

    def _changes(self, part: memoryview, ahead: int) -> int:
        rows, sequence = self._rows[CHANGES], 0
        for (kind, side, flags, sequence, upstream, received, quantity, price, stop_price, account, own, orig,
             symbol) in _CHANGE.iter_unpack(part):  # fmt: skip
            rows += (
                sequence, kind, text(own), text(orig), text(account), text(symbol), upstream, side, flags, quantity,
                price, stop_price, received + ahead,
            )  # fmt: skip
        return sequence

    def _raw(self, part: memoryview) -> int:
        sequence = 0
        for _, _, length, upstream, sequence, time_ns, _, data in RAW.iter_unpack(part):
            self._rows[RAW_INPUT] += ("intake", sequence, upstream, time_ns, data[:length])
        return sequence

    def _refusal(self, shape: Shape, key: tuple[object, ...], part: memoryview) -> None:
        """The report behind a refused request: its details belong to that request."""
        fields = REPORT.unpack(part[: REPORT.size])
        self._rows[shape] += (*key, fields[12], fields[13], fields[27], fields[28])
        if shape is ORDER_REASONS:  # a repeat of an order that exists is answered with its state, and is no order
            self._states[key[0]] = (REJECTED_STATUS if fields[3] == REJECTED else NO_STATUS, 0, 0, fields[14])

    # -- the sender's journal ---------------------------------------------------------------------------------------

    def sender(self, payload: bytes, sequence: int, wall_ns: int) -> None:
        """One frame of the sender's journal: its first record's sequence, its time (UTC). ValueError: as above."""
        for kind, part in stretches(payload):
            count = len(part) // (SIZES[kind] << 5)
            if kind == Kind.REPORT:
                self._reports.append(part)
            elif kind in _INTENTS:
                self._intents.append(part)
                self._intent_times += [wall_ns] * count
            elif kind == Kind.RESULT:
                self._results(part)
            elif kind == Kind.TEXT:
                self._texts.append((sequence - 1, decode_text(bytes(part[:REPORT_BYTES]))))
            elif kind == Kind.SESSION:
                self._sessions(part, sequence)
            elif kind == Kind.MATCH:
                self._matches(part)
            elif kind == Kind.CANCEL:
                self._own_cancels(part, wall_ns)
            else:
                self.unknown += 1
            self.records += count
            sequence += count

    def _take_reports(self) -> None:
        """Executions and plain reports by columns, the others one by one."""
        records = Columns(self._reports, REPORT_BYTES)
        sequences, numbers, times = records.i64(_SEQUENCE), records.i64(_REPORT_NUMBER), records.i64(_TIME)
        status, exec_types = records.byte(_STATUS), records.byte(_EXEC_TYPE)
        foreign = either(status.translate(_IS_ZERO), records.byte(_FLAGS).translate(_IS_FOREIGN))
        trade = without(exec_types.translate(_IS_TRADE), foreign)
        reasons = records.u32(_REASON)
        has_reason = bytes(map(bool, reasons)) if any(reasons) else bytes(records.count)
        special = either(has_reason, records.byte(_ORIG).translate(_IS_TEXT))
        mine = neither(foreign)
        states = zip(status, records.i64(_CUM), records.i64(_AVERAGE), times, strict=True)
        self._states.update(compress(zip(numbers, states, strict=True), mine))
        if self._pending:
            self._settle_pending(dict(compress(zip(numbers, sequences, strict=True), mine)))
        head = (sequences, numbers)
        tail = (records.byte(_FLAGS), records.i64(_LATENCY), times)
        fill = (records.text(_EXEC_ID, 24), records.i64(_LAST_QUANTITY), records.i64(_LAST_PRICE))
        self._rows[EXECUTIONS] = rows_of((*head, *fill, *tail), trade)
        what = (exec_types, records.byte(_RESPONSE))
        self._rows[REPORTS] = rows_of((*head, *what, *tail, status), neither(foreign, trade, special))
        for record in records.chosen(either(foreign, without(special, trade))):
            self._odd_report(record)
        if self._texts:
            self._take_texts(sequences, numbers, exec_types, trade, mine)

    def _odd_report(self, report: bytes) -> None:
        """Any report but a plain one or an execution, with everything that is in it."""
        (_, _, _, exec_type, status, flags, kind, response, sequence, upstream, _, _, reason, field, time_ns, latency,
         last_quantity, last_price, _, _, _, quantity, account, own, orig, _, exec_id, value, limit, price,
         number) = REPORT.unpack(report)  # fmt: skip
        foreign = flags & _FOREIGN or not status or not number
        if foreign:
            quantity, price = last_quantity, last_price
        self._rows[ODD_REPORTS] += (
            sequence, number or None, exec_type, response, flags, latency, time_ns, status, kind, text(own), text(orig),
            text(account), upstream, quantity, price, text(exec_id), reason, field, value, limit,
        )  # fmt: skip
        if foreign:
            return
        if exec_type in (REPLACED, RESTATED):
            self._rows[ORDER_REPLACED] += (number, text(own), quantity, price)
        elif reason and exec_type in _ENDS:
            self._rows[ORDER_REASONS] += (number, reason, field, value, limit)

    def _take_texts(
        self, sequences: list[int], numbers: list[int], exec_types: bytes, trade: bytes, mine: bytes
    ) -> None:
        """The exchange's words, each for the report before it."""
        places = {sequence: at for at, sequence in enumerate(sequences)}
        for sequence, words in self._texts:
            at = places.get(sequence)
            if at is None:
                self.unknown += 1
                continue
            self._rows[EXECUTION_TEXTS if trade[at] else REPORT_TEXTS] += (sequence, words)
            if mine[at] and numbers[at] and exec_types[at] in _ENDS:
                self._rows[ORDER_TEXTS] += (numbers[at], words)

    def _take_intents(self) -> None:
        records = Columns(self._intents, REQUEST_BYTES)
        kinds, sequences, numbers = records.byte(0), records.i64(_SEQUENCE), records.i64(_NUMBER)
        times = self._intent_times
        is_new = kinds.translate(_IS_INTENT_NEW)
        self._rows[SENDS] = rows_of((sequences, numbers, is_new, times), is_new)
        if 0 in is_new:
            change = neither(is_new)
            columns = (sequences, numbers, kinds.translate(_KIND_OF_INTENT), times, records.text(_OWN_ID, 36))
            self._rows[CHANGE_SENDS] = rows_of(columns, change)
            for number, sequence, kind in compress(zip(numbers, sequences, kinds, strict=True), change):
                self._pending[number] = (sequence, PENDING_CANCEL if kind == INTENT_CANCEL else PENDING_REPLACE)

    def _settle_pending(self, last_report: dict[int, int]) -> None:
        """A change that went out is the order's status until a report comes after it."""
        for number, (sequence, status) in self._pending.items():
            if last_report.get(number, 0) > sequence:
                continue
            state = self._states.get(number)
            if state is None:
                self._rows[ORDER_PENDING] += (number, status)
            else:
                self._states[number] = (status, *state[1:])
        self._pending.clear()

    def _results(self, part: memoryview) -> None:
        """Only calls that went wrong have a row's worth to tell."""
        if bytes(part[2 :: RESULT.size]).count(Outcome.SENT) == len(part) // RESULT.size:
            return
        for _, _, outcome, _, sequence, call_ns, return_ns in RESULT.iter_unpack(part):
            if outcome != Outcome.SENT:
                self._rows[SEND_RESULTS] += (sequence, outcome, return_ns - call_ns)

    def _sessions(self, part: memoryview, sequence: int) -> None:
        for _, _, event, reason, time_ns, _, opens, closes, date, words in SESSION.iter_unpack(part):
            said = words.rstrip(b"\0").decode("utf-8", "replace")
            self._rows[SESSIONS] += (sequence, event, reason, time_ns, opens, closes, date, said)
            sequence += 1

    def _matches(self, part: memoryview) -> None:
        for _, _, _, _, sequence, time_ns, quantity, price, buy, sell, _, _, symbol in MATCH.iter_unpack(part):
            self._rows[MATCHES] += (sequence, time_ns, buy, sell, text(symbol), quantity, price)

    def _own_cancels(self, part: memoryview, wall_ns: int) -> None:
        """Cancels that the desk itself asks for."""
        for _, _, _, sequence, _, _, _, _, _, account, own, orig, _ in _CHANGE.iter_unpack(part):
            self._rows[OWN_CANCELS] += (sequence, text(own), text(orig), text(account), wall_ns)
