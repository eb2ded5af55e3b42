"""An order file straight through the matching engine, as fast as it goes: `oms venue replay`."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import msgspec

from oms_actors.core.book import BUY, SELL, SelfTrade
from oms_actors.core.controls import encode_session
from oms_actors.core.engine import Engine
from oms_actors.core.execution import INTENT_BYTES, Rules
from oms_actors.core.venue import Venue
from oms_actors.edges import orders_file
from oms_actors.edges.orders_file import LineError
from oms_actors.errors import Reason, decimal_text
from oms_actors.messages import Kind, ResponseType, SessionEvent
from oms_actors.record import REPORT, REPORT_NAMES, text

MEMBER = "replay"
TRADE_COLUMNS = ("number", "symbol", "price", "quantity", "maker_client_order_id", "taker_client_order_id",
                 "aggressor_side")  # fmt: skip
_AS_INTENT = bytes(kind + (Kind.INTENT_NEW - Kind.NEW) if kind in (1, 2, 3) else kind for kind in range(256))
_FIELD = {name: at for at, name in enumerate(REPORT_NAMES)}
_NOW_NS = 1
"""The file's times are information only: nothing expires."""


class Top(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one symbol's book. Prices and quantities as decimal text, "" where a side is empty."""

    symbol: str
    bid: str
    bid_quantity: str
    ask: str
    ask_quantity: str
    last_price: str
    resting: int
    trades: int
    volume: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to. `rejects` counts refusals by their reason's name; `bad_lines` never became requests."""

    requests: int
    new: int
    modify: int
    cancel: int
    acks: int
    trades: int
    volume: str
    canceled: int
    replaced: int
    rejects: dict[str, int]
    duplicates: int
    bad_lines: list[str]
    books: list[Top]
    state_hash: str
    seconds: float
    """Of the engine alone."""
    seconds_total: float
    """With reading and parsing the file."""

    @property
    def requests_per_s(self) -> float:
        """The engine's speed."""
        return self.requests / self.seconds if self.seconds else 0.0


def replay(
    path: Path,
    *,
    tick: int = 1,
    lot: int = 1,
    self_trade: SelfTrade = SelfTrade.ALLOW,
    trades: IO[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Runs the file through a fresh engine.

    `tick` and `lot` have 8 implied decimals (1: anything goes). `trades` gets a CSV line per trade; `progress` is told
    (bytes read, bytes altogether). Raises OSError, and BadFile if the file as a whole is none of orders.
    """
    run = _Run(Engine(Rules((), tick, lot), self_trade), trades)
    began = perf_counter()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for batch in orders_file.read(file):
            run.take(batch)
            if progress and size:  # a pipe has none
                progress(file.tell(), size)
    return run.outcome(perf_counter() - began)


class _Run:
    """One replay while it goes on."""

    def __init__(self, engine: Engine, trades: IO[str] | None) -> None:
        self.engine, self.venue = engine, Venue(engine)
        self.venue.step(MEMBER, encode_session(SessionEvent.LOGGED_ON, MEMBER), _NOW_NS)
        self.member = self.venue.members[MEMBER]
        self.rejects: dict[str, int] = {}
        self.bad_lines: list[LineError] = []
        self.seconds = 0.0
        self.rows: Any = csv.writer(trades, lineterminator="\n") if trades else None
        if self.rows:
            self.rows.writerow(TRADE_COLUMNS)

    def take(self, batch: orders_file.Batch) -> None:
        self.bad_lines += batch.errors
        frame = bytearray(batch.records)
        frame[::INTENT_BYTES] = frame[::INTENT_BYTES].translate(_AS_INTENT)
        began = perf_counter()
        self.venue.step(MEMBER, bytes(frame), _NOW_NS)
        self.seconds += perf_counter() - began
        self._look_through(self.member.out)
        self.member.out.clear()
        self.engine.trades.clear()
        self.engine.touched.clear()

    def _look_through(self, reports: list[bytes]) -> None:
        """Counts refusals; a trade's two fills, the maker's first, become a line."""
        maker = b""
        for report in reports:
            response = report[7]
            if response in (ResponseType.REJECT, ResponseType.CANCEL_REJECT):
                reason = Reason(REPORT.unpack(report)[_FIELD["reason"]]).name
                self.rejects[reason] = self.rejects.get(reason, 0) + 1
            elif response == ResponseType.FILL and self.rows:
                if maker:
                    self._write_trade(maker, report)
                maker = b"" if maker else report

    def _write_trade(self, maker: bytes, taker: bytes) -> None:
        theirs, ours = REPORT.unpack(maker), REPORT.unpack(taker)
        self.rows.writerow(
            (
                text(ours[_FIELD["exec_id"]]).partition(".")[0], text(theirs[_FIELD["symbol"]]),
                decimal_text(ours[_FIELD["last_price"]]), decimal_text(ours[_FIELD["last_quantity"]]),
                text(theirs[_FIELD["client_order_id"]]), text(ours[_FIELD["client_order_id"]]),
                "BUY" if ours[_FIELD["side"]] == BUY else "SELL",
            )
        )  # fmt: skip

    def outcome(self, seconds_total: float) -> Replayed:
        counts = self.engine.counts
        return Replayed(
            requests=counts.requests, new=counts.new, modify=counts.modify, cancel=counts.cancel, acks=counts.acks,
            trades=counts.trades, volume=decimal_text(counts.volume), canceled=counts.canceled,
            replaced=counts.replaced, rejects=dict(sorted(self.rejects.items())), duplicates=counts.duplicates,
            bad_lines=[str(line) for line in self.bad_lines], books=self._tops(),
            state_hash=self.venue.state_hash(), seconds=self.seconds, seconds_total=seconds_total,
        )  # fmt: skip

    def _tops(self) -> list[Top]:
        found = []
        for symbol, book in sorted(self.engine.books.items()):
            sides = []
            for side in (BUY, SELL):
                best = book.depth(side, 1)
                sides += [decimal_text(best[0].price), decimal_text(best[0].quantity)] if best else ["", ""]
            found.append(
                Top(
                    symbol=text(symbol), bid=sides[0], bid_quantity=sides[1], ask=sides[2], ask_quantity=sides[3],
                    last_price=decimal_text(book.last_price) if book.last_price else "", resting=len(book.orders),
                    trades=book.trades, volume=decimal_text(book.volume),
                )
            )  # fmt: skip
        return found
