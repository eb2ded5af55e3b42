"""Building report records. One place that knows the 256 bytes; the key (account | client order id) stays one slice."""

from __future__ import annotations

import struct

from oms_actors.messages import Kind
from oms_actors.record import VERSION

REPORT_KEYED = struct.Struct("<8BQIIIHHqqqqqqqq52s36s16s24sqqqQ")
"""As record.REPORT, account and client order id as one key."""
OWN = struct.Struct("<8BQ4sI4xHHq24xqqqq52s36s16s24xqqq8s")
"""As record.REPORT without an execution, upstream and order number as the bytes that a request has."""
WAITING = struct.Struct("<8sQ4sI4xH2xq32xq8xq52s36s16s24xq8xq8s")
"""As OWN for an order of which nothing is executed: head (8 bytes), sequence, upstream, session, reason, time, leaves,
quantity, key, original id, symbol, value, price, order number."""
SAME = struct.Struct("<I4xHHq32x")
"""What the answers of one frame have in common, 52 bytes at 20: session, reason, field, time."""
ANSWER = struct.Struct("<8s12x52s184x")
"""What the answers to a stretch of changes begin as: head, SAME."""
NO_ORIG = b"\0" * 36
NO_EXEC = b"\0" * 24


def report(
    *, key: bytes, exec_type: int, ord_status: int, flags: int = 0, request_kind: int = 0, response_type: int = 0,
    sequence: int = 0, upstream: int = 0, reason: int = 0, field: int = 0, time_ns: int = 0, latency_ns: int = 0,
    last_quantity: int = 0, last_price: int = 0, cum: int = 0, leaves: int = 0, avg: int = 0, quantity: int = 0,
    side: int = 0, orig: bytes = NO_ORIG, symbol: bytes = b"", exec_id: bytes = NO_EXEC, value: int = 0,
    limit: int = 0, price: int = 0, number: int = 0, session: int = 0, epoch: int = 0,
) -> bytes:  # fmt: skip
    """256 bytes; names as in record.REPORT_NAMES."""
    return REPORT_KEYED.pack(
        Kind.REPORT, VERSION, side, exec_type, ord_status, flags, request_kind, response_type, sequence, upstream,
        session, epoch, reason, field, time_ns, latency_ns, last_quantity, last_price, cum, leaves, avg, quantity,
        key, orig, symbol, exec_id, value, limit, price, number,
    )  # fmt: skip


def average(value: int, cum: int) -> int:
    """AvgPx in fixed point, rounded half up; `value` is the exact sum of quantity times price (16 decimals)."""
    return (2 * value + cum) // (2 * cum) if cum else 0
