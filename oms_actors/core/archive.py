"""Finished orders that may still be spoken of, kept small.

Theory of operation. An executed order may hear of a late or repeated execution, a change may name it, its request may
come again: so it is known for a while after its end (`pending.DONE_WINDOW`). Most of that comes soon, so the last ones
stay whole, in `Ledger`. Older ones come here, BLOCK at a time, and become one compressed string of about a tenth of
their size; of their ids only hashes stay, each with its block. Who is named again is unpacked: as a copy to look at
(`peek`), or for good (`recall`), to be changed; then it stands among the ledger's ids again ("loose"), and its packed
image counts no more. So does an order that cannot be packed: one with a change without an answer, or with an id whose
hash is taken (hashes differ from process to process; what is known does not depend on them).

When something is packed is a matter of memory only: it changes nothing that can be seen. What is forgotten, and when,
follows from how many orders have finished, packed or not.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from oms_actors.core.pending import VALUES, Extra, Order
from oms_actors.messages import ACCOUNT_MAX, ID_MAX
from oms_actors.record import KEY, REQUEST_BYTES

BLOCK = 32
"""Orders that are packed together: enough to compress well, few enough to take some 60 µs."""
CHAPTER = 128
"""Blocks that share an index, which goes with the last of them: so none ever grows large."""
FRESH = 1_024
"""So many of the last finished orders stay whole."""
LEVEL = 1
_EXTRA: tuple[str, ...] = Extra.__struct_fields__
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
_PACKED = object()


class Block:
    """BLOCK orders, the first to be forgotten first."""

    __slots__ = ("chapter", "data", "dropped", "loose", "sent_within", "size")

    def __init__(self, chapter: Chapter, data: bytes, size: int) -> None:
        self.chapter, self.data, self.size = chapter, data, size
        self.dropped = 0
        """So many of the first are forgotten."""
        self.loose: dict[int, Order | None] = {}
        """Place → the order as it is now, if the packed image counts no more; None: it is not finished any more."""
        self.sent_within: tuple[int, int] | None = None
        """Send times outside of this are of another boot and mean nothing."""

    def orders(self) -> Iterator[tuple[int, Order, int]]:
        """Those of which the packed image counts, with their places and which of their ids had an alias."""
        for place, (order, aliased) in enumerate(_unpacked(zlib.decompress(self.data), self.size)):
            if place >= self.dropped and place not in self.loose:
                if self.sent_within and not self.sent_within[0] <= order.sent_ns <= self.sent_within[1]:
                    order.sent_ns = 0
                yield place, order, aliased


class Chapter:
    """Where blocks find their ids."""

    __slots__ = ("blocks", "index", "left")

    def __init__(self) -> None:
        self.index: dict[int, Block] = {}
        self.blocks = self.left = 0
        """So many there have been, so many there are."""


class Archive:
    """See above. `ids` and `alias` are the ledger's, `forget` takes an order out of them."""

    def __init__(self, ids: dict[bytes, Order], alias: dict[bytes, bytes], forget: Callable[[Order], None]) -> None:
        self._ids, self._alias, self._forget = ids, alias, forget
        self.blocks: deque[Block] = deque()
        self._chapters: deque[Chapter] = deque([Chapter()])
        self.count = 0
        """Orders that are known here, loose ones included."""

    def pack(self, orders: list[Order]) -> None:
        """Takes finished orders in, the first finished first."""
        block = self._block(zlib.compress(_packed(orders, self._alias), LEVEL), len(orders))
        self.count += len(orders)
        if not self._enter_all(block, orders):
            for place, order in enumerate(orders):
                if order.pending or not self._enter(block, order):
                    block.loose[place] = order

    def _block(self, data: bytes, size: int) -> Block:
        chapter = self._chapters[-1]
        if chapter.blocks == CHAPTER:
            chapter = Chapter()
            self._chapters.append(chapter)
        chapter.blocks += 1
        chapter.left += 1
        self.blocks.append(block := Block(chapter, data, size))
        return block

    def _enter_all(self, block: Block, orders: list[Order]) -> bool:
        """Nearly always: the same as below for all of them, with less to look at."""
        keys = [order.key for order in orders]
        if any(map(_is_odd, orders)):
            return False
        hashes, index, ids = list(map(hash, keys)), block.chapter.index, self._ids
        if len(set(hashes)) < len(hashes) or not index.keys().isdisjoint(hashes):
            return False
        if [ids.get(key) for key in keys] != orders:
            return False
        index.update(dict.fromkeys(hashes, block))
        for key in keys:
            del ids[key]
        return True

    def _enter(self, block: Block, order: Order) -> bool:
        """Hashes instead of ids; False if that cannot be. An id that a later order has taken is not this one's."""
        ids, alias, index = self._ids, self._alias, block.chapter.index
        keys = [key for key in names(order) if ids.get(key) is order]
        short = [key[ACCOUNT_MAX:] for key in keys if key[0] and alias.get(key[ACCOUNT_MAX:]) == key]
        hashes = list(map(hash, keys + short))
        if len(set(hashes)) < len(hashes) or not index.keys().isdisjoint(hashes):
            return False
        index.update(dict.fromkeys(hashes, block))
        for key in keys:
            del ids[key]
        for key in short:
            del alias[key]
        return True

    def peek(self, key: bytes) -> Order | None:
        """A copy of the order of that name, if it is packed here. A client order id alone will do where the exchange
        was given one with an account."""
        found = self._find(key)
        return found[2] if found else None

    def recall(self, key: bytes) -> Order | None:
        """The same, whole again and among the ledger's ids."""
        found = self._find(key)
        if found is None:
            return None
        block, place, order, aliased = found
        block.loose[place] = order
        self._name(order, aliased)
        return order

    def _name(self, order: Order, aliased: int) -> None:
        for at, name in enumerate(names(order)):
            if self._ids.setdefault(name, order) is order and aliased >> at & 1:
                self._alias.setdefault(name[ACCOUNT_MAX:], name)

    def _find(self, key: bytes) -> tuple[Block, int, Order, int] | None:
        hashed, whole = hash(key), len(key) > ID_MAX
        for chapter in reversed(self._chapters):
            block = chapter.index.get(hashed)
            if block is None:
                continue
            for place, order, aliased in block.orders():
                if any(key == (name if whole else name[ACCOUNT_MAX:]) for name in names(order)):
                    return block, place, order, aliased
        return None

    def reopened(self, order: Order) -> bool:
        """A loose order is not finished any more; False if it is not known here."""
        for block in self.blocks:
            for place, loose in block.loose.items():
                if loose is order:
                    block.loose[place] = None
                    self.count -= 1
                    return True
        return False

    def drop(self) -> bool:
        """Forgets the order that finished first; False if there is none."""
        while self.blocks:
            block = self.blocks[0]
            order = block.loose.pop(block.dropped, _PACKED)
            block.dropped += 1
            if block.dropped == block.size:
                self._end(self.blocks.popleft())
            if order is not None:
                if isinstance(order, Order):
                    self._forget(order)
                self.count -= 1
                return True
        return False

    def _end(self, block: Block) -> None:
        chapter = block.chapter
        chapter.left -= 1
        if not chapter.left and chapter is not self._chapters[-1]:
            self._chapters.popleft()

    def orders(self) -> Iterator[Order]:
        """Copies of all that are packed and can be found by some name."""
        for block in self.blocks:
            for _, order, _ in block.orders():
                if any(name not in self._ids for name in names(order)):
                    yield order

    def loose(self) -> Iterator[Order]:
        """Those that are whole."""
        return (order for block in self.blocks for order in block.loose.values() if order is not None)

    def sent_within(self, first_ns: int, last_ns: int) -> None:
        """Of what is here now, send times outside of this mean nothing any more."""
        for block in self.blocks:
            block.sent_within = first_ns, last_ns

    def dump(self) -> list[Any]:
        """As data; a loose order is named by its number."""
        return [
            [b.data, b.size, b.dropped, [[place, order and order.number] for place, order in b.loose.items()]]
            for b in self.blocks
        ]  # fmt: skip

    def load(self, data: Iterable[Any], orders: dict[int, Order]) -> None:
        """What `dump` gave, after the ids of the loose orders are in."""
        for packed, size, dropped, loose in data:
            block = self._block(packed, size)
            block.dropped = dropped
            block.loose = {place: number and orders[number] for place, number in loose}
            self.count += size - dropped - sum(order is None for order in block.loose.values())
            for place, order, aliased in block.orders():
                self._name(order, aliased)
                if not self._enter(block, order):
                    block.loose[place] = order


def _is_odd(order: Order) -> bool:
    return bool(order.extra or order.pending or order.key[0])


def names(order: Order) -> list[bytes]:
    """All accepted ids of an order."""
    return [order.first, *order.chain]


def _packed(orders: list[Order], alias: dict[bytes, bytes]) -> bytes:
    """The requests one behind the other, which compresses best, then what became of them, by columns."""
    columns: list[list[Any]] = [
        [order.phase for order in orders],
        [order.answered for order in orders],
        [order.attempt for order in orders],
        [order.cum for order in orders],
        [order.sent_ns for order in orders],
        [0 if order.value == order.cum * order.price else str(order.value) for order in orders],  # beyond 64 bits
        [order.executions for order in orders],
        [(more := order.more) and _changed(order, more) for order in orders],
        [_aliased(order, alias) if order.key[0] else 0 for order in orders],
    ]  # fmt: skip
    return b"".join([*[order.record for order in orders], _encode(columns)])


def _changed(order: Order, extra: Extra) -> tuple[Any, ...]:
    return order.quantity, order.price, order.stop_price, *[getattr(extra, name) for name in _EXTRA]


def _aliased(order: Order, alias: dict[bytes, bytes]) -> int:
    """A bit for each of its ids that is known without its account."""
    return sum((alias.get(name[ACCOUNT_MAX:]) == name) << at for at, name in enumerate(names(order)))


def _unpacked(data: bytes, count: int) -> Iterator[tuple[Order, int]]:
    end = count * REQUEST_BYTES
    rows = zip(*_decode(data[end:]), strict=True)
    for at, (phase, answered, attempt, cum, sent_ns, value, exec_ids, extra, aliased) in zip(
        range(0, end, REQUEST_BYTES), rows, strict=True
    ):
        record = data[at : at + REQUEST_BYTES]
        order = Order(record, record[KEY], *VALUES.unpack_from(record, 48))
        order.phase, order.answered, order.attempt, order.cum, order.sent_ns = phase, answered, attempt, cum, sent_ns
        if extra:
            order.quantity, order.price, order.stop_price, *more = extra
            order.extra = Extra(*more)
            order.key = names(order)[-1]
        order.value = int(value) if value else cum * order.price
        order.executions = exec_ids or ()
        yield order, aliased
