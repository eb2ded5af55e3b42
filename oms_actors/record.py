"""The record: the one fixed-width layout in rings, journals and the exchange link. Little endian, versioned.

A REQUEST (or an INTENT: the request as it goes to the exchange) has 192 bytes, a RESULT 32, every other kind 256; the
first byte is the kind, so a frame is a plain concatenation of records. Ids are ASCII, padded with NULs. `account |
client_order_id` lie side by side: those 52 bytes are the key of an order (the scope of an id is account and trade
date), so a hot path takes the key as one slice and never decodes it.

    REQUEST (192)                              REPORT (256)
      0 kind, version, side, order_type,         0 kind, version, side, exec_type,
      4 time_in_force, flags, partition(u16)     4 ord_status, flags, request_kind, response_type
      8 sequence      u64                        8 sequence         u64
     16 upstream, session, epoch   u32 x 3      16 upstream, session, epoch   u32 x 3
     28 reason, field   u16 x 2                 28 reason, field   u16 x 2
     32 send_time_ns    i64 (monotonic)         32 time_ns          i64 (UTC)
     40 receive_time_ns i64 (monotonic)         40 latency_ns       i64
     48 quantity        i64 (8 decimals)        48 last_quantity, 56 last_price
     56 price                                   64 cum_quantity,  72 leaves_quantity
     64 stop_price                              80 avg_price,     88 quantity
     72 expire_time_ns  i64 (UTC)
     80 account         16s                     96 account          16s
     96 client_order_id 36s                    112 client_order_id  36s
    132 orig_client_order_id 36s               148 orig_client_order_id 36s
    168 symbol          16s                    184 symbol           16s
    184 order_number    u64                    200 exec_id          24s
                                               224 value, 232 limit, 240 price, 248 order_number

The version rule: a reader refuses a record of another version by name; a new field takes reserved space or a new kind,
and only a change of an existing field's meaning raises VERSION.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

from oms_actors.errors import FieldError, decimal_text
from oms_actors.messages import (
    ACCOUNT_MAX,
    ID_MAX,
    INT64_MAX,
    SYMBOL_MAX,
    CancelOrder,
    ExecType,
    Flag,
    Kind,
    ModifyOrder,
    NewOrder,
    OrderType,
    OrdStatus,
    Report,
    ReportFlag,
    Request,
    Side,
    TimeInForce,
    enum_of,
    fixed,
    text_of,
)

VERSION = 1
REQUEST_BYTES = 192
REPORT_BYTES = 256
KEY_BYTES = ACCOUNT_MAX + ID_MAX
REQUEST_FRAME_BYTES_MAX = 682 * REQUEST_BYTES
"""A frame of an upstream has at most 682 requests (128 KiB), whatever the size of its ring."""

REQUEST = struct.Struct("<6BHQIIIHHqqqqqq16s36s36s16sQ")
REPORT = struct.Struct("<8BQIIIHHqqqqqqqq16s36s36s16s24sqqqQ")
REQUEST_KEYED = struct.Struct("<6BHQIIIHHqqqqqq52s36s16sQ")
"""The same bytes with account and client order id as one key."""
_NEW = struct.Struct("<6s2xQ16xq8xqqqq16s36s36x16s8x")
"""The same bytes of a NEW on its way in: head, sequence, send time, quantity to expiry, account, id, symbol."""
TEXT = struct.Struct("<BBHIQ240s")
RAW = struct.Struct("<BBHIQQQ192s32x")
"""Undecodable input, kept as it came: kind, version, ring-frame length, upstream, sequence, time_ns, index, bytes."""
RESULT = struct.Struct("<BBHIQqq")
"""What an exchange call did: kind, version, outcome, attempt, intent's sequence, call_ns, return_ns (monotonic)."""
SESSION = struct.Struct("<BBHIqqqqQ120s88x")
"""kind, version, event, reason, time_ns (UTC), monotonic_ns, open_ns, close_ns (UTC), trade_date, text."""
UPSTREAM = struct.Struct("<BBHIQQ64s168x")
"""kind, version, 0, upstream, report positions it has committed (intake's, sender's sequence), name."""
MATCH = struct.Struct("<BBHIQqqqQQ52s52s16s80x")
"""Internal crossing: kind, version, 0, 0, sequence, time_ns (UTC), quantity, price, order numbers and keys of buy and
sell, symbol."""

REQUEST_NAMES = (
    "kind", "version", "side", "order_type", "time_in_force", "flags", "partition", "sequence", "upstream", "session",
    "epoch", "reason", "field", "send_time_ns", "receive_time_ns", "quantity", "price", "stop_price",
    "expire_time_ns", "account", "client_order_id", "orig_client_order_id", "symbol", "order_number",
)  # fmt: skip
REPORT_NAMES = (
    "kind", "version", "side", "exec_type", "ord_status", "flags", "request_kind", "response_type", "sequence",
    "upstream", "session", "epoch", "reason", "field", "time_ns", "latency_ns", "last_quantity", "last_price",
    "cum_quantity", "leaves_quantity", "avg_price", "quantity", "account", "client_order_id",
    "orig_client_order_id", "symbol", "exec_id", "value", "limit", "price", "order_number",
)  # fmt: skip

# Offsets that hot paths patch or slice.
AT_FLAGS = 5
AT_SEQUENCE = 8
AT_UPSTREAM = 16
AT_REASON = 28
AT_QUANTITY = 48
AT_PRICE = 56
AT_ACCOUNT = 80
AT_CLIENT_ORDER_ID = 96
AT_ORIG = 132
AT_SYMBOL = 168
AT_ORDER_NUMBER = 184
KEY = slice(AT_ACCOUNT, AT_ORIG)
REPORT_KEY = slice(96, 148)
REPORT_ORIG = slice(148, 184)
NO_ID = b"\0" * ID_MAX


def _sizes() -> bytes:
    sizes = bytearray(256)  # in units of 32 bytes; 0 = no such kind
    for kind in Kind:
        sizes[kind] = REPORT_BYTES // 32
    for kind in (Kind.NEW, Kind.MODIFY, Kind.CANCEL, Kind.INTENT_NEW, Kind.INTENT_MODIFY, Kind.INTENT_CANCEL):
        sizes[kind] = REQUEST_BYTES // 32
    sizes[Kind.RESULT] = RESULT.size // 32
    return bytes(sizes)


SIZES = _sizes()
"""By kind, in units of 32 bytes: a REQUEST 6, a RESULT 1, the others 8; 0 where no such kind exists."""


def records(payload: bytes) -> Iterator[bytes]:
    """Walks a frame's records; ValueError on an unknown kind or a record that sticks out of the frame."""
    at, end = 0, len(payload)
    while at < end:
        size = SIZES[payload[at]] * 32
        if not size or at + size > end:
            raise ValueError(f"no record at byte {at} of {end}: kind {payload[at]}")
        yield payload[at : at + size]
        at += size


def key_of(account: str, client_order_id: str) -> bytes:
    """The 52-byte key of an order or request."""
    return account.encode("ascii").ljust(ACCOUNT_MAX, b"\0") + client_order_id.encode("ascii").ljust(ID_MAX, b"\0")


def text(padded: bytes) -> str:
    """A NUL-padded id as str; bytes outside ASCII (possible only in refused input) become '?'-like escapes."""
    return padded.rstrip(b"\0").decode("ascii", "backslashreplace")


def encode(request: Request, sequence: int = 0, send_time_ns: int = 0) -> bytes:
    """A request as 192 bytes; FieldError names field, value and limit of what cannot be encoded."""
    if isinstance(request, NewOrder):
        return _encode_new(request, sequence, send_time_ns)
    if isinstance(request, (ModifyOrder, CancelOrder)):
        return _encode_change(request, sequence, send_time_ns)
    raise FieldError("action", type(request).__name__, "must be NewOrder, ModifyOrder or CancelOrder")


def _encode_new(order: NewOrder, sequence: int, send_time_ns: int) -> bytes:
    named = (
        order.side, order.order_type, order.time_in_force, order.possible_resend, order.post_only, order.account,
        order.symbol,
    )  # fmt: skip
    try:
        head, account, symbol = _terms(*named)
    except TypeError:  # what cannot be remembered cannot be right either
        head, account, symbol = _terms.__wrapped__(*named)
    if not 0 <= order.expire_time_ns <= INT64_MAX:
        raise FieldError("expire_time_ns", order.expire_time_ns, "must be ns since the epoch")
    return _NEW.pack(
        head, sequence, send_time_ns, fixed("quantity", order.quantity),
        0 if order.price is None else fixed("price", order.price),
        0 if order.stop_price is None else fixed("stop_price", order.stop_price), order.expire_time_ns,
        account, text_of("client_order_id", order.client_order_id, ID_MAX), symbol,
    )  # fmt: skip


@lru_cache(8192, typed=True)
def _terms(
    side: Any, order_type: Any, time_in_force: Any, possible_resend: Any, post_only: Any, account: Any, symbol: Any
) -> tuple[bytes, bytes, bytes]:
    """What few orders have for themselves: the first six bytes of a NEW, account, symbol."""
    flags = (Flag.POSSIBLE_RESEND if possible_resend else 0) | (Flag.POST_ONLY if post_only else 0)
    kinds = enum_of("order_type", OrderType, order_type)
    head = bytes((
        Kind.NEW, VERSION, enum_of("side", Side, side), kinds, enum_of("time_in_force", TimeInForce, time_in_force),
        int(flags),
    ))  # fmt: skip
    return head, text_of("account", account, ACCOUNT_MAX, empty=True), text_of("symbol", symbol, SYMBOL_MAX)


def _encode_change(change: ModifyOrder | CancelOrder, sequence: int, send_time_ns: int) -> bytes:
    quantity = price = stop_price = 0
    kind = Kind.CANCEL
    if isinstance(change, ModifyOrder):
        kind = Kind.MODIFY
        quantity = 0 if change.quantity is None else fixed("quantity", change.quantity)
        price = 0 if change.price is None else fixed("price", change.price)
        stop_price = 0 if change.stop_price is None else fixed("stop_price", change.stop_price)
    return REQUEST.pack(
        kind, VERSION, 0 if change.side is None else enum_of("side", Side, change.side), 0, 0,
        int(Flag.POSSIBLE_RESEND) if change.possible_resend else 0, 0, sequence, 0, 0, 0, 0, 0,
        send_time_ns, 0, quantity, price, stop_price, 0,
        text_of("account", change.account, ACCOUNT_MAX, empty=True),
        text_of("client_order_id", change.client_order_id, ID_MAX),
        text_of("orig_client_order_id", change.orig_client_order_id, ID_MAX),
        text_of("symbol", change.symbol, SYMBOL_MAX, empty=True), 0,
    )  # fmt: skip


def order_uuid(generation: int, number: int) -> str:
    """Our order id: a version-8 UUID (RFC 9562) of the desk's data directory and the order's number."""
    if not number:
        return ""
    bits = (generation & (2**64 - 1)) << 64 | number
    bits = bits & ~(0xF << 76) | 8 << 76  # version 8
    return str(uuid.UUID(int=bits & ~(3 << 62) | 2 << 62))  # RFC variant


def _decimal(value: int) -> Decimal:
    return Decimal(decimal_text(value))


def decode_report(data: bytes, desk: int = 0, text_record: bytes | None = None) -> Report:
    """256 bytes (and the TEXT record behind them, if flagged) as a Report; `desk` makes the order_id."""
    (_, _, side, exec_type, ord_status, flags, request_kind, _, sequence, _, _, _, reason, field, time_ns, latency_ns,
     last_quantity, last_price, cum, leaves, avg, quantity, account, clid, orig, symbol, exec_id, value, limit, price,
     number) = REPORT.unpack(data)  # fmt: skip
    return Report(
        exec_type=ExecType(exec_type),
        ord_status=OrdStatus(ord_status),
        client_order_id=text(clid),
        orig_client_order_id=text(orig),
        order_id=order_uuid(desk, number),
        symbol=text(symbol),
        account=text(account),
        side=Side(side) if side in (1, 2) else None,
        request=Kind(request_kind) if request_kind else None,
        final=bool(flags & ReportFlag.FINAL),
        quantity=_decimal(quantity),
        price=_decimal(price),
        last_quantity=_decimal(last_quantity),
        last_price=_decimal(last_price),
        cum_quantity=_decimal(cum),
        leaves_quantity=_decimal(leaves),
        avg_price=_decimal(avg),
        exec_id=text(exec_id),
        reason=reason,
        field=field,
        value=value,
        limit=limit,
        time_ns=time_ns,
        latency_ns=latency_ns,
        sequence=sequence,
        flags=ReportFlag(flags),
        text=decode_text(text_record) if text_record else "",
    )


def encode_text(sequence: int, message: str) -> bytes:
    """A TEXT record (256 bytes): up to 240 bytes of UTF-8, cut at a character."""
    data = message.encode("utf-8", "replace")[:240].decode("utf-8", "ignore").encode("utf-8")
    return TEXT.pack(Kind.TEXT, VERSION, len(data), 0, sequence, data)


def decode_text(record: bytes) -> str:
    """The text of a TEXT record."""
    _, _, length, _, _, data = TEXT.unpack(record)
    return str(data[:length], "utf-8", "replace")


for _struct, _size in ((REQUEST, REQUEST_BYTES), (REQUEST_KEYED, REQUEST_BYTES), (REPORT, REPORT_BYTES),
                       (TEXT, REPORT_BYTES), (RAW, REPORT_BYTES), (RESULT, 32), (SESSION, REPORT_BYTES),
                       (UPSTREAM, REPORT_BYTES), (MATCH, REPORT_BYTES)):
    if _struct.size != _size:
        raise RuntimeError(f"record layout: {_struct.size} bytes, must be {_size}")
