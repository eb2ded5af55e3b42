"""What one order alone costs on its way to the exchange, step by step: no wake-up, no other process.

    python -m bench.order_steps [--orders 4000] [--runs 3] [--json]

Intake and the sender are driven by hand in this process (`bench.rig`, "process" durability), one order after the other,
and each step is timed: submit, intake until the sender can see the frame, the sender until the exchange is called.
What comes afterwards (answers, results) is done between two orders and does not count. Latency is this, and what it
takes to wake up. "least" is the twentieth that was disturbed least. Each order must be called, accepted and
acknowledged once.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from bench.adapters import Noting
from bench.host import keep_memory
from bench.load import Tally, encoded
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from bench.rig import Rig, rig
from oms_actors.record import REQUEST_BYTES

ADAPTER = "bench.adapters:Noting"
STEPS = ("submit", "intake → frame seen", "sender → call")
WARM = 10
"""One order in so many is not counted, at the beginning."""


class _NotingRing:
    """Intake's ring to the sender, which notes when a frame can be seen."""

    def __init__(self, ring: Any) -> None:
        self._ring, self.frame_bytes_max = ring, ring.frame_bytes_max
        self.seen_ns: list[int] = []

    def try_put(self, frame: bytes) -> bool:
        put: bool = self._ring.try_put(frame)
        self.seen_ns.append(perf_counter_ns())
        return put


def bench(options: Options) -> Finding:
    """Several times over."""
    keep_memory()
    orders = options.count(4_000, 100)
    finding = Finding("steps", "one order alone, step by step")
    finding.config = {"orders": orders, "durability": "process", "exchange": "null adapter"}
    for _ in range(options.repeats()):
        with rig(options.folder, adapter=ADAPTER) as made:
            times = measure(made, orders)
        times["all of it"] = [sum(each) for each in zip(*times.values(), strict=True)]
        for step, taken in times.items():
            taken = sorted(taken[orders // WARM :])
            finding.add(f"{step}, p50", "µs", taken[len(taken) // 2] / 1e3, "lower")
            finding.add(f"{step}, least", "µs", taken[len(taken) // 20] / 1e3, "lower")
    finding.checked = ["each order called, accepted and acknowledged once"]
    return finding


def measure(made: Rig, orders: int) -> dict[str, list[int]]:
    """ns of each step of each order."""
    adapter = made.sender.caller.adapter
    assert isinstance(adapter, Noting)
    called_ns, ring = adapter.called_ns, _NotingRing(made.intake.out_ring)
    made.intake.out_ring = ring  # type: ignore[assignment]
    requests, tally = memoryview(encoded("up-", 1, orders)), Tally()
    times: dict[str, list[int]] = {step: [] for step in STEPS}
    for at in range(0, len(requests), REQUEST_BYTES):
        began = perf_counter_ns()
        made.upstream.submit_records(requests[at : at + REQUEST_BYTES])
        submitted = perf_counter_ns()
        if made.intake.ready():
            made.intake.work()
        handed_on = perf_counter_ns()
        if made.sender.ready():
            made.sender.work()
        for step, ns in zip(STEPS, (submitted - began, ring.seen_ns[-1] - submitted, called_ns[-1] - handed_on),
                            strict=True):  # fmt: skip
            times[step].append(ns)
        made.settle()
        tally.take(made.upstream.raw_reports(0))
    if len(called_ns) != orders or tally.named() != {"NEW": orders, "PENDING_NEW": orders}:
        raise WrongAnswer(f"{orders} orders: {len(called_ns)} calls, {tally.named()} came back")
    return times


if __name__ == "__main__":
    main(bench, __doc__)
