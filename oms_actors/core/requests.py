"""Is this a request? Rules that need no state: layout, enums, ids, and which fields go with which order type.

Theory of operation. A record is *undecodable* if somebody who decodes it could stumble (version, kind, enums, ids): it
is kept as raw bytes and never travels on as a request. Else it may *break a rule* (a LIMIT without price): a request
that is refused. `undecodable` and `broken_rule` name field, value and limit; they look at one record.

Nearly all records are plain, so `Plain` looks at a whole frame by columns: byte i of every record is `frame[i::192]`,
a field of 8 bytes every 24th word. It says yes only if every record would pass the two functions; where it says no,
they tell which record and why. `tests/intake` holds the two against each other.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import compress, pairwise, product
from operator import not_
from typing import NamedTuple

from oms_actors.errors import Field, Reason
from oms_actors.messages import (
    ACCOUNT_MAX,
    ID_MAX,
    INT64_MAX,
    SYMBOL_MAX,
    Flag,
    Kind,
    OrderType,
    Side,
    TimeInForce,
)
from oms_actors.record import (
    AT_ACCOUNT,
    AT_CLIENT_ORDER_ID,
    AT_FLAGS,
    AT_ORDER_NUMBER,
    AT_ORIG,
    AT_QUANTITY,
    AT_SYMBOL,
    KEY_BYTES,
    REQUEST,
    REQUEST_BYTES,
    VERSION,
)


class Fault(NamedTuple):
    """Why a record is refused; `value` and `limit` are int64 (fixed point or ns where the field is)."""

    reason: Reason
    field: Field
    value: int = 0
    limit: int = 0


NEW, MODIFY, CANCEL = int(Kind.NEW), int(Kind.MODIFY), int(Kind.CANCEL)
_FLAGS = int(Flag.POSSIBLE_RESEND | Flag.POST_ONLY)
_TYPES, _TIFS = frozenset(map(int, OrderType)), frozenset(map(int, TimeInForce))
_PRICED = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_GRAPHIC = bytes(range(0x21, 0x7F))
"""Printable ASCII without the space."""


# -- one record -------------------------------------------------------------------------------------------------------


def undecodable(record: bytes) -> Fault | None:
    """What makes these bytes no request of this version; None if they decode."""
    if len(record) != REQUEST_BYTES:
        return Fault(Reason.MALFORMED, Field.RECORD, len(record), REQUEST_BYTES)
    kind, version, side, order_type, tif, flags = record[:6]
    if version != VERSION:
        return Fault(Reason.VERSION_MISMATCH, Field.VERSION, version, VERSION)
    if not NEW <= kind <= CANCEL:
        return Fault(Reason.UNKNOWN_ACTION, Field.ACTION, kind)
    if side > Side.SELL or (kind == NEW and not side):
        return Fault(Reason.BAD_ENUM, Field.SIDE, side)
    if order_type not in _TYPES and (kind == NEW or order_type):
        return Fault(Reason.BAD_ENUM, Field.ORDER_TYPE, order_type)
    if tif not in _TIFS:
        return Fault(Reason.BAD_ENUM, Field.TIME_IN_FORCE, tif)
    if flags & ~_FLAGS:
        return Fault(Reason.BAD_ENUM, Field.FLAGS, flags, _FLAGS)
    return _bad_text(record)


def _bad_text(record: bytes) -> Fault | None:
    if not record[AT_CLIENT_ORDER_ID]:
        return Fault(Reason.MISSING, Field.CLIENT_ORDER_ID, 0, ID_MAX)
    for field, begin, size in _TEXTS:
        text = record[begin : begin + size].rstrip(b"\0")
        if text.translate(None, _GRAPHIC):
            return Fault(Reason.BAD_ID, field, 0, size)
    return None


_TEXTS = (
    (Field.ACCOUNT, AT_ACCOUNT, ACCOUNT_MAX),
    (Field.CLIENT_ORDER_ID, AT_CLIENT_ORDER_ID, ID_MAX),
    (Field.ORIG_CLIENT_ORDER_ID, AT_ORIG, ID_MAX),
    (Field.SYMBOL, AT_SYMBOL, SYMBOL_MAX),
)


def broken_rule(record: bytes) -> Fault | None:
    """What a decodable request asks for that cannot be; None if it may go on."""
    (kind, _, _, order_type, tif, flags, _, _, _, _, _, _, _, _, _, quantity, price, stop_price, expire_ns, _, _, orig,
     symbol, _) = REQUEST.unpack(record)  # fmt: skip
    if kind == NEW:
        return _broken_new(order_type, tif, flags, quantity, price, stop_price, expire_ns, orig, symbol)
    if not orig[0]:
        return Fault(Reason.MISSING, Field.ORIG_CLIENT_ORDER_ID, 0, ID_MAX)
    if kind == CANCEL:
        return None
    for field, value in ((Field.QUANTITY, quantity), (Field.PRICE, price), (Field.STOP_PRICE, stop_price)):
        if value < 0:
            return Fault(Reason.NOT_POSITIVE, field, value)
    if not (quantity or price or stop_price):
        return Fault(Reason.MISSING, Field.QUANTITY)
    return None


def _broken_new(
    order_type: int, tif: int, flags: int, quantity: int, price: int, stop_price: int, expire_ns: int, orig: bytes,
    symbol: bytes,
) -> Fault | None:  # fmt: skip
    if not symbol[0]:
        return Fault(Reason.MISSING, Field.SYMBOL, 0, SYMBOL_MAX)
    if orig[0]:
        return Fault(Reason.NOT_ALLOWED, Field.ORIG_CLIENT_ORDER_ID)
    if quantity <= 0:
        return Fault(Reason.NOT_POSITIVE, Field.QUANTITY, quantity)
    fault = _price(Field.PRICE, price, order_type in _PRICED)
    fault = fault or _price(Field.STOP_PRICE, stop_price, order_type in _STOPS)
    if fault is None and flags & Flag.POST_ONLY and order_type != OrderType.LIMIT:
        fault = Fault(Reason.NOT_ALLOWED, Field.FLAGS, flags)
    return fault or _expiry(tif, expire_ns)


def _price(field: Field, value: int, wanted: bool) -> Fault | None:
    if value < 0:
        return Fault(Reason.NOT_POSITIVE, field, value)
    if wanted and not value:
        return Fault(Reason.MISSING, field)
    return Fault(Reason.NOT_ALLOWED, field, value) if value and not wanted else None


def _expiry(tif: int, expire_ns: int) -> Fault | None:
    if tif == TimeInForce.GTD:
        return None if expire_ns > 0 else Fault(Reason.MISSING, Field.EXPIRE_TIME, expire_ns, INT64_MAX)
    return Fault(Reason.NOT_ALLOWED, Field.EXPIRE_TIME, expire_ns) if expire_ns else None


# -- one plain order --------------------------------------------------------------------------------------------------

_PLAIN_HEADS = frozenset(
    bytes((NEW, VERSION, side, OrderType.LIMIT, tif, flags))
    for side, tif, flags in product((Side.BUY, Side.SELL), _TIFS - {TimeInForce.GTD}, (0, Flag.POST_ONLY))
)
_TERMS = struct.Struct("<qqqq")
"""From `AT_QUANTITY` on: quantity, price, stop price, expiry."""


def is_plain_new(record: bytes) -> bool:
    """Is this surely an order that `undecodable` and `broken_rule` let pass? False says nothing. Most orders are like
    that, and one that comes alone is waited for."""
    quantity, price, stop_price, expire_ns = _TERMS.unpack_from(record, AT_QUANTITY)
    return (
        record[:6] in _PLAIN_HEADS and quantity > 0 and price > 0 and not (stop_price or expire_ns)
        and _are_plain_ids(record[AT_ACCOUNT:AT_ORDER_NUMBER].translate(_CLASS))
    )  # fmt: skip


@lru_cache(4096)
def _are_plain_ids(classes: bytes) -> bool:
    """Account, client order id, no original id, symbol: printable ASCII and then padding. By the classes of their
    bytes, which hang on the lengths only, so they come again and again."""
    account, own, orig, symbol = (
        classes[begin:end].rstrip(b"\0") for begin, end in pairwise((0, _CLIENT_ORDER_ID, _ORIG, _SYMBOL, None))
    )
    return bool(own and symbol) and not (orig or (account + own + symbol).strip(b"\1"))


# -- a whole frame ----------------------------------------------------------------------------------------------------

_WORDS = REQUEST_BYTES // 8
_REGION_BYTES = AT_ORDER_NUMBER - AT_ACCOUNT  # account, client order id, original id, symbol
_CLIENT_ORDER_ID, _ORIG, _SYMBOL = AT_CLIENT_ORDER_ID - AT_ACCOUNT, KEY_BYTES, AT_SYMBOL - AT_ACCOUNT

# Classes of bytes in an id region: 0 padding, 1 graphic, 2 anything else; 3 a graphic byte that begins a field.
_CLASS = bytes(0 if c == 0 else 1 if c in _GRAPHIC else 2 for c in range(256))
_BEGIN = bytes((0, 3, 2, 3)) + bytes(252)
_WANTED_TYPE = bytes((0, OrderType.LIMIT, 0, 0)) + bytes(252)  # by kind
_WANTED_ORIG = bytes((0, 0, 3, 3)) + bytes(252)


class Plain:
    """A frame of plain requests: any mixture of LIMIT orders, modifies and cancels without flags or stop prices.

    `ok` says whether it is one. `kinds` (bytes) and `keys` (account | client order id) are by record.
    """

    __slots__ = ("keys", "kinds", "ok", "regions")

    def __init__(self, frame: bytes | bytearray) -> None:
        self.kinds = frame[0::REQUEST_BYTES]
        self.regions: list[bytes] = []
        self.keys: list[bytes] = []
        self.ok = not len(frame) % REQUEST_BYTES and self._plain_heads(frame) and self._plain_numbers(frame)
        if self.ok:
            begins = range(AT_ACCOUNT, len(frame), REQUEST_BYTES)
            self.regions = [bytes(frame[at : at + _REGION_BYTES]) for at in begins]
            self.ok = self._plain_texts()
            self.keys = [region[:KEY_BYTES] for region in self.regions]

    def origs(self) -> list[tuple[int, bytes]]:
        """(index, key of the order meant) of every change."""
        return [
            (i, region[:ACCOUNT_MAX] + region[_ORIG:_SYMBOL])
            for i, region in enumerate(self.regions)
            if self.kinds[i] != NEW
        ]

    def _plain_heads(self, frame: bytes | bytearray) -> bool:
        kinds, sides = self.kinds, frame[2::REQUEST_BYTES]
        return (
            not kinds.translate(None, b"\1\2\3")
            and frame[1::REQUEST_BYTES].count(VERSION) == len(kinds)
            and not sides.translate(None, b"\0\1\2")
            and (0 not in sides or NEW not in compress(kinds, map(not_, sides)))
            and frame[3::REQUEST_BYTES] == kinds.translate(_WANTED_TYPE)
            and not frame[4::REQUEST_BYTES].translate(None, b"\0\1\3\4")
            and not frame[AT_FLAGS::REQUEST_BYTES].translate(None, b"\0\2")
        )

    def _plain_numbers(self, frame: bytes | bytearray) -> bool:
        kinds = self.kinds
        with memoryview(frame).cast("q") as words:
            quantities, prices = words[6::_WORDS].tolist(), words[7::_WORDS].tolist()
            if any(words[8::_WORDS].tolist()) or any(words[9::_WORDS].tolist()):
                return False
        if not kinds:
            return True
        if min(quantities) < 0 or min(prices) < 0:
            return False
        if 0 in quantities and NEW in compress(kinds, map(not_, quantities)):
            return False
        if 0 not in prices:
            return True
        if NEW in compress(kinds, map(not_, prices)):
            return False
        return MODIFY not in kinds or (MODIFY, 0, 0) not in zip(kinds, quantities, prices, strict=True)

    def _plain_texts(self) -> bool:
        classes = bytearray(b"".join(self.regions)).translate(_CLASS)
        count, kinds = len(self.regions), self.kinds
        for begin in (0, _CLIENT_ORDER_ID, _ORIG, _SYMBOL):
            classes[begin::_REGION_BYTES] = classes[begin::_REGION_BYTES].translate(_BEGIN)
        symbols = classes[_SYMBOL::_REGION_BYTES]
        return (
            classes[_CLIENT_ORDER_ID::_REGION_BYTES].count(3) == count
            and classes[_ORIG::_REGION_BYTES] == kinds.translate(_WANTED_ORIG)
            and (0 not in symbols or NEW not in compress(kinds, map(not_, symbols)))
            and 2 not in classes
            and b"\0\1" not in classes
        )
