"""Changes of waiting orders, many at a time: the same decisions and the same bytes as `Sender` one by one.

Theory of operation. Where a million orders wait, a change costs as much for fetching what it touches (the ids' table,
the key, the order, its request) as for deciding. So a stretch of MODIFYs or of CANCELs first looks all its orders up,
then reads all their requests, in loops so short that the processor fetches for several orders at once; only then each
is decided, from what is near. Whatever is not plain (an unknown id, an order that is sent or partly filled, a field
that does not match) goes the long way through `Sender`, in its turn: there stands `_NOBODY`, whose phase says that it
does not wait.
"""

from __future__ import annotations

import struct
from itertools import chain, repeat, starmap
from operator import add

from oms_actors.core.pending import CANCEL, FIRST_DONE, QUEUED, Order
from oms_actors.core.reports import CHANGED, ENDED, SAME
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
from oms_actors.record import AT_SYMBOL, REQUEST_BYTES

_KEY = struct.Struct("<80x52s60x")
_SYMBOL = struct.Struct("<168x16s8x")
_NAMED = struct.Struct("<80x16s36x36s24x")
"""Of a change: account, original id."""
_MODIFY = struct.Struct("<16x4s28xqqq8x88s24x")
"""Upstream, quantity, price, stop price, key and original id."""
_CANCEL = struct.Struct("<16x4s60x88s24x")
"""Upstream, key and original id."""
_MODIFIED = struct.Struct("<2xBB164x16s8s")
"""Of the request of an order that is modified: side, order type, symbol, number."""
_CANCELED = struct.Struct("<2xB13x4s60x52s36x16s8s")
"""Of the request of an order that is canceled: side, upstream, key, symbol, number."""
_LIMIT = int(OrderType.LIMIT)
_SAMPLE = 4
"""Where none of the first so many waits, the others hardly will."""
_NOBODY = Order(bytes(REQUEST_BYTES), b"", 0, 0, 0, FIRST_DONE)


class Changes(Sender):
    """A Sender with `change_all`."""

    def change_all(self, kind: int, data: bytes) -> None:
        """Admitted MODIFYs only, or CANCELs only; without crossing and without risk limits."""
        ids, named = self.ids, list(starmap(add, _NAMED.iter_unpack(data)))
        if all(ids.get(key, _NOBODY).phase != QUEUED for key in named[:_SAMPLE]):
            self._take_requests(data[::REQUEST_BYTES], data)
            return
        if kind == CANCEL:
            self._cancel_all(data, named)
            return
        keys: list[bytes] = list(chain.from_iterable(_KEY.iter_unpack(data)))
        if self.settings.modify_loses_place or self.risk.enabled or not ids.keys().isdisjoint(keys):
            self._take_requests(data[::REQUEST_BYTES], data)  # killed; or an id that means one order and then another
        else:
            self._modify_all(data, named, keys)

    def _modify_all(self, data: bytes, named: list[bytes], keys: list[bytes]) -> None:
        ids, queued, limit, heads, pack, done = self.ids, QUEUED, _LIMIT, REPLACED, CHANGED.pack, 0
        orders, asked = self._orders(data, named)
        same, sequence = SAME.pack(self.session, REPLACED_IN_QUEUE, 0, self.wall), self.base + len(self.out)
        reports: list[bytes] = []
        for now, key, order, (upstream, quantity, price, stop, ids_said), (side, order_type, symbol, number) in zip(
            named, keys, orders, _MODIFY.iter_unpack(data), _MODIFIED.iter_unpack(asked), strict=True
        ):
            if order.phase != queued or order.cum or order.pending or order.key != now or order_type != limit or stop:
                self._replaced(reports)
                done = self._one(data, done + len(reports))
                reports, sequence = [], self.base + len(self.out)
                continue
            if order.extra is None:
                order.extra = key
            else:
                order.own().accept(key)
            if quantity:
                order.quantity = quantity
            else:
                quantity = order.quantity
            if price:
                order.price = price
            else:
                price = order.price
            order.key = key
            ids[key] = order
            reports.append(pack(
                heads[side], sequence, upstream, same, quantity, quantity, ids_said, symbol, price, number
            ))  # fmt: skip
            sequence += 1
        self._replaced(reports)

    def _cancel_all(self, data: bytes, named: list[bytes]) -> None:
        queued, after, news, cancels, pack, done = QUEUED, AFTER_CANCEL, CANCELED_NEW, CANCELED, ENDED.pack, 0
        orders, asked = self._orders(data, named)
        same, sequence = SAME.pack(self.session, CANCELED_IN_QUEUE, 0, self.wall), self.base + len(self.out)
        reports: list[bytes] = []
        gone: list[Order] = []
        for now, order, (upstream, ids_said), (side, own_upstream, first, symbol, number) in zip(
            named, orders, _CANCEL.iter_unpack(data), _CANCELED.iter_unpack(asked), strict=True
        ):
            if (
                order.phase != queued or order.cum or order.pending or order.answered or order.held or order.key != now
            ):  # fmt: skip
                self._canceled(reports, gone)
                done = self._one(data, done + len(gone))
                reports, gone, sequence = [], [], self.base + len(self.out)
                continue
            quantity, price = order.quantity, order.price
            order.answered = True
            order.phase = after
            gone.append(order)
            reports.append(pack(
                news[side], sequence, own_upstream, same, quantity, first, symbol, price, number,
                cancels[side], sequence + 1, upstream, same, quantity, ids_said, symbol, price, number,
            ))  # fmt: skip
            sequence += 2
        self._canceled(reports, gone)

    def _orders(self, data: bytes, named: list[bytes]) -> tuple[list[Order], bytes]:
        """The orders meant and their requests; `_NOBODY` where there is none or where side or symbol do not match."""
        orders = list(map(self.ids.get, named, repeat(_NOBODY)))
        asked = b"".join([order.record for order in orders])
        sides = data[2::REQUEST_BYTES]
        if (sides.strip(b"\0") and sides != asked[2::REQUEST_BYTES]) or (
            data[AT_SYMBOL::REQUEST_BYTES].strip(b"\0") and _symbols(data) != _symbols(asked)
        ):
            for i, (side, symbol, order) in enumerate(zip(sides, _symbols(data), orders, strict=True)):
                if (side and side != order.record[2]) or (symbol[0] and symbol != order.symbol):
                    orders[i] = _NOBODY
        return orders, asked

    def _one(self, data: bytes, index: int) -> int:
        """The long way; the index of the next."""
        at = index * REQUEST_BYTES
        self._take_requests(data[at : at + 1], data[at : at + REQUEST_BYTES])
        return index + 1

    def _replaced(self, reports: list[bytes]) -> None:
        """So many have changed."""
        if reports:
            self.counters["modified_in_queue"] += len(reports)
            self.out.add(b"".join(reports), len(reports))

    def _canceled(self, reports: list[bytes], orders: list[Order]) -> None:
        """These have left the line; an element of `reports` is the two of one."""
        count = len(orders)
        if not count:
            return
        self.counters["canceled_in_queue"] += count
        self.out.add(b"".join(reports), 2 * count)
        self.waiting -= count
        self.lane.dead += count
        self._done.extend(orders)
        self._forget_oldest()


def _symbols(requests: bytes) -> list[bytes]:
    return [symbol for (symbol,) in _SYMBOL.iter_unpack(requests)]
