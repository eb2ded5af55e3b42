"""Everything that is said between an upstream, the desk and an exchange: frozen types, FIX's terms, stable numbers.

At the edges prices and quantities are decimals (str, int or Decimal; never float), inside they are int64 with 8
implied decimals. `oms_actors.record` lays the same messages out as fixed-width bytes.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import Any

import msgspec

from oms_actors.errors import ONE, FieldError, Reason, decimal_text, reason_text

INT64_MAX = 2**63 - 1
ID_MAX = 36
SYMBOL_MAX = 16
ACCOUNT_MAX = 16
EXEC_ID_MAX = 24

Number = str | int | Decimal


class Kind(IntEnum):
    """What a record is. 1-3 are requests, 33-35 the same as they go to the exchange; the others appear in journals
    and report rings. Never renumbered."""

    NEW = 1
    MODIFY = 2
    CANCEL = 3
    INTENT_NEW = 33
    INTENT_MODIFY = 34
    INTENT_CANCEL = 35
    REPORT = 64
    TEXT = 65
    RAW = 66
    RESULT = 68
    SESSION = 69
    UPSTREAM = 70
    COMMAND = 71
    MATCH = 72


class Side(IntEnum):
    """FIX 54."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """FIX 40."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4


class TimeInForce(IntEnum):
    """FIX 59."""

    DAY = 0
    GTC = 1
    IOC = 3
    FOK = 4
    GTD = 6


class OrdStatus(IntEnum):
    """FIX 39 (its character's code), plus IN_DOUBT: it is not known whether the exchange has the order."""

    NONE = 0
    NEW = ord("0")
    PARTIALLY_FILLED = ord("1")
    FILLED = ord("2")
    CANCELED = ord("4")
    PENDING_CANCEL = ord("6")
    REJECTED = ord("8")
    PENDING_NEW = ord("A")
    EXPIRED = ord("C")
    PENDING_REPLACE = ord("E")
    IN_DOUBT = ord("?")
    DONE_UNKNOWN = ord("!")


class ExecType(IntEnum):
    """FIX 150 (its character's code): what a report tells; CANCEL_REJECT is FIX's OrderCancelReject (35=9)."""

    NEW = ord("0")
    CANCELED = ord("4")
    REPLACED = ord("5")
    PENDING_CANCEL = ord("6")
    REJECTED = ord("8")
    CANCEL_REJECT = ord("9")
    PENDING_NEW = ord("A")
    EXPIRED = ord("C")
    RESTATED = ord("D")
    PENDING_REPLACE = ord("E")
    TRADE = ord("F")
    ORDER_STATUS = ord("I")
    IN_DOUBT = ord("?")
    DONE_UNKNOWN = ord("!")


class Flag(IntFlag):
    """Flags of a request record."""

    POSSIBLE_RESEND = 1
    POST_ONLY = 2


class CxlRejReason(IntEnum):
    """FIX 102: why a change was refused, in FIX's few words; `Reason` says it exactly."""

    TOO_LATE_TO_CANCEL = 0
    UNKNOWN_ORDER = 1
    BROKER_OPTION = 2
    """The exchange or the desk does not want it: a limit, the kill switch, a halt."""
    ALREADY_PENDING = 3
    """A cancel or replace of the order is under way."""
    DUPLICATE_CLIENT_ORDER_ID = 6
    OTHER = 99


_CXL_REJ_REASONS = {
    Reason.TOO_LATE: CxlRejReason.TOO_LATE_TO_CANCEL,
    Reason.ORDER_TERMINAL: CxlRejReason.TOO_LATE_TO_CANCEL,
    Reason.UNKNOWN_ORDER: CxlRejReason.UNKNOWN_ORDER,
    Reason.SUPERSEDED: CxlRejReason.ALREADY_PENDING,
    Reason.DUPLICATE_CLIENT_ORDER_ID: CxlRejReason.DUPLICATE_CLIENT_ORDER_ID,
} | dict.fromkeys((
    Reason.OUT_OF_HOURS, Reason.NOT_LOGGED_ON, Reason.IGNORED_AFTER_SEND, Reason.MAX_QUANTITY, Reason.MAX_NOTIONAL,
    Reason.PRICE_COLLAR, Reason.SYMBOL_NOT_ALLOWED, Reason.MAX_OPEN_ORDERS, Reason.MESSAGE_RATE, Reason.KILLED,
    Reason.REPEATED_EXECUTION, Reason.VENUE_REJECT, Reason.MARKET_CLOSED, Reason.HALTED,
), CxlRejReason.BROKER_OPTION)  # fmt: skip


class ReportFlag(IntFlag):
    """Flags of a report record."""

    FINAL = 1
    """The one final answer to its request."""
    POSSIBLE_DUPLICATE = 2
    FROM_SENDER = 4
    """`sequence` counts the sender's journal; else intake's."""
    FROM_VENUE = 8
    """Caused by a response of the exchange."""
    LATE = 16
    """Came after the order was done: applied, and alarmed."""
    UNMATCHED = 32
    """A response that fits no order: stored and counted only."""
    HAS_TEXT = 64
    """A TEXT record follows in the same frame."""


class Outcome(IntEnum):
    """What became of one exchange call (RESULT). Never renumbered."""

    SENT = 1
    NOT_SENT = 2
    """The adapter promised that nothing left."""
    FAILED = 3
    """Any other exception: it is not known what left."""
    NOT_CALLED = 4
    """The sender died before the call: nothing left, and it was no attempt."""


class SessionEvent(IntEnum):
    """What a SESSION record tells. Never renumbered."""

    CONNECTED = 1
    LOGON_SENT = 2
    LOGGED_ON = 3
    LOGON_REJECTED = 4
    LOGOUT_SENT = 5
    LOGGED_OUT = 6
    DISCONNECTED = 7
    STARTED = 8
    STOPPED = 9
    ROLL = 10
    KILL = 11
    RESUME = 12
    CLOCK_STEP = 13
    GUARD_STOP = 14
    """The repeated-execution guard has stopped an upstream (`reason`: its number)."""
    GUARD_RESET = 15
    """An operator lets it go on."""
    RELOAD = 16
    """Other risk limits from now on."""
    MASS_ACTION = 17
    MASS_ACTION_DONE = 18


class ResponseType(IntEnum):
    """What an exchange adapter says through `on_response`. Never renumbered."""

    LOGON_ACK = 1
    LOGON_REJECT = 2
    LOGOUT_ACK = 3
    DISCONNECTED = 4
    ACK = 5
    REJECT = 6
    FILL = 7
    CANCELED = 8
    REPLACED = 9
    CANCEL_REJECT = 10
    EXPIRED = 11
    QUERY_FOUND = 12
    QUERY_NOT_FOUND = 13


_NUMBER = "must be a decimal number such as 585.33: digits and at most one point"
_DECIMALS, _DIGITS_MAX = 8, len(str(INT64_MAX))


def fixed(field: str, value: Number, *, allow_zero: bool = False) -> int:
    """A decimal-like value as int64 with 8 implied decimals, exactly; FieldError names field, value, limit.

    Text has the syntax of FIX's float: ASCII digits, an optional point, an optional minus; nothing else.
    """
    if type(value) is str:
        result = _fixed_text(field, value)
    elif type(value) is int:
        result = value * ONE
    elif isinstance(value, (float, bool)):
        hint = "a float cannot hold most decimals exactly: pass a str, an int or a Decimal"
        raise FieldError(field, value, hint if isinstance(value, float) else "must be a number")
    else:
        result = _fixed_decimal(field, value)
    if result > INT64_MAX:
        raise FieldError(field, str(value), f"must be at most {decimal_text(INT64_MAX)}")
    if result < 0 or (result == 0 and not allow_zero):
        raise FieldError(field, str(value), "must be greater than zero")
    return result


@lru_cache(8192)
def _fixed_text(field: str, text: str) -> int:
    whole, _, decimals = text.removeprefix("-").partition(".")
    if not (text.isascii() and (whole + decimals).isdigit()):
        raise FieldError(field, text, _NUMBER)
    decimals = decimals.rstrip("0")
    if len(decimals) > _DECIMALS:
        raise FieldError(field, text, "must have at most 8 decimals")
    digits = whole.lstrip("0") + decimals.ljust(_DECIMALS, "0")
    if len(digits) > _DIGITS_MAX:
        raise FieldError(field, text, f"must be at most {decimal_text(INT64_MAX)}")
    return -int(digits) if text[0] == "-" else int(digits)


def _fixed_decimal(field: str, value: Number) -> int:
    try:
        number = Decimal(value)
    except (ArithmeticError, ValueError, TypeError):
        raise FieldError(field, value, _NUMBER) from None
    if not number.is_finite():
        raise FieldError(field, str(value), "must be a finite number")
    if number.adjusted() > 12:
        raise FieldError(field, str(value), f"must be at most {decimal_text(INT64_MAX)}")
    scaled = number * ONE
    result = int(scaled)
    if result != scaled:
        raise FieldError(field, str(value), "must have at most 8 decimals")
    return result


def enum_of(field: str, kind: type[IntEnum], value: Any) -> int:
    """A member's number from a member, its name (any case) or its number; FieldError lists the allowed names."""
    try:
        return _number_of(kind, value)
    except (KeyError, ValueError, TypeError):
        raise FieldError(field, value, f"must be one of {', '.join(m.name for m in kind)}") from None


@lru_cache(1024, typed=True)
def _number_of(kind: type[IntEnum], value: Any) -> int:
    """Enums are slow, and every order has three."""
    member = kind[value.strip().upper()] if isinstance(value, str) else kind(value)
    return int(member)


def text_of(field: str, value: Any, limit: int, *, empty: bool = False) -> bytes:
    """An id as ASCII bytes; FieldError if it is empty, too long or has characters that cannot be printed."""
    if not isinstance(value, str):
        raise FieldError(field, value, "must be text")
    if not value and empty:
        return b""
    if not (1 <= len(value) <= limit):
        raise FieldError(field, value, f"must have 1 to {limit} characters, has {len(value)}")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise FieldError(field, value, "must be printable ASCII without spaces")
    return value.encode("ascii")


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """FIX NewOrderSingle (35=D). Decimals as str, int or Decimal; enums as members or names."""

    client_order_id: str
    symbol: str
    side: Side | str
    quantity: Number
    price: Number | None = None
    order_type: OrderType | str = OrderType.LIMIT
    time_in_force: TimeInForce | str = TimeInForce.DAY
    stop_price: Number | None = None
    expire_time_ns: int = 0
    account: str = ""
    post_only: bool = False
    possible_resend: bool = False


class ModifyOrder(msgspec.Struct, frozen=True, kw_only=True):
    """FIX OrderCancelReplaceRequest (35=G): the order named by `orig_client_order_id` gets a new total quantity
    and/or price; what is None stays as it is."""

    client_order_id: str
    orig_client_order_id: str
    quantity: Number | None = None
    price: Number | None = None
    stop_price: Number | None = None
    symbol: str = ""
    side: Side | str | None = None
    account: str = ""
    possible_resend: bool = False


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """FIX OrderCancelRequest (35=F)."""

    client_order_id: str
    orig_client_order_id: str
    symbol: str = ""
    side: Side | str | None = None
    account: str = ""
    possible_resend: bool = False


Request = NewOrder | ModifyOrder | CancelOrder


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the desk tells an upstream about a request or its order (FIX ExecutionReport / OrderCancelReject).

    Quantities and prices are Decimals; `time_ns` is ns since the epoch (UTC); `latency_ns` is the exchange's round
    trip (0 = none). `final` marks the one final answer to the request `client_order_id`.
    """

    exec_type: ExecType
    ord_status: OrdStatus
    client_order_id: str
    orig_client_order_id: str
    order_id: str
    symbol: str
    account: str
    side: Side | None
    request: Kind | None
    final: bool
    quantity: Decimal
    price: Decimal
    last_quantity: Decimal
    last_price: Decimal
    cum_quantity: Decimal
    leaves_quantity: Decimal
    avg_price: Decimal
    exec_id: str
    reason: int
    field: int
    value: int
    limit: int
    time_ns: int
    latency_ns: int
    sequence: int
    flags: ReportFlag
    text: str = ""

    @property
    def reason_text(self) -> str:
        """Why, in words: the exchange's own text where it gave one."""
        return self.text or reason_text(self.reason, self.field, self.value, self.limit)

    @property
    def cxl_rej_reason(self) -> CxlRejReason | None:
        """FIX 102 of a refused change (`request` is 434, which of the two it was); None of any other report."""
        if self.exec_type is not ExecType.CANCEL_REJECT:
            return None
        return _CXL_REJ_REASONS.get(self.reason, CxlRejReason.OTHER)  # type: ignore[call-overload, no-any-return]

    def __str__(self) -> str:
        parts = [self.exec_type.name, self.client_order_id, self.ord_status.name]
        if self.exec_type is ExecType.TRADE:
            parts.append(f"{self.last_quantity} @ {self.last_price}")
        if self.cum_quantity:
            parts.append(f"filled {self.cum_quantity} of {self.quantity} @ {self.avg_price}")
        if self.reason or self.text:
            parts.append(self.reason_text)
        return " ".join(parts)


class ExchangeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange adapter hands to `on_response`, from any thread.

    `client_order_id` is the id of the request that is answered (for FILL and unsolicited CANCELED: the order's current
    id, or any id of its chain). `quantity` and `price` are the fill's for FILL, the order's new ones for REPLACED.
    `exec_id` makes a fill unique at the venue: a second one with the same id changes nothing. `account` is needed only
    where two accounts use the same client order id. `order_id` is the venue's; `time_ns` its time (UTC), if known.
    """

    type: ResponseType
    client_order_id: str = ""
    exec_id: str = ""
    quantity: Number = 0
    price: Number = 0
    text: str = ""
    account: str = ""
    order_id: str = ""
    time_ns: int = 0
    cum_quantity: Number = 0
    """QUERY_FOUND: what the venue has filled so far."""
    ord_status: OrdStatus | str = OrdStatus.NONE
    """QUERY_FOUND: the order's state at the venue, if it says; NONE = still open."""
