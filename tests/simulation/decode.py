"""Bytes as the documents describe them, read without the product's help: records, journal frames, segment heads.

Written from the byte diagrams in `oms_actors/record.py` and `edges/journal_format.py`. A slip here fails every run.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

NEW, MODIFY, CANCEL = 1, 2, 3
INTENT_NEW, INTENT_MODIFY, INTENT_CANCEL = 33, 34, 35
REPORT, TEXT, RAW, RESULT, SESSION, UPSTREAM, MATCH = 64, 65, 66, 68, 69, 70, 72
POSSIBLE_RESEND = 1
POSSIBLE_DUPLICATE = 2
FINAL, FROM_SENDER, FROM_VENUE, LATE, UNMATCHED = 1, 4, 8, 16, 32
SENT, NOT_SENT, FAILED, NOT_CALLED = 1, 2, 3, 4


class Request(NamedTuple):
    """A request, as it came or as it goes out."""

    kind: int
    side: int
    flags: int
    sequence: int
    upstream: int
    reason: int
    quantity: int
    price: int
    key: bytes
    """account | client order id"""
    orig: bytes
    symbol: bytes
    order_number: int


class Report(NamedTuple):
    """A report."""

    exec_type: str
    ord_status: str
    flags: int
    request_kind: int
    response_type: int
    sequence: int
    upstream: int
    reason: int
    last_quantity: int
    last_price: int
    cum: int
    leaves: int
    quantity: int
    key: bytes
    orig: bytes
    exec_id: bytes
    order_number: int

    @property
    def final(self) -> bool:
        return bool(self.flags & FINAL)

    @property
    def origin(self) -> str:
        return "sender" if self.flags & FROM_SENDER else "intake"


class Result(NamedTuple):
    """What a call did."""

    outcome: int
    intent: int
    call_ns: int
    return_ns: int


class Match(NamedTuple):
    """Two orders that met inside."""

    sequence: int
    time_ns: int
    quantity: int
    price: int
    buy: int
    sell: int


class Frame(NamedTuple):
    """A frame of a journal."""

    generation: int
    sequence: int
    input: int
    wall_ns: int
    records: list[bytes]


def request(data: bytes) -> Request:
    sequence, upstream = struct.unpack_from("<QI", data, 8)
    quantity, price = struct.unpack_from("<qq", data, 48)
    (reason,) = struct.unpack_from("<H", data, 28)
    (number,) = struct.unpack_from("<Q", data, 184)
    return Request(
        data[0], data[2], data[5], sequence, upstream, reason, quantity, price, data[80:132], data[132:168],
        data[168:184], number,
    )  # fmt: skip


def report(data: bytes) -> Report:
    sequence, upstream = struct.unpack_from("<QI", data, 8)
    (reason,) = struct.unpack_from("<H", data, 28)
    last_quantity, last_price, cum, leaves, _, quantity = struct.unpack_from("<6q", data, 48)
    (number,) = struct.unpack_from("<Q", data, 248)
    return Report(
        chr(data[3]), chr(data[4]), data[5], data[6], data[7], sequence, upstream, reason, last_quantity, last_price,
        cum, leaves, quantity, data[96:148], data[148:184], data[200:224], number,
    )  # fmt: skip


def result(data: bytes) -> Result:
    _, _, outcome, _, intent, call_ns, return_ns = struct.unpack("<BBHIQqq", data)
    return Result(outcome, intent, call_ns, return_ns)


def match(data: bytes) -> Match:
    return Match(*struct.unpack_from("<QqqqQQ", data, 8))


def size_of(kind: int) -> int:
    if kind in (NEW, MODIFY, CANCEL, INTENT_NEW, INTENT_MODIFY, INTENT_CANCEL):
        return 192
    return 32 if kind == RESULT else 256


def records(payload: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(payload):
        size = size_of(payload[at])
        found.append(payload[at : at + size])
        at += size
    return found


_FRAME = struct.Struct("<IIIHHQQQqqQ")
_NAME = re.compile(r"(\w+)-(\d+)-([0-9a-f]{16})\.journal")


def journal(files: dict[str, bytes], role: str) -> Iterator[Frame]:
    """Every frame of a journal whose files have the given contents, in order."""
    segments = sorted(
        (int(m[2]), int(m[3], 16), content) for name, content in files.items() if (m := _NAME.fullmatch(name))
        and m[1] == role
    )  # fmt: skip
    for generation, _, content in segments:
        at = 128
        while at + 64 <= len(content):
            (magic, size, crc, _, count, gen, sequence, _, wall_ns, _, input_) = _FRAME.unpack_from(content, at)
            body = content[at + 12 : at + 64 + size]
            if magic != 0x4A534D4F or gen != generation or zlib.crc32(body) != crc:
                break
            found = records(content[at + 64 : at + 64 + size])
            assert len(found) == count, f"a frame of {len(found)} records says that it has {count}"
            yield Frame(gen, sequence, input_, wall_ns, found)
            at += 64 + size


def name(key: bytes) -> str:
    """A key for people: account/client order id."""
    account, own = key[:16].rstrip(b"\0").decode(), key[16:].rstrip(b"\0").decode()
    return f"{account}/{own}" if account else own
