"""The matching engine: one book per symbol, requests in, execution reports and market events out. Pure.

Theory of operation. A request is looked up by its client order id (seen before? then the state is the answer), goes to
its symbol's book, and the events that the book emits become reports for the members concerned. Order ids, execution
ids and event numbers are counters, so the same requests at the same times give the same reports, and two engines that
have seen the same have the same `state_hash`. `dump` and `load` carry the whole state through a snapshot.

Prices and quantities have 8 implied decimals. `trades` and `touched` are for market data: whoever takes them clears
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from oms_actors.core import book as b
from oms_actors.core.book import Book, SelfTrade, State
from oms_actors.core.execution import (
    ACK,
    ACK_HEADS,
    AT_SYMBOL,
    EXECUTION,
    FILL,
    FILLED_HEADS,
    INTENT,
    KEY_BYTES,
    PARTIAL_HEADS,
    REQUEST_KIND,
    Counts,
    Fault,
    Member,
    Rules,
    head,
)
from oms_actors.errors import Field, Reason
from oms_actors.messages import ACCOUNT_MAX, ExecType, Flag, Kind, OrderType, OrdStatus, ResponseType, TimeInForce
from oms_actors.record import text

NEW, MODIFY, CANCEL = Kind.INTENT_NEW.value, Kind.INTENT_MODIFY.value, Kind.INTENT_CANCEL.value
POST_ONLY, POSSIBLE_RESEND = Flag.POST_ONLY.value, Flag.POSSIBLE_RESEND.value
LIMIT, GTD, ACCEPTED, TRADE = b.LIMIT, b.GTD, b.ACCEPTED, b.TRADE
OPEN, FILLED, CANCELED = OrdStatus.NONE.value, OrdStatus.FILLED.value, OrdStatus.CANCELED.value
EXPIRED, REJECTED = OrdStatus.EXPIRED.value, OrdStatus.REJECTED.value
IS_NEW, PARTIALLY_FILLED = OrdStatus.NEW.value, OrdStatus.PARTIALLY_FILLED.value
_TYPES = frozenset(t.value for t in OrderType)
_TIMES = frozenset(t.value for t in TimeInForce)
_UNKNOWN_ORDER: Fault = (Reason.UNKNOWN_ORDER.value, Field.ORIG_CLIENT_ORDER_ID.value, 0, 0)
_TOO_LATE: Fault = (Reason.TOO_LATE.value, Field.ORIG_CLIENT_ORDER_ID.value, 0, 0)
_UNKNOWN_SYMBOL: Fault = (Reason.UNKNOWN_SYMBOL.value, Field.SYMBOL.value, 0, 0)
_NO_FAULT: Fault = (0, 0, 0, 0)
_MISMATCH: Fault = (Reason.FIELD_MISMATCH.value, Field.SYMBOL.value, 0, 0)
_BAD_ENUM = Reason.BAD_ENUM.value
REFUSED_ANSWER, REPLACED_ANSWER = ResponseType.CANCEL_REJECT.value, ResponseType.REPLACED.value
CANCELED_ANSWER = ResponseType.CANCELED.value
_CANCELED = (ExecType.CANCELED.value, CANCEL & REQUEST_KIND, CANCELED_ANSWER)
_REPLACED = (ExecType.REPLACED.value, MODIFY & REQUEST_KIND, REPLACED_ANSWER)
_EXPIRED = (ExecType.EXPIRED.value, 0, ResponseType.EXPIRED.value)
_FOUND = (ExecType.ORDER_STATUS.value, 0, ResponseType.QUERY_FOUND.value)
_ANSWERS = {CANCELED_ANSWER: _CANCELED, REPLACED_ANSWER: _REPLACED}
_NOTHING = (0, 0)
_EXPIRIES = frozenset({Reason.ORDER_EXPIRED.value, Reason.END_OF_DAY.value})
_NO_SYMBOL = bytes(16)
BEAT_MASK = (1 << 16) - 1


class Entry(msgspec.Struct, gc=False):
    """An order as the engine knows it, for the whole day. `ids` are those of its last accepted request."""

    id: int
    member: Member
    book: Book | None
    ids: bytes
    number: int
    """The client's own number of the order, returned in every report."""
    side: int
    quantity: int
    leaves: int
    price: int
    value: int = 0
    """Sum of price x quantity over its fills."""
    status: int = OPEN
    """OPEN, or how it ended."""
    reason: int = 0


class Change(msgspec.Struct, gc=False):
    """A MODIFY or CANCEL that was answered: REPLACED, CANCELED, or CANCEL_REJECT for a `fault`."""

    entry: Entry | None
    response: int
    kind: int
    fault: Fault = _NO_FAULT


class Request(msgspec.Struct, gc=False):
    """A MODIFY or CANCEL while it is carried out."""

    member: Member
    kind: int
    key: bytes
    ids: bytes
    side: int
    number: int


class Trade(msgspec.Struct, gc=False):
    """One execution, for market data. `aggressor` is the side of the order that came in."""

    number: int
    symbol: bytes
    price: int
    quantity: int
    aggressor: int
    time_ns: int


class Engine:
    """See above. `rules` says which symbols there are (none: any) and in which steps they trade."""

    def __init__(self, rules: Rules, self_trade: SelfTrade = SelfTrade.ALLOW) -> None:
        self.rules, self.self_trade = rules, self_trade
        self.counts = Counts()
        self.books: dict[bytes, Book] = {}
        """By symbol, padded."""
        self.events = 0
        """Number of the last event of any book."""
        self.trades: list[Trade] = []
        self.touched: set[bytes] = set()
        self.state: int = State.CONTINUOUS
        """Of the market: the state of books that are not there yet."""
        self._live: dict[int, Entry] = {}
        self._last_id = 0
        self._executions = 0
        self.log: Callable[[int, bytes, tuple[int, ...], int], object] | None = None
        """Is told every event of every book: number, symbol (padded), event (see `core.book`), time."""
        self._said: list[tuple[int, ...]] = []
        self._next_expiry_ns = 0

    # -- the model's interface (see core.venue) ---------------------------------------------------------------------

    def step(self, member: Member, frame: bytes, now_ns: int) -> None:
        """Answers a frame of INTENT records."""
        if 0 < self._next_expiry_ns <= now_ns:
            self.tick(now_ns)
        known, live, said, books, out = member.known, self._live, self._said, self.books, member.out
        owner, order_id, ack, heads = member.number, self._last_id, ACK.pack, ACK_HEADS
        symbol, book, rested, logged = b"", None, 0, self.log is not None
        for (kind, _, side, order_type, time_in_force, flags, quantity, price, stop, expire, ids, number
             ) in INTENT.iter_unpack(frame):  # fmt: skip
            key = ids[:KEY_BYTES]
            if key in known:
                self.counts.seen_again(flags & POSSIBLE_RESEND)
                self._state(member, known[key], ids, now_ns, side, number)
                continue
            if ids[AT_SYMBOL:] != symbol:  # mostly it is that of the request before
                symbol = ids[AT_SYMBOL:]
                book = books.get(symbol)
                if book:
                    self.touched.add(symbol)
            if kind != NEW:
                entry = known.get(ids[:ACCOUNT_MAX] + ids[KEY_BYTES:AT_SYMBOL])
                if kind == CANCEL and type(entry) is Entry and entry.book is book and not (entry.status or logged):
                    self._cancel(entry, key, ids, number, now_ns)
                else:
                    self._change(entry, Request(member, kind, key, ids, side, number), quantity, price, stop, now_ns)
                continue
            order_id += 1
            known[key] = entry = Entry(order_id, member, book, ids, number, side, quantity, quantity, price)
            if book is None or order_type != LIMIT or time_in_force or flags & POST_ONLY or stop or not 0 < side < 3:
                self._new(entry, order_type, time_in_force, flags, stop, expire, now_ns)
                continue
            live[order_id] = entry
            book.new(order_id, side, quantity, price, owner)
            if len(said) > 1 or said[0][0] != ACCEPTED or logged:
                self._tell(symbol, now_ns)
                continue
            said.clear()  # it rests: the shortest way, `_tell` written out
            rested += 1
            member.sequence = sequence = member.sequence + 1
            out.append(ack(heads[side], sequence, now_ns, quantity, quantity, ids, price, number))
        self._last_id = order_id
        self.events += rested
        self.counts.acks += rested
        self.counts.took(frame)

    def query(self, member: Member, ids: bytes, now_ns: int) -> None:
        """QUERY_FOUND with the order's state (for a change: its first answer again), or QUERY_NOT_FOUND."""
        known = member.known.get(ids[:KEY_BYTES])
        if known is None:
            member.say(ResponseType.QUERY_NOT_FOUND, ExecType.ORDER_STATUS, OrdStatus.NONE, ids, now_ns)
        else:
            self._state(member, known, ids, now_ns)

    def mass_cancel(self, member: Member, account: bytes, now_ns: int) -> None:
        """Cancels the member's orders (of one account, unless it is empty), oldest first."""
        anyone = not account.strip(b"\0")
        for entry in list(self._live.values()):
            if entry.member is member and (anyone or entry.ids[:ACCOUNT_MAX] == account):
                symbol = entry.ids[AT_SYMBOL:]
                self.books[symbol].cancel(entry.id, Reason.MASS_CANCEL.value)
                self._tell(symbol, now_ns)

    def refuse(self, member: Member, ids: bytes, now_ns: int) -> None:
        """Rejects a NEW as the exchange pleases; one that it knows is told how it stands."""
        key = ids[:KEY_BYTES]
        if key in member.known:
            self._state(member, member.known[key], ids, now_ns)
            return
        self._last_id += 1
        self.counts.requests += 1
        self.counts.new += 1
        entry = member.known[key] = Entry(self._last_id, member, None, ids, 0, 0, 0, 0, 0)
        self._reject(entry, (Reason.VENUE_REJECT.value, 0, 0, 0), now_ns)

    def tick(self, now_ns: int) -> None:
        """Expires what is due by `now_ns` (UTC)."""
        for symbol, book in self.books.items():
            book.expire(now_ns)
            if self._said:
                self._tell(symbol, now_ns)
        dues = [due for book in self.books.values() if (due := book.next_expiry_ns())]
        self._next_expiry_ns = min(dues, default=0)

    def next_tick_ns(self) -> int:
        """When `tick` has something to do, UTC; 0: never."""
        return self._next_expiry_ns

    # -- the operator -----------------------------------------------------------------------------------------------

    def switch(self, symbol: bytes, state: int) -> None:
        """Sets the trading state of a symbol (padded), or of the whole market if it is empty."""
        if symbol != _NO_SYMBOL:
            book = self._book(symbol)
            if book:
                book.state = state
                self.touched.add(symbol)
            return
        self.state = state
        for book in self.books.values():
            book.state = state
        self.touched.update(self.books)

    def end_day(self, members: Iterable[Member], now_ns: int) -> None:
        """Expires DAY orders and forgets the client order ids of what is done."""
        for symbol, book in self.books.items():
            book.close_day()
            self._tell(symbol, now_ns)
        for member in members:
            member.known = {key: known for key, known in member.known.items() if _is_open(known)}

    # -- the whole state --------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """Everything but the orders' own record, which `dump_known` gives by member; plain and canonical."""
        numbers = [self._last_id, self._executions, self.events, self.state, self._next_expiry_ns]
        return [numbers, self.counts.dump(), [[symbol, book.dump()] for symbol, book in self.books.items()]]

    def load(self, data: list[Any]) -> None:
        """The state that `dump` gave, into a fresh engine; before `load_known`."""
        (self._last_id, self._executions, self.events, self.state, self._next_expiry_ns), counts, books = data
        self.counts.load(counts)
        for symbol, state in books:
            book = self.books[symbol] = Book(self._said.append, self.rules.tick, self.rules.lot, self.self_trade)
            book.load(state)

    def dump_known(self, member: Member) -> list[Any]:
        """Every client order id of a member and what became of it."""
        return [
            [key, 0, *_fields(known)] if isinstance(known, Entry)
            else [key, known.response, known.entry.id if known.entry else 0, known.kind, *known.fault]
            for key, known in member.known.items()
        ]  # fmt: skip

    def load_known(self, member: Member, data: list[Any], beat: Callable[[], object]) -> None:
        """What `dump_known` gave."""
        entries: dict[int, Entry] = {}
        for count, (key, response, number, *rest) in enumerate(data):
            if not count & BEAT_MASK:
                beat()
            if response:
                kind, reason, field, value, limit = rest
                member.known[key] = Change(entries.get(number), response, kind, (reason, field, value, limit))
                continue
            ids, desk_number, side, quantity, leaves, price, value, status, reason = rest
            member.known[key] = entry = entries[number] = Entry(
                number, member, self.books.get(ids[AT_SYMBOL:]), ids, desk_number, side, quantity, leaves, price,
                int(value), status, reason,
            )  # fmt: skip
            if status == OPEN:
                self._live[number] = entry

    def client_order_id(self, order_id: int) -> str:
        """Of an order that is open, or was when the event came that is being logged; "" of any other."""
        entry = self._live.get(order_id)
        return text(entry.ids[ACCOUNT_MAX:KEY_BYTES]) if entry else ""

    # -- requests ---------------------------------------------------------------------------------------------------

    def _book(self, symbol: bytes) -> Book | None:
        """The symbol's book, opened at its first order; None if the symbol is not listed."""
        book = self.books.get(symbol)
        if book is None and symbol != _NO_SYMBOL and self.rules.lists(symbol):
            book = self.books[symbol] = Book(self._said.append, self.rules.tick, self.rules.lot, self.self_trade)
            book.state = self.state
        return book

    def _new(self, entry: Entry, order_type: int, time_in_force: int, flags: int, stop: int, expire: int,
             now_ns: int) -> None:  # fmt: skip
        """A NEW that is not a plain limit order, or whose symbol has no book yet."""
        side, symbol = entry.side, entry.ids[AT_SYMBOL:]
        book = entry.book = entry.book or self._book(symbol)
        fault = None
        if book is None:
            fault = _UNKNOWN_SYMBOL
        elif side not in (b.BUY, b.SELL):
            fault = (_BAD_ENUM, Field.SIDE.value, side, 0)
        elif order_type not in _TYPES:
            fault = (_BAD_ENUM, Field.ORDER_TYPE.value, order_type, 0)
        elif time_in_force not in _TIMES:
            fault = (_BAD_ENUM, Field.TIME_IN_FORCE.value, time_in_force, 0)
        elif time_in_force == GTD and 0 < expire <= now_ns:
            fault = (Reason.ORDER_EXPIRED.value, Field.EXPIRE_TIME.value, expire, now_ns)
        if book is None or fault:
            self._reject(entry, fault or _UNKNOWN_SYMBOL, now_ns)
            return
        self._live[entry.id] = entry
        if order_type in (b.MARKET, b.STOP):
            entry.price = 0
        book.new(
            entry.id, side, entry.quantity, entry.price, entry.member.number, order_type, time_in_force,
            flags & POST_ONLY != 0, stop, expire,
        )  # fmt: skip
        self._tell(symbol, now_ns)
        if time_in_force == GTD:
            self._watch(book)

    def _watch(self, book: Book) -> None:
        """Remembers when the next order expires."""
        due = book.next_expiry_ns()
        if due and (not self._next_expiry_ns or due < self._next_expiry_ns):
            self._next_expiry_ns = due

    def _cancel(self, entry: Entry, key: bytes, ids: bytes, number: int, now_ns: int) -> None:
        """A CANCEL of an order that is there: `_change`, `_tell` and `_canceled` written out."""
        book, member = entry.book, entry.member
        del self._live[entry.id]
        book.cancel(entry.id)  # type: ignore[union-attr]  # an order that is there is in a book
        self._said.clear()
        self.events += 1
        self.counts.canceled += 1
        entry.status = CANCELED
        member.known[key] = Change(entry, CANCELED_ANSWER, CANCEL)
        self._report(entry, _CANCELED, ids, number, now_ns)

    def _change(self, entry: Entry | Change | None, request: Request, quantity: int, price: int, stop: int,
                now_ns: int) -> None:  # fmt: skip
        """A MODIFY or CANCEL of what its original id is known as."""
        if isinstance(entry, Change):
            entry = entry.entry
        if entry is None or entry.status:
            self._refuse(request, _TOO_LATE if entry else _UNKNOWN_ORDER, now_ns)
            return
        symbol, named, book = entry.ids[AT_SYMBOL:], request.ids[AT_SYMBOL:], entry.book
        if book is None or (symbol != named and named != _NO_SYMBOL):
            self._refuse(request, _MISMATCH, now_ns)
            return
        if request.kind == CANCEL:
            book.cancel(entry.id)
        else:
            order = book.orders[entry.id]
            price = 0 if order.order_type in (b.MARKET, b.STOP) else price or order.price
            book.replace(entry.id, quantity or order.quantity, price, stop or order.stop_price)
            if order.time_in_force == GTD:
                self._watch(book)
        self._tell(symbol, now_ns, request)

    # -- reports ----------------------------------------------------------------------------------------------------

    def _tell(self, symbol: bytes, now_ns: int, request: Request | None = None) -> None:
        """Turns what a book has said into reports and market events."""
        said, live = self._said, self._live
        if self.log:
            for number, event in enumerate(said, self.events + 1):
                self.log(number, symbol, event, now_ns)
        for event in said:
            kind = event[0]
            if kind == TRADE:
                self._trade(symbol, event, now_ns)
            elif kind == ACCEPTED:
                entry = live[event[1]]
                member = entry.member
                member.sequence = sequence = member.sequence + 1
                self.counts.acks += 1
                member.out.append(
                    ACK.pack(ACK_HEADS[entry.side], sequence, now_ns, entry.quantity, entry.quantity, entry.ids,
                             entry.price, entry.number)
                )  # fmt: skip
            elif kind == b.CANCELED:
                self._canceled(live.pop(event[1]), event[3], request, now_ns)
            elif kind == b.REPLACED:
                self._replaced(live[event[1]], event, request, now_ns)
            elif kind == b.REJECTED:
                fault = (event[2], event[3], event[4], event[5])
                if request:
                    self._refuse(request, fault, now_ns)
                else:
                    self._reject(live.pop(event[1]), fault, now_ns)
        self.events += len(said)
        self.touched.add(symbol)
        said.clear()

    def _trade(self, symbol: bytes, event: tuple[int, ...], now_ns: int) -> None:
        """A FILL for either side."""
        _, price, quantity, taker_id, taker_leaves, maker_id, maker_leaves = event
        self._executions = number = self._executions + 1
        live, value = self._live, price * quantity
        for order_id, leaves, exec_id in (
            (maker_id, maker_leaves, b"%d.2" % number),
            (taker_id, taker_leaves, b"%d.1" % number),
        ):
            entry = live[order_id]
            entry.value += value
            entry.leaves = leaves
            heads = PARTIAL_HEADS
            if not leaves:
                heads = FILLED_HEADS
                entry.status = FILLED
                del live[order_id]
            member, side, total = entry.member, entry.side, entry.quantity
            member.sequence = sequence = member.sequence + 1
            member.out.append(
                FILL.pack(heads[side], sequence, now_ns, quantity, price, total - leaves, leaves, total, entry.ids,
                          exec_id, entry.price, entry.number)
            )  # fmt: skip
        counts = self.counts
        counts.fills += 2
        counts.trades += 1
        counts.volume += quantity
        self.trades.append(Trade(number, symbol, price, quantity, side, now_ns))

    def _canceled(self, entry: Entry, reason: int, request: Request | None, now_ns: int) -> None:
        """By request, or of the exchange's own accord."""
        self.counts.canceled += 1
        entry.status, entry.reason = CANCELED, reason
        if request and request.kind == CANCEL:
            request.member.known[request.key] = Change(entry, CANCELED_ANSWER, CANCEL)
            ids = request.ids[:AT_SYMBOL] + entry.ids[AT_SYMBOL:]
            self._report(entry, _CANCELED, ids, request.number, now_ns)
        elif reason in _EXPIRIES:
            entry.status = EXPIRED
            self._report(entry, _EXPIRED, entry.ids, entry.number, now_ns)
        else:
            self._report(entry, _CANCELED, entry.ids, entry.number, now_ns)

    def _replaced(self, entry: Entry, event: tuple[int, ...], request: Request | None, now_ns: int) -> None:
        _, _, entry.quantity, entry.leaves, entry.price, _ = event
        self.counts.replaced += 1
        number = entry.number
        if request:
            entry.ids = request.ids[:AT_SYMBOL] + entry.ids[AT_SYMBOL:]
            number = request.number
            request.member.known[request.key] = Change(entry, REPLACED_ANSWER, MODIFY)
        if not entry.leaves:
            entry.status = FILLED
            del self._live[entry.id]
        self._report(entry, _REPLACED, entry.ids, number, now_ns)

    def _report(self, entry: Entry, what: tuple[int, int, int], ids: bytes, number: int, now_ns: int) -> None:
        """A report with all that is known of the order; `what` is (execution type, request's kind, response type)."""
        total, price, leaves, status, member = entry.quantity, entry.price, entry.leaves, entry.status, entry.member
        cum = total - leaves
        if status:
            leaves = 0
        else:
            status = PARTIALLY_FILLED if cum else IS_NEW
        last = (total, price) if what is _REPLACED else _NOTHING
        member.sequence = sequence = member.sequence + 1
        member.out.append(
            EXECUTION.pack(head(entry.side, what[0], status, what[1], what[2]), sequence, entry.reason, 0, now_ns,
                           *last, cum, leaves, entry.value // cum if cum else 0, total, ids, b"", 0, 0, price, number)
        )  # fmt: skip

    def _reject(self, entry: Entry, fault: Fault, now_ns: int) -> None:
        """Of a NEW."""
        entry.status, entry.reason = REJECTED, fault[0]
        self.counts.rejects += 1
        entry.member.refuse(NEW, entry.ids, now_ns, fault, entry.side, entry.number)

    def _refuse(self, request: Request, fault: Fault, now_ns: int) -> None:
        """Of a MODIFY or CANCEL."""
        self.counts.rejects += 1
        request.member.known[request.key] = Change(None, REFUSED_ANSWER, request.kind, fault)
        request.member.refuse(request.kind, request.ids, now_ns, fault, request.side, request.number)

    def _state(self, member: Member, known: Entry | Change, ids: bytes, now_ns: int, side: int = 0,
               number: int = 0) -> None:  # fmt: skip
        """What a request that was seen before has come to."""
        if isinstance(known, Entry):
            self._report(known, _FOUND, ids, number or known.number, now_ns)
        elif known.entry is None:
            member.refuse(known.kind, ids, now_ns, known.fault, side, number)
        else:
            self._report(known.entry, _ANSWERS[known.response], ids, number, now_ns)


def _fields(entry: Entry) -> list[Any]:
    return [entry.id, entry.ids, entry.number, entry.side, entry.quantity, entry.leaves, entry.price, str(entry.value),
            entry.status, entry.reason]  # fmt: skip


def _is_open(known: Entry | Change) -> bool:
    entry = known.entry if isinstance(known, Change) else known
    return entry is not None and entry.status == OPEN

