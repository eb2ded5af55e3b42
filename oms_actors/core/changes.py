"""Changes of waiting orders, many at a time: the same decisions and the same bytes as `Sender` one by one.

Theory of operation. Where a million orders wait, a change costs as much for fetching what it touches (the ids' table,
the key, the order, its request) as for deciding. So a stretch of MODIFYs or of CANCELs first looks all its orders up,
then reads all their requests, in loops of C so short that the processor fetches for several orders at once; only then
each is decided, from what is near, and the new ids are entered together. The answers are built by columns when all is
decided. Every step that a loop over orders does not take counts twice, for the next order comes into sight sooner: so
ids are hashed before they are looked up.

Whatever is not plain (an unknown id, an order that is sent or partly filled, a field that does not match) goes the long
way through `Sender`, in its turn: there stands `_NOBODY`, whose phase says that it does not wait.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from itertools import chain, repeat
from operator import itemgetter, length_hint

from oms_actors.core.columns import numbers
from oms_actors.core.ledger import Records
from oms_actors.core.pending import CANCEL, FIRST_DONE, QUEUED, Order
from oms_actors.core.reports import ANSWER, SAME
from oms_actors.core.sender import (
    AFTER_CANCEL,
    CANCELED,
    CANCELED_IN_QUEUE,
    CANCELED_NEW,
    REPLACED,
    REPLACED_IN_QUEUE,
    Sender,
)
from oms_actors.messages import OrderType
from oms_actors.record import AT_SYMBOL, REPORT_BYTES, REQUEST_BYTES

_TOGETHER = 32
"""So many in one call: nearly all that a call costs is saved, and the rest of a stretch is short."""


class _Pieces:
    """One piece of every record."""

    def __init__(self, layout: str) -> None:
        self._one, self._many = struct.Struct("<" + layout), struct.Struct("<" + layout * _TOGETHER)

    def of(self, requests: bytes | bytearray) -> list[bytes]:
        whole = len(requests) - len(requests) % self._many.size
        with memoryview(requests) as view:
            return [
                *chain.from_iterable(self._many.iter_unpack(view[:whole])),
                *chain.from_iterable(self._one.iter_unpack(view[whole:])),
            ]


_KEY = _Pieces("80x52s60x")
_NAMED = _Pieces("116x52s24x")
_SYMBOL = _Pieces("168x16s8x")
"""Its own id, with the account; what it names; its symbol."""
_LIMIT, _NO_STOP = bytes((OrderType.LIMIT,)), bytes(8)
_IN, _OUT = REQUEST_BYTES // 8, REPORT_BYTES // 8
_OF_ORDER = (23, 21), (24, 22), (31, 23)
"""Words of an answer and the words of the order's request that they repeat: symbol, number."""
_SAMPLE = 4
"""Where none of the first so many waits, the others hardly will."""
_NOBODY = Order(bytes(REQUEST_BYTES), b"", 0, 0, 0, FIRST_DONE)


class Changes(Sender):
    """A Sender with `change_all`."""

    def change_all(self, kind: int, data: bytes) -> None:
        """Admitted MODIFYs only, or CANCELs only; without crossing and without risk limits."""
        ids, named = self.ids, _named(data)
        if all(ids.get(key, _NOBODY).phase != QUEUED for key in named[:_SAMPLE]):
            self._take_requests(data[::REQUEST_BYTES], data)
            return
        names = set(named)  # hashed from now on
        if kind == CANCEL:
            self._cancel_all(data, named)
            return
        keys = _KEY.of(data)
        means_two = not names.isdisjoint(keys) and not ids.keys().isdisjoint(keys)  # an id, one order after the other
        if self.settings.modify_loses_place or self.risk.enabled or means_two:
            self._take_requests(data[::REQUEST_BYTES], data)
        else:
            self._modify_all(data, named, keys)

    def _modify_all(self, data: bytes, named: list[bytes], keys: list[bytes]) -> None:
        orders, asked = self._orders(data, named)
        with memoryview(data).cast("q") as words:
            quantities, prices, stops = words[6::_IN].tolist(), words[7::_IN].tolist(), words[8::_IN].tobytes()
        types = asked[3::REQUEST_BYTES]
        if stops != bytes(len(stops)) or types != _LIMIT * len(types):
            for at, order_type in enumerate(types):
                if order_type != _LIMIT[0] or stops[8 * at : 8 * at + 8] != _NO_STOP:
                    orders[at] = _NOBODY
        queued, begin, rest, answers = QUEUED, 0, iter(orders), _Answers(self.out, 1)
        for order, now, key, quantity, price in zip(rest, named, keys, quantities, prices, strict=True):
            extra = order.extra
            if order.phase != queued or order.cum or order.pending or (extra is not None and order.key != now):
                at = len(orders) - length_hint(rest) - 1
                self._modified(answers, keys[begin:at], orders[begin:at])
                begin = self._one(data, at, answers)
                continue
            if extra is None:  # then it has one name only, the one by which it was found
                order.extra = key
            else:
                order.own().accept(key)
            order.key = key
            if quantity:
                order.quantity = quantity
            if price:
                order.price = price
        self._modified(answers, keys[begin:], orders[begin:])
        answers.put(self._replaced(data, asked, answers, all(quantities), all(prices)))

    def _modified(self, answers: _Answers, keys: list[bytes], orders: list[Order]) -> None:
        """These have changed where they stand."""
        if orders:
            if len(orders) < _TOGETHER:
                for key, order in zip(keys, orders, strict=True):
                    self.ids[key] = order
            else:
                self.ids.update(dict(zip(keys, orders, strict=True)))  # a dict, because it knows its hashes
            self.counters["modified_in_queue"] += len(orders)
            answers.leave_room(self.base, orders)

    def _replaced(self, data: bytes, asked: bytes, answers: _Answers, sized: bool, priced: bool) -> bytearray:
        """An answer for each change, by columns. Do all changes give a quantity, a price?"""
        same = SAME.pack(self.session, REPLACED_IN_QUEUE, 0, self.wall)
        reports = bytearray(ANSWER.pack(REPLACED[0], same) * len(answers.prices))
        reports[2::REPORT_BYTES] = asked[2::REQUEST_BYTES]
        with memoryview(reports).cast("I") as halves, memoryview(data).cast("I") as change:
            halves[4 :: 2 * _OUT] = change[4 :: 2 * _IN]  # upstream
        with memoryview(reports).cast("q") as words, memoryview(data).cast("q") as change:
            words[1::_OUT] = numbers(answers.sequences())
            words[9::_OUT] = words[11::_OUT] = change[6::_IN] if sized else numbers(answers.quantities)
            words[30::_OUT] = change[7::_IN] if priced else numbers(answers.prices)
            for at in range(11):  # key and original id
                words[12 + at :: _OUT] = change[10 + at :: _IN]
            with memoryview(asked).cast("q") as new:
                for to, at in _OF_ORDER:
                    words[to::_OUT] = new[at::_IN]
        return reports

    def _cancel_all(self, data: bytes, named: list[bytes]) -> None:
        orders, asked = self._orders(data, named)
        queued, after, begin, rest, answers = QUEUED, AFTER_CANCEL, 0, iter(orders), _Answers(self.out, 2)
        for order, now in zip(rest, named, strict=True):
            if (
                order.phase != queued or order.cum or order.pending or order.answered or order.held
                or (order.extra is not None and order.key != now)
            ):  # fmt: skip
                at = len(orders) - length_hint(rest) - 1
                self._canceled(answers, orders[begin:at])
                begin = self._one(data, at, answers)
                continue
            order.answered = True
            order.phase = after
        self._canceled(answers, orders[begin:])
        answers.put(self._ended(data, asked, answers))

    def _canceled(self, answers: _Answers, orders: list[Order]) -> None:
        """These have left the line."""
        count = len(orders)
        if not count:
            return
        answers.leave_room(self.base, orders)
        self.counters["canceled_in_queue"] += count
        self.waiting -= count
        self.lane.dead += count
        self._done.extend(orders)
        self._forget_oldest()

    def _ended(self, data: bytes, asked: bytes, answers: _Answers) -> bytearray:
        """Two answers for each cancel, the NEW's without an original id, by columns."""
        same, pair = SAME.pack(self.session, CANCELED_IN_QUEUE, 0, self.wall), 2 * _OUT
        heads = ANSWER.pack(CANCELED_NEW[0], same) + ANSWER.pack(CANCELED[0], same)
        reports = bytearray(heads * len(answers.prices))
        reports[2 :: 8 * pair] = reports[2 + REPORT_BYTES :: 8 * pair] = asked[2::REQUEST_BYTES]
        with memoryview(reports).cast("I") as halves, memoryview(asked).cast("I") as new:
            halves[4 :: 2 * pair] = new[4 :: 2 * _IN]  # upstream
            halves[36 :: 2 * pair] = new[32 :: 2 * _IN]  # the end of the key
            with memoryview(data).cast("I") as change:
                halves[4 + 2 * _OUT :: 2 * pair] = change[4 :: 2 * _IN]
        with memoryview(reports).cast("q") as words, memoryview(asked).cast("q") as new:
            words[1::_OUT] = numbers(answers.sequences())
            words[11::pair] = words[11 + _OUT :: pair] = numbers(answers.quantities)
            words[30::pair] = words[30 + _OUT :: pair] = numbers(answers.prices)
            for to, at in _OF_ORDER:
                words[to::pair] = words[to + _OUT :: pair] = new[at::_IN]
            for at in range(6):
                words[12 + at :: pair] = new[10 + at :: _IN]
            with memoryview(data).cast("q") as change:
                for at in range(11):  # key and original id
                    words[12 + at + _OUT :: pair] = change[10 + at :: _IN]
        return reports

    def _orders(self, data: bytes, named: list[bytes]) -> tuple[list[Order], bytes]:
        """The orders meant and their requests; `_NOBODY` where there is none or where side or symbol do not match."""
        try:
            orders = list(itemgetter(*named)(self.ids))
        except KeyError:
            orders = list(map(self.ids.get, named, repeat(_NOBODY)))
        asked = b"".join([order.record for order in orders])
        sides, none = data[2::REQUEST_BYTES], bytes(len(orders))
        if sides not in (none, asked[2::REQUEST_BYTES]) or (
            data[AT_SYMBOL::REQUEST_BYTES] != none and _SYMBOL.of(data) != _SYMBOL.of(asked)
        ):
            for i, (side, symbol, order) in enumerate(zip(sides, _SYMBOL.of(data), orders, strict=True)):
                if (side and side != order.record[2]) or (symbol[0] and symbol != order.symbol):
                    orders[i] = _NOBODY
        return orders, asked

    def _one(self, data: bytes, index: int, answers: _Answers) -> int:
        """The long way; the index of the next."""
        at = index * REQUEST_BYTES
        self._take_requests(data[at : at + 1], data[at : at + REQUEST_BYTES])
        answers.skip()
        return index + 1


class _Answers:
    """What the answers to a stretch say, `each` of them for a change. They are made when all is decided, because
    columns are worth it for many only; until then `out`, which nobody takes meanwhile, has room for them where they
    belong."""

    __slots__ = ("_each", "_out", "_room", "prices", "quantities")

    def __init__(self, out: Records, each: int) -> None:
        self._out, self._each = out, each
        self._room: list[tuple[int, int, range]] = []
        """Element of `out`, the first change, the answers' sequences."""
        self.quantities: list[int] = []
        """Of each change, as it left its order."""
        self.prices: list[int] = []

    def leave_room(self, base: int, orders: list[Order]) -> None:
        """For what has just been decided about these; their values may change once more before the end."""
        out, count = self._out, len(orders) * self._each
        first = base + len(out)
        self._room.append((list.__len__(out), len(self.prices), range(first, first + count)))
        out.add(b"", count)
        self.quantities += [order.quantity for order in orders]
        self.prices += [order.price for order in orders]

    def skip(self) -> None:
        """One that has been answered otherwise."""
        self.quantities.append(0)
        self.prices.append(0)

    def sequences(self) -> Collection[int]:
        """Of the answers to all changes; 0 where it was skipped."""
        found = [0] * (len(self.prices) * self._each)
        for _, begin, sequences in self._room:
            if len(sequences) == len(found):
                return sequences
            found[begin * self._each : begin * self._each + len(sequences)] = sequences
        return found

    def put(self, reports: bytearray) -> None:
        """Those to all changes; to the ones skipped they are not taken."""
        size = self._each * REPORT_BYTES
        with memoryview(reports) as view:
            for place, begin, sequences in self._room:
                self._out[place] = bytes(view[begin * size : begin * size + len(sequences) * REPORT_BYTES])


def _named(changes: bytes) -> list[bytes]:
    """What changes name: account | original id."""
    frame = bytearray(changes)
    with memoryview(frame) as view, view.cast("q") as words, view[4:-4].cast("q") as between:
        for at in range(2):  # byte 116, before the original id
            between[14 + at :: _IN] = words[10 + at :: _IN]
    return _NAMED.of(frame)
