"""Order files: CSV with a header, or JSON lines, become 192-byte request records.

    time,action,client_order_id,orig_client_order_id,symbol,side,quantity,price,order_type,time_in_force
    2012-06-21T09:30:00.004-04:00,NEW,N1,,AAPL,BUY,18,585.33,LIMIT,DAY

The time is information only. Optional columns: account, stop_price, expire_time (ISO 8601 with zone, or ns since the
epoch), post_only; any other name is an error, since a misspelt one would be an order without its limit. A JSON line is
an object with the same keys. A line that is no request is reported with its number, field, value and limit, and the
rest goes through.

Theory of operation. Bytes are read as they come (a pipe need not end) and cut into lines; each chunk is one batch. A
line is split at its commas (by the csv module where it has quotes, so that a stray quote spoils one line, not the
rest), and each text goes through a cache that remembers what it means: files repeat few prices, quantities and words.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from oms_actors import record
from oms_actors.core.schedule import utc_ns
from oms_actors.errors import FieldError, OmsError
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
    enum_of,
    fixed,
    text_of,
)

COLUMNS = ("action", "client_order_id", "orig_client_order_id", "symbol", "side", "quantity", "price", "order_type",
           "time_in_force")  # fmt: skip
OPTIONAL = ("account", "stop_price", "expire_time", "post_only")
TIME = "time"
NAMES = (TIME, *COLUMNS, *OPTIONAL)
_NUMBERS = frozenset(("quantity", "price", "stop_price"))
LINE_BYTES_MAX = 64 << 10
_VALUE_MAX = 80  # of a wrong value so much is shown
_CHUNK_BYTES = 48 << 10
_CACHE_MAX = 1 << 17
_YES_NO = {"": 0, "0": 0, "false": 0, "no": 0, "1": Flag.POST_ONLY, "true": Flag.POST_ONLY, "yes": Flag.POST_ONLY}


class LineError(NamedTuple):
    """A line that is no request: its number (from 1) and what is wrong."""

    line: int
    field: str
    value: str
    limit: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.value!r}: {self.limit}"


class Batch(NamedTuple):
    """The requests of some lines, encoded one after the other, and the lines that were none."""

    records: bytes
    requests: int
    errors: list[LineError]


class Source(Protocol):
    """A file or pipe opened for bytes: `read1` returns what there is, and nothing at the end."""

    def read1(self, size: int, /) -> bytes: ...


class BadFile(OmsError):
    """The file as a whole cannot be read as orders."""


def read(source: Source) -> Iterator[Batch]:
    """The requests of an order file, batch by batch as the bytes arrive; BadFile if its header lacks a column."""
    lines = _numbered(source)
    encoder: _Encoder | None = None
    for number, block in lines:
        if encoder is None:
            head = next((at for at, line in enumerate(block) if line.strip()), None)
            if head is None:
                continue
            row_of, used = _format(block[head].removeprefix("\ufeff"))
            encoder, number, block = _Encoder(row_of), number + head + used, block[head + used :]
        batch = encoder.batch(number, block)
        if batch.requests or batch.errors:
            yield batch
    if encoder is None:
        raise BadFile("the file is empty: it needs a header line and orders")


def _format(first: str) -> tuple[RowOf, int]:
    """How lines become rows, told from the first one, and how many lines that used up."""
    if first.lstrip().startswith("{"):
        return _json_row, 0
    try:
        return _csv_rows(first.rstrip("\r")), 1
    except FieldError as error:
        raise BadFile(f"the header {error.limit}") from None


def _numbered(source: Source) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, lines) for each chunk of bytes; of an endless line only the beginning is kept."""
    number, rest = 1, b""
    while chunk := source.read1(_CHUNK_BYTES):
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        rest = rest[:LINE_BYTES_MAX]
        if newline:
            lines = whole.decode("utf-8", "surrogateescape").split("\n")
            yield number, lines
            number += len(lines)
    if rest:
        yield number, [rest.decode("utf-8", "surrogateescape")]


# -- rows -------------------------------------------------------------------------------------------------------------

Row = tuple[str, ...]
"""The texts of COLUMNS and OPTIONAL, in that order; "" where there is none."""
RowOf = Callable[[str], Row]


def _csv_rows(header: str) -> RowOf:
    """How a line of this header becomes a row; BadFile lists what is missing."""
    names = [name.strip().lower() for name in _cells(header)]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise BadFile(f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}: the header must name "
                      f"{', '.join(COLUMNS)}; found {', '.join(names)[:200]}")  # fmt: skip
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise BadFile(f"unknown column{'s' * (len(unknown) > 1)} {', '.join(map(repr, unknown))[:200]}: "
                      f"may be {', '.join(NAMES)}")  # fmt: skip
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadFile(f"column {', '.join(twice)} is there twice")
    count = len(names)
    places = [names.index(name) if name in names else count for name in (*COLUMNS, *OPTIONAL)]

    def row_of(line: str) -> Row:
        cells = line.split(",") if '"' not in line else _cells(line)
        if len(cells) != count:
            raise FieldError("line", line[:_VALUE_MAX], f"must have {count} columns, has {len(cells)}")
        cells.append("")  # stands for the optional columns that are not there
        return tuple([cells[place] for place in places])

    return row_of


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration) as error:
        raise FieldError("line", line[:_VALUE_MAX], f"is not CSV: {error}") from None


def _json_row(line: str) -> Row:
    """Numbers are taken as the text that they are: no float ever comes in between."""
    try:
        found = json.loads(line, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_once)
    except FieldError:
        raise
    except (ValueError, RecursionError) as error:
        raise FieldError("line", line[:_VALUE_MAX], f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FieldError("line", line[:_VALUE_MAX], "must be a JSON object")
    for name in found:
        if name not in NAMES:
            raise FieldError("key", name, f"is unknown: may be {', '.join(NAMES)}")
    return tuple([_json_text(name, found.get(name)) for name in (*COLUMNS, *OPTIONAL)])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose keys is there twice: which of the two was meant?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FieldError("key", twice, "is there twice")
    return found


def _json_text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    raise FieldError(name, str(value)[:_VALUE_MAX], "must be text or a number")


# -- records ----------------------------------------------------------------------------------------------------------


class _Cache(dict[str, Any]):
    """Remembers what each text means, and forgets everything when there are too many."""

    def __init__(self, convert: Callable[[str], Any]) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, text: str) -> Any:
        if len(self) >= _CACHE_MAX:
            self.clear()
        value = self[text] = self._convert(text)
        return value


class _Encoder:
    """Rows to records; the caches live as long as the file is read."""

    def __init__(self, row_of: RowOf) -> None:
        self._row_of = row_of
        self._actions = _Cache(_action)
        self._sides = _Cache(lambda text: enum_of("side", Side, text))
        self._maybe_sides = _Cache(lambda text: enum_of("side", Side, text) if text else 0)
        self._types = _Cache(lambda text: enum_of("order_type", OrderType, text or OrderType.LIMIT))
        self._tifs = _Cache(lambda text: enum_of("time_in_force", TimeInForce, text or TimeInForce.DAY))
        self._quantities = _Cache(lambda text: fixed("quantity", text))
        self._maybe_quantities = _Cache(lambda text: fixed("quantity", text) if text else 0)
        self._prices = _Cache(lambda text: fixed("price", text) if text else 0)
        self._stop_prices = _Cache(lambda text: fixed("stop_price", text) if text else 0)
        self._symbols = _Cache(lambda text: text_of("symbol", text, SYMBOL_MAX))
        self._maybe_symbols = _Cache(lambda text: text_of("symbol", text, SYMBOL_MAX, empty=True))
        self._accounts = _Cache(lambda text: text_of("account", text, ACCOUNT_MAX, empty=True))
        self._expire_times = _Cache(_expire_time)
        self._flags = _Cache(_post_only)

    def batch(self, number: int, lines: list[str]) -> Batch:
        """The lines from `number` on as one batch."""
        records: list[bytes] = []
        errors: list[LineError] = []
        row_of, encode = self._row_of, self._encode
        for at, line in enumerate(lines, number):
            line = line.rstrip("\r")
            if not line or line.isspace():
                continue
            try:
                records.append(encode(row_of(line)))
            except FieldError:
                self._again(at, line, records, errors)
        return Batch(b"".join(records), len(records), errors)

    def _again(self, at: int, line: str, records: list[bytes], errors: list[LineError]) -> None:
        """Blanks around a word are forgiven, in a number they are not; what is still wrong is wrong."""
        try:
            row = zip((*COLUMNS, *OPTIONAL), self._row_of(line), strict=True)
            records.append(self._encode(tuple([text if name in _NUMBERS else text.strip() for name, text in row])))
        except FieldError as error:
            errors.append(LineError(at, error.field, str(error.value)[:_VALUE_MAX], error.limit))

    def _encode(self, row: Row) -> bytes:
        action, client_order_id, orig, symbol, side, quantity, price, order_type, tif, account, stop, expire, post = row
        kind = self._actions[action]
        if kind == Kind.NEW:
            return record.REQUEST.pack(
                kind, record.VERSION, self._sides[side], self._types[order_type], self._tifs[tif], self._flags[post],
                0, 0, 0, 0, 0, 0, 0, 0, 0, self._quantities[quantity], self._prices[price], self._stop_prices[stop],
                self._expire_times[expire], self._accounts[account], _id("client_order_id", client_order_id), b"",
                self._symbols[symbol], 0,
            )  # fmt: skip
        changes = kind == Kind.MODIFY
        return record.REQUEST.pack(
            kind, record.VERSION, self._maybe_sides[side], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            self._maybe_quantities[quantity] if changes else 0, self._prices[price] if changes else 0,
            self._stop_prices[stop] if changes else 0, 0, self._accounts[account],
            _id("client_order_id", client_order_id), _id("orig_client_order_id", orig), self._maybe_symbols[symbol], 0,
        )  # fmt: skip


def _id(field: str, text: str) -> bytes:
    """Ids are all different: checked, not remembered."""
    if 0 < len(text) <= ID_MAX and text.isalnum() and text.isascii():
        return text.encode()
    return text_of(field, text, ID_MAX)


def _action(text: str) -> int:
    kind = {"NEW": Kind.NEW, "MODIFY": Kind.MODIFY, "CANCEL": Kind.CANCEL}.get(text.strip().upper())
    if kind is None:
        raise FieldError("action", text, "must be one of NEW, MODIFY, CANCEL")
    return int(kind)


def _post_only(text: str) -> int:
    flag = _YES_NO.get(text.strip().lower())
    if flag is None:
        raise FieldError("post_only", text, "must be true or false")
    return int(flag)


def _expire_time(text: str) -> int:
    """Ns since the epoch (UTC)."""
    if not text:
        return 0
    if text.isdecimal() and text.isascii() and int(text) <= INT64_MAX:
        return int(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise FieldError("expire_time", text, "must be a time with zone such as 2026-11-20T15:30:00+05:30, or ns")
    return utc_ns(instant)
