"""What the simulated venue reads and says, as bytes: requests in bulk, execution reports from as few parts as possible.

An INTENT and a REPORT carry account, client order id, original id and symbol in the same order, so these 104 bytes
(`ids`) go from one into the other as a single slice and no id is ever decoded; the first 52 of them are the key.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from oms_actors.errors import Field, Reason
from oms_actors.messages import SYMBOL_MAX, ExecType, Kind, OrdStatus, ReportFlag, ResponseType
from oms_actors.record import REPORT_BYTES, VERSION

INTENT = struct.Struct("<6B42xqqqq104sQ")
"""kind, version, side, order_type, time_in_force, flags, quantity, price, stop_price, expire_time_ns, ids, number."""
INTENT_BYTES = INTENT.size
Fault = tuple[int, int, int, int]
"""(reason, field, value, limit), numbers of `errors.Reason` and `errors.Field`."""
REQUEST_KIND = 31
"""The bits of an INTENT's kind that say which request it is."""
KINDS = bytes((Kind.INTENT_NEW, Kind.INTENT_MODIFY, Kind.INTENT_CANCEL))
KEY_BYTES, AT_SYMBOL = 52, 88
"""In `ids`: account | client order id come first, the symbol last."""

EXECUTION = struct.Struct("<8sQ12xHHq8xqqqqqq104s24sqqqQ")
"""head, sequence, reason, field, time_ns, last_quantity, last_price, cum_quantity, leaves_quantity, avg_price,
quantity, ids, exec_id, value, limit, price, number: a REPORT with what the venue knows."""
FILL = struct.Struct("<8sQ16xq8xqqqq8xq104s24s16xqQ")
"""The same without reason, field, avg_price, value and limit."""
ACK = struct.Struct("<8sQ16xq32xq8xq104s40xqQ")
"""head, sequence, time_ns, leaves_quantity, quantity, ids, price, number."""


@lru_cache(maxsize=4096)
def head(side: int, exec_type: int, status: int, request: int, response: int) -> bytes:
    """The first 8 bytes of a REPORT from the venue."""
    return bytes((Kind.REPORT, VERSION, side, exec_type, status, ReportFlag.FROM_VENUE, request, response))


ACK_HEADS = tuple(head(s, ExecType.NEW, OrdStatus.NEW, Kind.NEW, ResponseType.ACK) for s in range(3))
"""By side."""
FILLED_HEADS = tuple(head(s, ExecType.TRADE, OrdStatus.FILLED, 0, ResponseType.FILL) for s in range(3))
PARTIAL_HEADS = tuple(head(s, ExecType.TRADE, OrdStatus.PARTIALLY_FILLED, 0, ResponseType.FILL) for s in range(3))


IS_NEW = Kind.NEW.value
_REJECT = (ExecType.REJECTED.value, OrdStatus.REJECTED.value)
_CANCEL_REJECT = (ExecType.CANCEL_REJECT.value, OrdStatus.NONE.value)
_REJECTED, _REFUSED = ResponseType.REJECT.value, ResponseType.CANCEL_REJECT.value


class Counts:
    """What the venue has seen and done, since its first day. The venue's own record, for a verdict on the desk."""

    __slots__ = (
        "acks", "cancel", "canceled", "concurrent_calls", "duplicates", "fills", "malformed", "modify", "new",
        "rejects", "replaced", "requests", "resends", "trades", "volume",
    )  # fmt: skip

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    requests: int
    new: int
    modify: int
    cancel: int
    duplicates: int
    """A client order id seen before, and no possible resend: each is a fault of the desk."""
    resends: int
    """The same, but marked as possible resend."""
    acks: int
    rejects: int
    fills: int
    canceled: int
    replaced: int
    trades: int
    volume: int
    """Traded quantity, 8 implied decimals."""
    concurrent_calls: int
    malformed: int

    def dump(self) -> list[str]:
        """As text: the volume may be beyond 64 bits."""
        return [str(getattr(self, name)) for name in self.__slots__]

    def load(self, data: list[str]) -> None:
        """What `dump` gave."""
        for name, value in zip(self.__slots__, data, strict=True):
            setattr(self, name, int(value))

    def took(self, frame: bytes) -> None:
        """Counts the requests of a frame of INTENT records by kind."""
        kinds = frame[::INTENT_BYTES]
        modifies, cancels = kinds.count(Kind.INTENT_MODIFY), kinds.count(Kind.INTENT_CANCEL)
        self.requests += len(kinds)
        self.new += len(kinds) - modifies - cancels
        self.modify += modifies
        self.cancel += cancels

    def seen_again(self, possible_resend: int) -> None:
        """Counts a client order id that was seen before."""
        if possible_resend:
            self.resends += 1
        else:
            self.duplicates += 1


class Rules:
    """What may be traded, in which steps (8 implied decimals). No symbols = any symbol."""

    def __init__(self, symbols: tuple[str, ...] = (), tick: int = 1, lot: int = 1) -> None:
        self.symbols = frozenset(s.encode("ascii").ljust(SYMBOL_MAX, b"\0") for s in symbols)
        self.tick, self.lot = tick, lot
        self.free = not symbols and tick == lot == 1
        """Is every symbol listed, and every positive price and quantity right?"""

    def lists(self, symbol: bytes) -> bool:
        """Is it traded here?"""
        return not self.symbols or symbol in self.symbols

    def fault(self, symbol: bytes, side: int, quantity: int, price: int) -> Fault | None:
        """Why an order at `price` is refused; None if it is not."""
        if not price % self.tick and not quantity % self.lot and quantity > 0 < price and 0 < side < 3:
            if self.lists(symbol):
                return None
            return Reason.UNKNOWN_SYMBOL, Field.SYMBOL, 0, 0
        if side not in (1, 2):
            return Reason.BAD_ENUM, Field.SIDE, side, 0
        for field, value, step, uneven in (
            (Field.QUANTITY, quantity, self.lot, Reason.BAD_LOT), (Field.PRICE, price, self.tick, Reason.BAD_TICK)
        ):  # fmt: skip
            if value <= 0:
                return Reason.NOT_POSITIVE, field, value, 0
            if value % step:
                return uneven, field, value, step
        return None


class Member:
    """One user of the exchange. `out` collects its reports, numbered from 1, until the shell takes them."""

    __slots__ = ("known", "name", "number", "out", "sequence")

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name
        self.sequence = 0
        self.out: list[bytes] = []
        self.known: dict[bytes, Any] = {}
        """By key: what became of every request with this client order id, in the model's own terms."""

    def say(
        self, response: int, exec_type: int, status: int, ids: bytes, now_ns: int, *, side: int = 0, request: int = 0,
        reason: int = Reason.NONE, field: int = 0, value: int = 0, limit: int = 0, last: tuple[int, int] = (0, 0),
        cum: int = 0, leaves: int = 0, average: int = 0, quantity: int = 0, price: int = 0,
        exec_id: bytes = b"", number: int = 0,
    ) -> None:  # fmt: skip
        """Adds one report, by the long way: everything that is not a plain ACK or FILL."""
        self.sequence += 1
        self.out.append(
            EXECUTION.pack(
                head(side, exec_type, status, request, response), self.sequence, reason, field, now_ns, *last, cum,
                leaves, average, quantity, ids, exec_id, value, limit, price, number,
            )
        )

    def refuse(
        self, kind: int, ids: bytes, now_ns: int, fault: Fault, side: int = 0, number: int = 0
    ) -> None:
        """REJECT of a NEW, CANCEL_REJECT of a MODIFY or CANCEL."""
        is_new = kind & REQUEST_KIND == IS_NEW
        self.sequence += 1
        self.out.append(
            EXECUTION.pack(
                head(side, *(_REJECT if is_new else _CANCEL_REJECT), kind & REQUEST_KIND,
                     _REJECTED if is_new else _REFUSED), self.sequence, fault[0], fault[1], now_ns, 0, 0, 0, 0, 0, 0,
                ids, b"", fault[2], fault[3], 0, number,
            )
        )  # fmt: skip


if not EXECUTION.size == FILL.size == ACK.size == REPORT_BYTES:
    raise RuntimeError("an execution report must be a REPORT")
