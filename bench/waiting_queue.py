"""The waiting queue: what a modify and a cancel of a waiting order cost, by how many wait; and bytes per order.

    python -m bench.waiting_queue [--orders 1000000] [--runs 3] [--json]

The sender's core alone. Orders have 40 sizes and 1,000 prices. Requests come as frames of intake's journal, 512 at a
time, in random order of the orders they mean, made before the clock runs; the throttle lets nothing out. Each must be
answered, and in the end exactly the others must still wait.
"""

from __future__ import annotations

import gc
import random
import struct
import tracemalloc
from itertools import islice
from time import process_time_ns

from bench.host import keep_memory
from bench.load import encoded
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from oms_actors.core.batches import Batches
from oms_actors.core.pending import SenderSettings
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.messages import CancelOrder, Kind, ModifyOrder
from oms_actors.record import AT_CLIENT_ORDER_ID, AT_ORIG, REQUEST_BYTES, encode

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CHANGES_MAX = 20_000
FRAME = 512
ONE = 10**8


def bench(options: Options) -> Finding:
    """Every size up to --orders."""
    keep_memory()
    largest = options.count(SIZES[-1], SIZES[0])
    finding = Finding("queue", "waiting queue: cost of a change by how many wait")
    finding.config = {"changes": CHANGES_MAX, "requests per frame": FRAME, "seed": options.seed}
    for size in (size for size in SIZES if size <= largest):
        for _ in range(options.repeats(3 if size < SIZES[-1] else 1)):
            run(finding, size, options.seed)
    finding.add("memory", "bytes/order", bytes_per_order(min(largest, 50_000)), "lower")
    finding.checked = ["every change answered, and exactly the others still wait"]
    return finding


def run(finding: Finding, size: int, seed: int) -> None:
    """One size."""
    core = fresh()
    took = fill(core, size)
    finding.add(f"admit, {size:,} wait", "ns", took / size, "lower")
    chosen = random.Random(seed).sample(range(1, size + 1), min(size // 2, CHANGES_MAX))
    for kind in (Kind.MODIFY, Kind.CANCEL):
        frames = changes(kind, chosen)
        gc.collect()
        began = process_time_ns()
        for frame in frames:
            core.begin(2, 2)
            core.take(frame)
            core.taken()
        finding.add(f"{kind.name.lower()}, {size:,} wait", "ns", (process_time_ns() - began) / len(chosen), "lower")
    counts = core.counters["modified_in_queue"], core.counters["canceled_in_queue"], core.waiting
    if counts != (len(chosen), len(chosen), size - len(chosen)):
        raise WrongAnswer(f"modified, canceled, waiting: {counts} of {size} with {len(chosen)} changed")


def fresh() -> Batches:
    """A core that lets nothing out."""
    return Batches(SenderSettings(), Throttle(ThrottleLimit(rate=1)))


def fill(core: Batches, size: int) -> int:
    """`size` orders wait; CPU ns."""
    took = 0
    for first in range(1, size + 1, FRAME):
        frame = numbered(encoded("o", first, min(FRAME, size + 1 - first)), first)
        began = process_time_ns()
        core.begin(1, 1)
        core.take(frame)
        core.taken()
        took += process_time_ns() - began
    return took


def numbered(requests: bytes, first: int) -> bytes:
    """As intake journals them: with sequence, upstream and order number; and with sizes and prices."""
    frame = bytearray(requests)
    count = len(frame) // REQUEST_BYTES
    dice = random.Random(first)
    sizes, prices = ([dice.randrange(1, limit) * ONE for _ in range(count)] for limit in (41, 1001))
    with memoryview(frame).cast("Q") as words:
        for word, values in ((6, sizes), (7, prices)):
            words[word::24] = memoryview(struct.pack(f"<{count}Q", *values)).cast("Q")
        column = memoryview(struct.pack(f"<{count}Q", *range(first, first + count))).cast("Q")
        words[1::24] = words[23::24] = column
        words[2::24] = memoryview(bytes((1, 0, 0, 0, 0, 0, 0, 0)) * count).cast("Q")
    return bytes(frame)


def changes(kind: Kind, numbers: list[int]) -> list[bytes]:
    """Frames of MODIFY requests, or of CANCELs of what was modified before."""
    made = ModifyOrder(client_order_id="m", orig_client_order_id="o", quantity=7) if kind is Kind.MODIFY else \
        CancelOrder(client_order_id="c", orig_client_order_id="m")  # fmt: skip
    record = bytearray(encode(made))
    record[16] = 1
    own, orig = (b"m", b"o") if kind is Kind.MODIFY else (b"c", b"m")

    def one(number: int) -> bytes:
        name = b"%08d" % number
        record[AT_CLIENT_ORDER_ID : AT_CLIENT_ORDER_ID + 9] = own + name
        record[AT_ORIG : AT_ORIG + 9] = orig + name
        return bytes(record)

    records = iter([one(number) for number in numbers])
    return [b"".join(part) for part in iter(lambda: list(islice(records, FRAME)), [])]


def bytes_per_order(size: int) -> float:
    """What the core holds for each waiting order, by tracemalloc, record and ids included."""
    core = fresh()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fill(core, size)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / size


if __name__ == "__main__":
    main(bench, __doc__)
