"""Orders that are acknowledged and filled whole in one breath: two answers of the exchange, taken in as one.

Theory of operation. An exchange that has the other side answers a NEW with its acknowledgement and, right behind it,
the fill of all of it. A frame that begins with such pairs needs no loop over records: ids, quantities, prices and ids
of executions are set out by columns, all orders are looked up at once, and one short loop moves each order from SENT to
its end. The reports are then built by columns that are two records apart. Whatever is not such a pair (an unknown id,
a part of the quantity, a change on its way, a text) ends the run, and is `Batches`' business.
"""

from __future__ import annotations

import re

from oms_actors.core.changes import Changes
from oms_actors.core.columns import halves, numbers, word
from oms_actors.core.pending import FINAL, FIRST_DONE, FROM_SENDER, FROM_VENUE, HAS_TEXT, NEW, SENT, Order
from oms_actors.core.reports import NO_EXEC
from oms_actors.messages import ExecType, Kind, OrdStatus, ResponseType
from oms_actors.record import AT_FLAGS, REPORT_BYTES, REQUEST_BYTES, VERSION

FEW = 8
"""So few records are not worth setting out columns."""
IN_WORDS, OUT_WORDS = REQUEST_BYTES // 8, REPORT_BYTES // 8
# Words of a report and the words of the request that they repeat: price, number, the ids (account, client order id,
# original id, symbol: 13 words).
COPIES = ((11, 6), (30, 7), (31, 23), *((12 + i, 10 + i) for i in range(13)))
_PAIRS = re.compile(rb"(?:%b)*" % re.escape(bytes((ResponseType.ACK, ResponseType.FILL))))
"""Of the answers in a frame."""
_TEXTLESS = bytes(flags for flags in range(256) if not flags & HAS_TEXT)
_REPORT = int(Kind.REPORT)
_PAIR, _PAIR_WORDS = 2 * REPORT_BYTES, 2 * OUT_WORDS
# By byte of a report's head: what it is of an acknowledgement, of a fill.
_HEAD = (
    (1, VERSION, VERSION),
    (3, ExecType.NEW, ExecType.TRADE),
    (4, OrdStatus.NEW, OrdStatus.FILLED),
    (AT_FLAGS, FROM_SENDER | FROM_VENUE | FINAL, FROM_SENDER | FROM_VENUE),
    (6, NEW, 0),
)


class Pairs(Changes):
    """A Sender with `respond_pairs`."""

    def respond_pairs(self, frame: bytes) -> int:
        """Takes in the pairs that the frame begins with, without risk limits; returns how many bytes they had."""
        size = _size_of_pairs(frame)
        if size < FEW * REPORT_BYTES:
            return 0
        keys = [frame[at : at + 52] for at in range(96, size, _PAIR)]
        if keys != [frame[at : at + 52] for at in range(96 + REPORT_BYTES, size, _PAIR)]:
            return 0
        with memoryview(frame)[:size].cast("q") as words:
            if any(words[6::_PAIR_WORDS].tolist()) or any(words[7::_PAIR_WORDS].tolist()):
                return 0  # an acknowledgement that speaks of an execution
            quantities, prices = (words[at + OUT_WORDS :: _PAIR_WORDS].tolist() for at in (6, 7))
        if min(quantities) <= 0:
            return 0
        exec_ids = [frame[at : at + 24] for at in range(200 + REPORT_BYTES, size, _PAIR)]
        orders, done = list(map(self.ids.get, keys)), 0
        for order, quantity, price, exec_id in zip(orders, quantities, prices, exec_ids, strict=True):
            if (
                order is None or order.phase != SENT or order.answered or order.cum or order.quantity != quantity
                or order.pending is not None or order.extra is not None or exec_id == NO_EXEC
            ):  # fmt: skip
                break
            order.answered = True
            order.phase = FIRST_DONE
            order.cum = quantity
            order.value = quantity * price
            order.exec_ids = exec_id
            done += 1
        if not done:
            return 0
        self._answered(frame[: done * _PAIR], orders[:done], prices[:done])  # type: ignore[arg-type]
        return done * _PAIR

    def _answered(self, pairs: bytes, orders: list[Order], prices: list[int]) -> None:
        """These have ended."""
        count, now, counters = len(orders), self.now, self.counters
        latencies = [now - order.sent_ns if order.sent_ns else 0 for order in orders]
        both = latencies * 2
        both[::2] = both[1::2] = latencies
        self.latencies += filter(None, both)
        counters["responses"] += 2 * count
        counters["matched"] += 2 * count
        counters["fills"] += count
        self._done.extend(orders)
        self._forget_oldest()
        self.out.add(self._pair_reports(pairs, orders, both, prices), 2 * count)

    def _pair_reports(self, pairs: bytes, orders: list[Order], latencies: list[int], prices: list[int]) -> bytes:
        """The exchange's records with what we know filled in, as `_venue_report` would one by one."""
        count, first = len(orders), self.base + len(self.out)
        reports, requests = bytearray(pairs), b"".join([order.record for order in orders])
        sides = requests[2::REQUEST_BYTES]
        reports[2::_PAIR] = reports[2 + REPORT_BYTES :: _PAIR] = sides
        for at, acknowledged, filled in _HEAD:
            reports[at::_PAIR] = bytes((acknowledged,)) * count
            reports[at + REPORT_BYTES :: _PAIR] = bytes((filled,)) * count
        with memoryview(reports).cast("I") as out, memoryview(requests).cast("I") as source:
            upstreams = source[4 :: 2 * IN_WORDS]
            out[4 :: 2 * _PAIR_WORDS] = out[4 + 2 * OUT_WORDS :: 2 * _PAIR_WORDS] = upstreams
            out[5 :: 2 * OUT_WORDS] = halves(self.session, 2 * count)
            out[6 :: 2 * OUT_WORDS] = halves(0, 2 * count)  # epoch
        nothing = memoryview(bytes(8 * count)).cast("q")
        with memoryview(reports).cast("q") as words, memoryview(requests).cast("q") as asked:
            for to, where in COPIES:
                words[to::_PAIR_WORDS] = words[to + OUT_WORDS :: _PAIR_WORDS] = asked[where::IN_WORDS]
            words[1::OUT_WORDS] = numbers(range(first, first + 2 * count))
            words[4::OUT_WORDS] = memoryview(word(self.wall) * (2 * count)).cast("q")
            words[5::OUT_WORDS] = numbers(latencies)
            words[8::_PAIR_WORDS] = words[9 + OUT_WORDS :: _PAIR_WORDS] = words[10::_PAIR_WORDS] = nothing
            # Nothing is executed, then all of it at one price: the average.
            words[9::_PAIR_WORDS] = words[8 + OUT_WORDS :: _PAIR_WORDS] = asked[6::IN_WORDS]
            words[10 + OUT_WORDS :: _PAIR_WORDS] = numbers(prices)
        return bytes(reports)


def _size_of_pairs(frame: bytes) -> int:
    """Bytes of the pairs that it begins with, by their heads; none of them has a text."""
    end = len(frame) // _PAIR * _PAIR
    found = _PAIRS.match(frame[7:end:REPORT_BYTES])
    size = found.end() * REPORT_BYTES if found else 0
    sound = frame[:size:REPORT_BYTES].count(_REPORT) * REPORT_BYTES == size
    return size if sound and not frame[AT_FLAGS:size:REPORT_BYTES].translate(None, _TEXTLESS) else 0
