"""The venue's simplest model: every order is acknowledged and at once filled whole, at its price.

A MARKET order is filled at the symbol's last price, a STOP at its stop price. There is no book, so there is nothing to
modify or to cancel any more. All it remembers of a request is one integer: what it filled (quantity << 64 | price), or
the negative reason of its refusal. That makes it fast, and it still knows every client order id of the day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from oms_actors.core.execution import (
    ACK,
    ACK_HEADS,
    AT_SYMBOL,
    FILL,
    FILLED_HEADS,
    INTENT,
    KEY_BYTES,
    REQUEST_KIND,
    Counts,
    Member,
    Rules,
)
from oms_actors.errors import Field, Reason
from oms_actors.messages import ACCOUNT_MAX, ExecType, Flag, Kind, OrderType, OrdStatus, ResponseType

NEW = Kind.INTENT_NEW.value
MARKET, LIMIT = OrderType.MARKET.value, OrderType.LIMIT.value
_PRICE_BITS = 64
_PRICE_MASK = (1 << _PRICE_BITS) - 1
_CHANGE = 1 << 16
"""Times the kind of request, added to the reason for which a MODIFY or CANCEL was refused."""


class FillModel:
    """See above. `rules` says which symbols there are and in which steps they trade."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.counts = Counts()
        self.executions = 0
        self.last_price: dict[bytes, int] = {}
        """By symbol, padded."""

    def step(self, member: Member, frame: bytes, now_ns: int) -> None:
        """Answers a frame of INTENT records."""
        known, out, last_price, fault_of = member.known, member.out, self.last_price, self.rules.fault
        ack, fill = ACK.pack, FILL.pack
        free = self.rules.free
        sequence, executions, volume = member.sequence, self.executions, 0
        for kind, _, side, order_type, _, flags, quantity, price, stop, _, ids, number in INTENT.iter_unpack(frame):
            key = ids[:KEY_BYTES]
            if kind != NEW or key in known:
                member.sequence = sequence
                self._other(member, kind, key, flags, ids, side, number, now_ns)
                sequence = member.sequence
                continue
            symbol = ids[AT_SYMBOL:]
            if order_type != LIMIT:
                price = last_price.get(symbol, 0) if order_type == MARKET else price or stop
            fault = None if free and 0 < side < 3 and quantity > 0 < price else fault_of(symbol, side, quantity, price)
            if fault:
                if order_type == MARKET and not price:
                    fault = (Reason.NO_LIQUIDITY, Field.PRICE, 0, 0)
                known[key] = -fault[0]
                member.sequence = sequence
                self.counts.rejects += 1
                member.refuse(kind, ids, now_ns, fault, side, number)
                sequence = member.sequence
                continue
            known[key] = quantity << _PRICE_BITS | price
            last_price[symbol] = price
            executions += 1
            volume += quantity
            sequence += 2
            out.append(ack(ACK_HEADS[side], sequence - 1, now_ns, quantity, quantity, ids, price, number))
            out.append(
                fill(FILLED_HEADS[side], sequence, now_ns, quantity, price, quantity, 0, quantity, ids,
                     b"%d" % executions, price, number)
            )  # fmt: skip
        member.sequence = sequence
        self._count(frame, executions - self.executions, volume)
        self.executions = executions

    def query(self, member: Member, ids: bytes, now_ns: int) -> None:
        """QUERY_FOUND with the order's state (for a change: its first answer again), or QUERY_NOT_FOUND."""
        known = member.known.get(ids[:KEY_BYTES])
        if known is None:
            member.say(ResponseType.QUERY_NOT_FOUND, ExecType.ORDER_STATUS, OrdStatus.NONE, ids, now_ns)
        else:
            self._state(member, known, ids, now_ns)

    def mass_cancel(self, member: Member, account: bytes, now_ns: int) -> None:
        """Nothing ever rests here."""

    def refuse(self, member: Member, ids: bytes, now_ns: int) -> None:
        """Rejects a NEW as the exchange pleases; one that it knows is told how it stands."""
        key, counts = ids[:KEY_BYTES], self.counts
        if key in member.known:
            self._state(member, member.known[key], ids, now_ns)
            return
        member.known[key] = -Reason.VENUE_REJECT
        counts.requests += 1
        counts.new += 1
        counts.rejects += 1
        member.refuse(NEW, ids, now_ns, (Reason.VENUE_REJECT, 0, 0, 0))

    def tick(self, now_ns: int) -> None:
        """Nothing ever expires here."""

    def next_tick_ns(self) -> int:
        """0: never."""
        return 0

    def switch(self, symbol: bytes, state: int) -> None:
        """There are no trading states without a book."""

    def end_day(self, members: Iterable[Member], now_ns: int) -> None:
        """Forgets all client order ids."""
        for member in members:
            member.known = {}

    def dump(self) -> list[Any]:
        """Everything but what members have done, which `dump_known` gives."""
        return [self.executions, self.counts.dump(), list(self.last_price.items())]

    def load(self, data: list[Any]) -> None:
        """What `dump` gave, into a fresh model."""
        self.executions, counts, prices = data
        self.counts.load(counts)
        self.last_price = dict(prices)

    def dump_known(self, member: Member) -> list[Any]:
        """Every client order id of a member and what became of it."""
        return [[key, known >> _PRICE_BITS, known & _PRICE_MASK] for key, known in member.known.items()]

    def load_known(self, member: Member, data: list[Any], beat: Callable[[], object]) -> None:
        """What `dump_known` gave."""
        beat()
        member.known = {key: quantity << _PRICE_BITS | price for key, quantity, price in data}

    def _other(
        self, member: Member, kind: int, key: bytes, flags: int, ids: bytes, side: int, number: int, now_ns: int
    ) -> None:
        """A request seen before, or one that wants to change an order, which is filled already."""
        if key in member.known:
            self.counts.seen_again(flags & Flag.POSSIBLE_RESEND)
            self._state(member, member.known[key], ids, now_ns, side, number)
            return
        is_known = ids[:ACCOUNT_MAX] + ids[KEY_BYTES:AT_SYMBOL] in member.known
        reason = Reason.TOO_LATE if is_known else Reason.UNKNOWN_ORDER
        member.known[key] = -reason - _CHANGE * (kind & REQUEST_KIND)
        self.counts.rejects += 1
        member.refuse(kind, ids, now_ns, (reason, Field.ORIG_CLIENT_ORDER_ID, 0, 0), side, number)

    def _state(self, member: Member, known: int, ids: bytes, now_ns: int, side: int = 0, number: int = 0) -> None:
        if known < -_CHANGE:
            kind, reason = divmod(-known, _CHANGE)
            member.refuse(kind, ids, now_ns, (reason, Field.ORIG_CLIENT_ORDER_ID, 0, 0), side, number)
        elif known < 0:
            member.say(
                ResponseType.QUERY_FOUND, ExecType.ORDER_STATUS, OrdStatus.REJECTED, ids, now_ns, side=side,
                reason=-known, number=number,
            )  # fmt: skip
        else:
            quantity, price = known >> _PRICE_BITS, known & _PRICE_MASK
            member.say(
                ResponseType.QUERY_FOUND, ExecType.ORDER_STATUS, OrdStatus.FILLED, ids, now_ns, side=side,
                cum=quantity, average=price, quantity=quantity, price=price, number=number,
            )  # fmt: skip

    def _count(self, frame: bytes, fills: int, volume: int) -> None:
        counts = self.counts
        counts.took(frame)
        counts.acks += fills
        counts.fills += fills
        counts.trades += fills
        counts.volume += volume
