"""Intake and the sender alone: what each costs per order, by how many orders come at once.

    python -m bench.stage_cost [--orders 50000] [--runs 3] [--json]

Both in this process, driven by hand (`bench.rig`), so nobody is waked or waited for: CPU time of a stage's own cycles,
journal and rings included, "process" durability. At 1 order a frame that is the cost of a cycle, which is what latency
is made of; at 512 it is what throughput is made of. Every order must be acknowledged to its upstream.
"""

from __future__ import annotations

from time import thread_time_ns

from bench.host import keep_memory
from bench.load import Tally, encoded
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from bench.rig import Rig, rig
from oms_actors.record import REQUEST_BYTES

FRAMES = (1, 16, 128, 512)
_CYCLES = 100
"""So few cycles with frames of one are enough: the rest of the orders would only take time."""


def bench(options: Options) -> Finding:
    """Every frame size, several times over."""
    keep_memory()
    orders = options.count(50_000, 1_000)
    finding = Finding("stages", "intake and sender alone: CPU per order")
    finding.config = {"orders": orders, "durability": "process", "exchange": "null adapter"}
    for _ in range(options.repeats()):
        with rig(options.folder) as made:
            first = 1
            for frame in FRAMES:
                count = max(frame, min(orders, _CYCLES * 20 * frame) // frame * frame)
                cost = measure(made, first, count, frame)
                first += count
                for stage, ns in cost.items():
                    finding.add(f"{stage}, {frame} at once", "ns/order", ns / count, "lower")
    for stage in ("intake", "sender"):
        finding.add(f"{stage} alone", "orders/s", 1e9 / finding[f"{stage}, {FRAMES[-1]} at once"].best)
    finding.checked = ["each order accepted and acknowledged once"]
    return finding


def measure(made: Rig, first: int, count: int, frame: int) -> dict[str, float]:
    """CPU ns of each stage for `count` orders."""
    requests = memoryview(encoded("up-", first, count))
    tally = Tally()
    cost = {"intake": 0.0, "sender": 0.0}
    size = frame * REQUEST_BYTES
    for at in range(0, len(requests), size):
        made.upstream.submit_records(requests[at : at + size])
        while made.intake.ready() or made.sender.ready():
            began = thread_time_ns()
            made.intake.work()
            between = thread_time_ns()
            made.sender.work()
            cost["sender"] += thread_time_ns() - between
            cost["intake"] += between - began
        tally.take(made.upstream.raw_reports(0))
    made.settle()
    tally.take(made.upstream.raw_reports(0))
    if tally.named() != {"NEW": count, "PENDING_NEW": count}:
        raise WrongAnswer(f"{count} orders were submitted, but {tally.named()} came back")
    return cost


if __name__ == "__main__":
    main(bench, __doc__)
