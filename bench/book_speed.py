"""One order book on one core: operations per second, cost against size, bytes per order.

    python -m bench.book_speed [--runs 5] [--orders 500000] [--json]

stream   62 % new limit orders, 38 % cancels of random earlier ones, some of which are filled by then. With 500,000
         operations and seed 7 a right book fills 119,658 times, volume 30,108,490: anything else fails.
size     new + cancel in a book where 10^3 and where 10^6 orders rest, 50 levels a side.
memory   bytes per resting order, by tracemalloc, ids and prices included.
"""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator

from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from oms_actors.core.book import BUY, SELL, Book

Operation = tuple[int, int, int, int, int]
KNOWN = {(500_000, 7): (119_658, 30_108_490)}
NEW, CANCEL = 1, 0


def bench(options: Options) -> Finding:
    """Best of several runs; CPU time, so that a busy machine disturbs less."""
    length = options.count(500_000, 20_000)
    small, large, rounds = (1_000, 20_000, 2_000) if options.tiny else (1_000, 1_000_000, 100_000)
    finding = Finding("book_speed", "one order book")
    finding.config = {"operations": length, "seed": options.seed, "resting": large}
    operations = list(stream(length, options.seed))
    for _ in range(options.repeats()):
        seconds, *answer = run_stream(operations)
        known = KNOWN.get((length, options.seed), tuple(answer))
        if tuple(answer) != known:
            raise WrongAnswer(f"fills and volume are {answer}, must be {known}")
        finding.add("stream", "ops/s", length / seconds)
        finding.add("cost_small", "ns", cost_ns(filled_book(small), small, rounds), "lower")
    finding.add("cost_large", "ns", cost_ns(filled_book(large), large, rounds), "lower")
    finding.add("memory", "bytes/order", bytes_per_order(min(large, 200_000)), "lower")
    finding.checked = [f"{answer[0]:,} fills, volume {answer[1]:,}"]
    ratio = finding["cost_large"].best / finding["cost_small"].best
    finding.notes = [f"with {large:,} orders an operation costs {ratio:.1f} x that with {small:,}"]
    return finding


def stream(length: int, seed: int = 7) -> Iterator[Operation]:
    """(NEW | CANCEL, order id, side, price, quantity) around a price that wanders by at most 1 every 50."""
    rng = random.Random(seed)
    live: list[int] = []
    middle, last_id = 10_000, 0
    for number in range(length):
        if number % 50 == 0:
            middle += rng.choice((-1, 0, 0, 0, 1))
        if live and rng.random() < 0.38:
            at = rng.randrange(len(live))
            live[at], live[-1] = live[-1], live[at]
            yield CANCEL, live.pop(), 0, 0, 0
            continue
        last_id += 1
        side = (BUY, SELL)[rng.randrange(2)]
        distance = int(rng.expovariate(0.08)) - 1  # -1: one in the other side's ground, it crosses
        price = middle - distance if side == BUY else middle + distance
        live.append(last_id)
        yield NEW, last_id, side, price, rng.randrange(1, 100) * 10


def run_stream(operations: list[Operation]) -> tuple[float, int, int]:
    """CPU seconds, fills, volume."""
    book = Book(deque(maxlen=0).append)  # every event is made, and forgotten at once
    new, cancel = book.new, book.cancel
    gc.collect()
    start = time.process_time()
    for kind, order_id, side, price, quantity in operations:
        if kind:
            new(order_id, side, quantity, price)
        else:
            cancel(order_id)
    return time.process_time() - start, book.trades, book.volume


def filled_book(resting: int) -> Book:
    """`resting` orders on 100 levels that do not cross."""
    rng = random.Random(1)
    book = Book(deque(maxlen=0).append)
    for order_id in range(1, resting + 1):
        if order_id & 1:
            book.new(order_id, BUY, 10, 1_000 - rng.randrange(50))
        else:
            book.new(order_id, SELL, 10, 1_001 + rng.randrange(50))
    return book


def cost_ns(book: Book, resting: int, rounds: int) -> float:
    """New + cancel of a random earlier order, in ns: the book keeps its size."""
    rng = random.Random(2)
    ids = list(range(1, resting + 1))
    calls = []
    for order_id in range(resting + 1, resting + rounds + 1):
        at = rng.randrange(resting)
        side = BUY if order_id & 1 else SELL
        calls.append((order_id, side, 950 + rng.randrange(50) if side == BUY else 1_001 + rng.randrange(50), ids[at]))
        ids[at] = order_id
    start = time.process_time()
    for order_id, side, price, done in calls:
        book.new(order_id, side, 10, price)
        book.cancel(done)
    return (time.process_time() - start) / rounds * 1e9


def bytes_per_order(resting: int) -> float:
    """What a book of `resting` orders holds, per order."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    book = filled_book(resting)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / len(book.orders)


if __name__ == "__main__":
    main(bench, __doc__)
