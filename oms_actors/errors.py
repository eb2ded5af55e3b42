"""Refusals are values: a reason code, the field at fault, its value and the limit. Text is made here, at the edge.

A reason and a field travel as numbers in every report and stay in every journal, so **numbers are never reused or
changed**; a new one goes to the end of its block.
"""

from __future__ import annotations

from enum import IntEnum

ONE = 100_000_000
"""Fixed point: 8 implied decimals."""


class Reason(IntEnum):
    """Why a request was refused, an order ended or an order waits. Never renumbered."""

    NONE = 0
    # 1-29: the request itself
    MALFORMED = 1
    VERSION_MISMATCH = 2
    UNKNOWN_ACTION = 3
    BAD_ENUM = 4
    MISSING = 5
    BAD_ID = 6
    NOT_POSITIVE = 7
    TOO_LARGE = 8
    NOT_ALLOWED = 9
    DUPLICATE_CLIENT_ORDER_ID = 10
    UNKNOWN_ORDER = 11
    ORDER_TERMINAL = 12
    FIELD_MISMATCH = 13
    BAD_SEQUENCE = 14
    # 30-49: the session
    OUT_OF_HOURS = 30
    EXPIRED_AT_CLOSE = 31
    CANCELED_AT_CLOSE = 32
    NOT_LOGGED_ON = 33
    END_OF_DAY = 34
    CARRIED_OVER = 35
    # 50-69: queue and sending
    QUEUE_FULL = 50
    QUEUE_AGE = 51
    THROTTLED = 52
    NOT_SENT = 53
    IGNORED_AFTER_SEND = 54
    IN_DOUBT = 55
    OUTCOME_UNKNOWN = 56
    CANCELED_IN_QUEUE = 57
    REPLACED_IN_QUEUE = 58
    RESOLVED_BY_OPERATOR = 59
    UPSTREAM_LAGS = 60
    MASS_CANCEL = 61
    UPSTREAM_GONE = 62
    ORDER_IN_DOUBT = 63
    CROSSED_INTERNALLY = 64
    REPLACED_TO_FILLED = 65
    SUPERSEDED = 66
    # 80-99: risk
    MAX_QUANTITY = 80
    MAX_NOTIONAL = 81
    PRICE_COLLAR = 82
    SYMBOL_NOT_ALLOWED = 83
    MAX_OPEN_ORDERS = 84
    DUPLICATE_CONTENT = 85
    MESSAGE_RATE = 86
    KILLED = 87
    REPEATED_EXECUTION = 88
    # 100-149: the venue
    VENUE_REJECT = 100
    UNKNOWN_SYMBOL = 101
    BAD_TICK = 102
    BAD_LOT = 103
    MARKET_CLOSED = 104
    HALTED = 105
    POST_ONLY_WOULD_CROSS = 106
    NO_LIQUIDITY = 107
    SELF_TRADE = 108
    TOO_LATE = 109
    CONCURRENT_CALL = 110
    ORDER_EXPIRED = 111
    VENUE_UNSOLICITED = 112
    # 150-169: the house
    DISK_FULL = 150
    JOURNAL_FAILED = 151


class Field(IntEnum):
    """The field a refusal points at. Never renumbered."""

    NONE = 0
    ACTION = 1
    VERSION = 2
    CLIENT_ORDER_ID = 3
    ORIG_CLIENT_ORDER_ID = 4
    SYMBOL = 5
    SIDE = 6
    QUANTITY = 7
    PRICE = 8
    ORDER_TYPE = 9
    TIME_IN_FORCE = 10
    STOP_PRICE = 11
    EXPIRE_TIME = 12
    ACCOUNT = 13
    SEQUENCE = 14
    RECORD = 15
    NOTIONAL = 16
    OPEN_ORDERS = 17
    MESSAGE_RATE = 18
    QUEUE = 19
    SESSION = 20
    UPSTREAM = 21
    FLAGS = 22
    AGE = 23


_TEXT: dict[Reason, str] = {
    Reason.MALFORMED: "malformed record",
    Reason.VERSION_MISMATCH: "record version is not spoken here",
    Reason.UNKNOWN_ACTION: "action is none of NEW, MODIFY, CANCEL",
    Reason.BAD_ENUM: "not one of the allowed values",
    Reason.MISSING: "is missing",
    Reason.BAD_ID: "must be 1 to 36 printable ASCII characters",
    Reason.NOT_POSITIVE: "must be greater than zero",
    Reason.TOO_LARGE: "is too large",
    Reason.NOT_ALLOWED: "is not allowed for this order type",
    Reason.DUPLICATE_CLIENT_ORDER_ID: "was used before on this trade date",
    Reason.UNKNOWN_ORDER: "names no order of this trade date",
    Reason.ORDER_TERMINAL: "the order is already done",
    Reason.FIELD_MISMATCH: "differs from the order's",
    Reason.BAD_SEQUENCE: "sequence is not the next one",
    Reason.OUT_OF_HOURS: "outside trading hours",
    Reason.EXPIRED_AT_CLOSE: "still waiting at the session's close",
    Reason.CANCELED_AT_CLOSE: "canceled at the session's close",
    Reason.NOT_LOGGED_ON: "no session with the exchange",
    Reason.END_OF_DAY: "expired by the end-of-day roll",
    Reason.CARRIED_OVER: "carried over to the next trade date",
    Reason.QUEUE_FULL: "the waiting queue is full",
    Reason.QUEUE_AGE: "waited longer than max_queue_age",
    Reason.THROTTLED: "waits for the exchange's rate limit",
    Reason.NOT_SENT: "the adapter could not send it",
    Reason.IGNORED_AFTER_SEND: "the order is at the exchange and after_send is \"ignore\"",
    Reason.IN_DOUBT: "it is not known whether the exchange has it",
    Reason.OUTCOME_UNKNOWN: "the session ended before the outcome was known",
    Reason.CANCELED_IN_QUEUE: "canceled before it was sent",
    Reason.REPLACED_IN_QUEUE: "changed before it was sent",
    Reason.RESOLVED_BY_OPERATOR: "resolved by the operator",
    Reason.UPSTREAM_LAGS: "the upstream does not read its reports",
    Reason.MASS_CANCEL: "mass cancel",
    Reason.UPSTREAM_GONE: "its upstream disconnected",
    Reason.ORDER_IN_DOUBT: "waits until the order's outcome is known",
    Reason.CROSSED_INTERNALLY: "matched inside before it was sent",
    Reason.REPLACED_TO_FILLED: "replaced to a quantity that is already filled",
    Reason.SUPERSEDED: "a cancel of the order came before it was sent",
    Reason.MAX_QUANTITY: "above risk limit max_quantity",
    Reason.MAX_NOTIONAL: "above risk limit max_notional",
    Reason.PRICE_COLLAR: "outside the price collar",
    Reason.SYMBOL_NOT_ALLOWED: "symbol is not on the allowed list",
    Reason.MAX_OPEN_ORDERS: "too many open orders",
    Reason.DUPLICATE_CONTENT: "same symbol, side, price and quantity as a moment ago",
    Reason.MESSAGE_RATE: "too many requests per second",
    Reason.KILLED: "the kill switch is on",
    Reason.REPEATED_EXECUTION: "repeated-execution guard tripped",
    Reason.VENUE_REJECT: "rejected by the exchange",
    Reason.UNKNOWN_SYMBOL: "the exchange does not list it",
    Reason.BAD_TICK: "is not a multiple of the tick size",
    Reason.BAD_LOT: "is not a multiple of the lot size",
    Reason.MARKET_CLOSED: "the market is closed",
    Reason.HALTED: "trading is halted",
    Reason.POST_ONLY_WOULD_CROSS: "post-only order would trade",
    Reason.NO_LIQUIDITY: "nothing to trade against",
    Reason.SELF_TRADE: "would trade with an order of the same owner",
    Reason.TOO_LATE: "too late: the order is done",
    Reason.CONCURRENT_CALL: "two callers at once",
    Reason.ORDER_EXPIRED: "expired",
    Reason.VENUE_UNSOLICITED: "done by the exchange of its own accord",
    Reason.DISK_FULL: "no disk space for the journal",
    Reason.JOURNAL_FAILED: "the journal cannot be written",
}

_DECIMAL_FIELDS = frozenset({Field.QUANTITY, Field.PRICE, Field.STOP_PRICE, Field.NOTIONAL})
_TIME_FIELDS = frozenset({Field.SESSION, Field.EXPIRE_TIME})


def decimal_text(value: int) -> str:
    """Fixed point int64 (8 implied decimals) as the shortest decimal text: 58533000000 -> '585.33'."""
    sign = "-" if value < 0 else ""
    whole, part = divmod(abs(value), ONE)
    if not part:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{part:08d}".rstrip("0")


def _value_text(field: Field, value: int) -> str:
    if field in _DECIMAL_FIELDS:
        return decimal_text(value)
    if field in _TIME_FIELDS and value > 0:
        from datetime import UTC, datetime

        return datetime.fromtimestamp(value // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")
    if field is Field.AGE:
        return f"{value / 1_000_000:.10g} ms"
    return str(value)


def reason_text(reason: int, field: int = 0, value: int = 0, limit: int = 0) -> str:
    """One line for a person: what is wrong with which field, its value and the limit.

    `value` and `limit` are int64; for decimal fields in fixed point, for times ns since the epoch (UTC).
    """
    try:
        code = Reason(reason)
    except ValueError:
        return f"reason {reason}"
    if code is Reason.NONE:
        return ""
    where = Field(field) if field in Field._value2member_map_ else Field.NONE
    text = _TEXT[code]
    if code is Reason.OUT_OF_HOURS:
        return f"{text}; next open {_value_text(Field.SESSION, limit)}" if limit else f"{text}; no next open known"
    head = f"{where.name.lower()}: " if where else ""
    tail = ""
    if value or where in _DECIMAL_FIELDS or where is Field.VERSION:  # of the others 0 is none
        tail = f" (value {_value_text(where, value)}"
        tail += f", limit {_value_text(where, limit)})" if limit else ")"
    elif limit:
        tail = f" (limit {_value_text(where, limit)})"
    return f"{head}{text}{tail}"


class OmsError(Exception):
    """Base of every error that a user of this package may see."""


class FieldError(OmsError, ValueError):
    """A value that cannot become a request: names the field, the value and the limit."""

    def __init__(self, field: str, value: object, limit: str) -> None:
        self.field, self.value, self.limit = field, value, limit
        super().__init__(f"{field}: {value!r}: {limit}")


class ConfigError(OmsError):
    """Configuration that cannot be used; carries every problem found, one per line."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DeskDown(OmsError):
    """No running desk under this instance name."""


class NotSent(OmsError):
    """Raised by an exchange adapter that *promises* that nothing left: the request may be tried again."""


class WrongCaller(OmsError):
    """The exchange API was called from another thread or process than the sender's."""


def require(ok: object, why: str) -> None:
    """A broken invariant ends the process (`assert` would vanish under -O)."""
    if not ok:
        raise RuntimeError(f"broken invariant: {why}")
