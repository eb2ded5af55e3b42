"""Market data of the venue, in shared memory: trades, depth, and the latest depth of every symbol.

    <runtime>/venue/trades.cast     broadcast of TRADE messages
    <runtime>/venue/depth.cast      broadcast of DEPTH messages, each whole: the best 20 levels of either side
    <runtime>/venue/depth.page      per symbol the latest DEPTH message: where a reader begins, and resyncs after a gap

A broadcast never waits; a reader that was too slow gets `Gap` (`ipc.broadcast`) and takes the page. A slot of the page
has a version in front, odd while it is written; a reader takes what it read only if the version stood still.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

import msgspec

from ipc import segment
from ipc.broadcast import CastReader, CastWriter, Gap
from oms_actors.core.book import BUY, SELL, Book, DepthLevel, State
from oms_actors.core.engine import Trade
from oms_actors.messages import INT64_MAX, SYMBOL_MAX

TRADES_CAST, DEPTH_CAST, DEPTH_PAGE = "trades.cast", "depth.cast", "depth.page"
CAST_BYTES = 4 << 20
LEVELS_MAX = 20
SYMBOLS_MAX = 1024
TRADE = struct.Struct("<QqqqI4x16s")
"""number, time_ns, price, quantity, aggressor's side, symbol."""
DEPTH = struct.Struct("<QqqqQqHHI16s")
"""number, time_ns, last price, last quantity, trades, volume, bid levels, ask levels, trading state, symbol."""
LEVEL = struct.Struct("<qqq")
"""price, quantity (a level may hold more than an int64 can say: then the most it can), orders."""
SLOT_BYTES = 1088
_SLOT_HEAD_BYTES = 16  # version u64, length u64
_TRIES = 1000


class Depth(msgspec.Struct, frozen=True):
    """What a symbol's book looked like. Prices and quantities have 8 implied decimals."""

    symbol: str
    number: int
    """Of the DEPTH message: consecutive over all symbols."""
    time_ns: int
    last_price: int
    last_quantity: int
    trades: int
    volume: int
    bids: tuple[DepthLevel, ...]
    asks: tuple[DepthLevel, ...]
    state: State


class MarketTrade(msgspec.Struct, frozen=True):
    """A trade as it was told to everybody."""

    number: int
    time_ns: int
    symbol: str
    price: int
    quantity: int
    aggressor: int


class MarketWriter:
    """The venue's side. Makes the files anew."""

    def __init__(self, directory: str) -> None:
        self._trades = CastWriter(os.path.join(directory, TRADES_CAST), CAST_BYTES)
        self._depth = CastWriter(os.path.join(directory, DEPTH_CAST), CAST_BYTES)
        page = os.path.join(directory, DEPTH_PAGE)
        self._page = segment.create(page, SLOT_BYTES * SYMBOLS_MAX, lambda view: None)
        self._words = self._page.view.cast("Q")
        self._slots: dict[bytes, int] = {}
        self._number = 0

    def trades(self, trades: Iterable[Trade]) -> None:
        for t in trades:
            self._trades.put(TRADE.pack(t.number, t.time_ns, t.price, t.quantity, t.aggressor, t.symbol))

    def depth(self, symbol: bytes, book: Book, time_ns: int) -> None:
        """Tells what a symbol's (padded) book looks like now."""
        self._number += 1
        message = encode_depth(self._number, symbol, book, time_ns)
        slot = self._slots.setdefault(symbol, len(self._slots))
        if slot < SYMBOLS_MAX:
            word, at = slot * SLOT_BYTES // 8, slot * SLOT_BYTES + _SLOT_HEAD_BYTES
            words = self._words
            words[word] += 1
            words[word + 1] = len(message)
            self._page.view[at : at + len(message)] = message
            words[word] += 1
        self._depth.put(message)

    def close(self) -> None:
        self._trades.close()
        self._depth.close()
        self._words.release()
        self._page.close()


def encode_depth(number: int, symbol: bytes, book: Book, time_ns: int) -> bytes:
    """A DEPTH message."""
    bids, asks = book.depth(BUY, LEVELS_MAX), book.depth(SELL, LEVELS_MAX)
    head = DEPTH.pack(
        number, time_ns, book.last_price, book.last_quantity, book.trades, min(book.volume, INT64_MAX), len(bids),
        len(asks), book.state, symbol,
    )  # fmt: skip
    levels = ((price, min(quantity, INT64_MAX), orders) for price, quantity, orders in (*bids, *asks))
    return head + b"".join(LEVEL.pack(*level) for level in levels)


def decode_depth(message: bytes) -> Depth:
    """What `encode_depth` wrote."""
    number, time_ns, price, quantity, trades, volume, bids, asks, state, symbol = DEPTH.unpack_from(message)
    levels = [DepthLevel(*fields) for fields in LEVEL.iter_unpack(message[DEPTH.size :])]
    return Depth(
        _text(symbol), number, time_ns, price, quantity, trades, volume, tuple(levels[:bids]),
        tuple(levels[bids : bids + asks]), State(state),
    )  # fmt: skip


def decode_trade(message: bytes) -> MarketTrade:
    """A TRADE message."""
    number, time_ns, price, quantity, aggressor, symbol = TRADE.unpack(message)
    return MarketTrade(number, time_ns, _text(symbol), price, quantity, aggressor)


def _text(symbol: bytes) -> str:
    return symbol.rstrip(b"\0").decode("ascii", "replace")


class MarketReader:
    """Anybody's side. Raises NotThere if the venue of that directory has never run."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._page = segment.attach(os.path.join(directory, DEPTH_PAGE))
        self._words = self._page.view.cast("Q")

    def depth(self, symbol: str) -> Depth | None:
        """The latest depth of a symbol; None if it has not been told."""
        wanted = symbol.encode("ascii", "replace").ljust(SYMBOL_MAX, b"\0")
        for slot in range(SYMBOLS_MAX):
            message = self._slot(slot)
            if not message:
                return None
            if message[DEPTH.size - SYMBOL_MAX : DEPTH.size] == wanted:
                return decode_depth(message)
        return None

    def symbols(self) -> list[str]:
        """Every symbol of which depth was told, in the order of their first request."""
        found = []
        for slot in range(SYMBOLS_MAX):
            message = self._slot(slot)
            if not message:
                break
            found.append(_text(message[DEPTH.size - SYMBOL_MAX : DEPTH.size]))
        return found

    def trades(self, history: bool = True) -> CastReader:
        """The broadcast of trades; with `history` from the oldest that is still there. Decode with `decode_trade`."""
        return CastReader(os.path.join(self._directory, TRADES_CAST), history)

    def depth_changes(self) -> CastReader:
        """The broadcast of depths, from now on. Decode with `decode_depth`."""
        return CastReader(os.path.join(self._directory, DEPTH_CAST))

    def replaced(self) -> bool:
        """Has the venue been started anew? Then another reader is needed."""
        try:
            return os.stat(self._page.path).st_ino != os.fstat(self._page.fd).st_ino
        except FileNotFoundError:
            return True

    def close(self) -> None:
        self._words.release()
        self._page.close()

    def _slot(self, slot: int) -> bytes:
        """A slot's message; empty if it has none (or its writer stopped in the middle)."""
        word, at = slot * SLOT_BYTES // 8, slot * SLOT_BYTES + _SLOT_HEAD_BYTES
        words = self._words
        for _ in range(_TRIES):
            version = words[word]
            message = bytes(self._page.view[at : at + min(words[word + 1], SLOT_BYTES - _SLOT_HEAD_BYTES)])
            if version % 2 == 0 and words[word] == version:
                return message
        return b""



class TradeTape:
    """All trades in order, each once, whatever happens to the venue. `directory` is the venue's.

    A venue that comes back tells its last trades again; what was told already is left out, and what was not is either
    there or named by a `Gap`. Raises NotThere if the venue has never run.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._open()
        self._last = self._last_ns = 0
        self._ahead: MarketTrade | None = None

    def read(self) -> MarketTrade | None:
        """The next trade; None when there is none yet. Raises Gap, once per gap, with the number of trades lost."""
        if self._ahead:
            trade, self._ahead = self._ahead, None
            return trade
        while True:
            try:
                message = self._cast.read()
            except Gap:
                continue  # the numbers tell what is missing
            if message is None:
                if not self._market.replaced():
                    return None
                self.close()
                self._open()
                continue
            trade = decode_trade(message)
            last, seen_ns = self._last, self._last_ns
            if trade.number <= last and trade.time_ns <= seen_ns:
                continue
            self._last, self._last_ns = trade.number, trade.time_ns
            if last and trade.number > last + 1:
                self._ahead = trade
                raise Gap(self._cast.path, trade.number - last - 1)
            return trade

    def close(self) -> None:
        self._cast.close()
        self._market.close()

    def _open(self) -> None:
        self._market = MarketReader(self._directory)
        self._cast = self._market.trades()
