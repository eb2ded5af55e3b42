"""The throttle of a real desk, saturated: how much of the rate is used, is any window over, how late is a release.

    python -m bench.desk_throttle [--seconds 4] [--json]

Orders come evenly, a twentieth more than the throttle allows, so from the first second on some wait in the sender's
queue and tokens free one after the other. (A burst would free all of them at once, and a second later measure how
quickly so many go out, which other benches do.) The adapter (`bench.adapters:Recorder`) writes down the instant of each
call. A window is over if call k + rate comes less than the period after call k. "late" is how much later than the
period after call k it came: the call itself, the sync of its record and the wake included.
"""

from __future__ import annotations

from bench.desk import config_of, running
from bench.load import Load
from bench.measure import Finding, Options, WrongAnswer
from bench.path_latency import ADAPTER, words
from bench.program import main
from oms_actors.config import ThrottleConfig

RATES = (100, 1_000, 20_000)
SECOND_NS = 1_000_000_000
FRAMES_PER_S = 1_000
SURPLUS = 1.05
"""What comes, over what the throttle allows."""


def bench(options: Options) -> Finding:
    """Each rate on its own desk."""
    seconds = options.duration(4.0, 0.5)
    finding = Finding("throttle", "throttle of a real desk, saturated")
    finding.config = {"seconds": seconds, "window": "sliding", "per": "1 s", "durability": "process"}
    for _ in range(options.repeats(2)):
        for rate in RATES[:1] if options.tiny else RATES:
            run(finding, options, rate, seconds)
    finding.checked = ["no window of a second has more calls than the rate"]
    return finding


def run(finding: Finding, options: Options, rate: int, seconds: float) -> None:
    """One rate."""
    orders = int(rate * (seconds + 1))
    with words(orders + 1) as (path, sent):
        config = config_of(adapter=ADAPTER, options={"path": path}, throttle=ThrottleConfig(rate=rate))
        with running(config, options.folder) as desk:
            load = Load(desk.instance, "up0", orders=orders, frame=max(1, rate // FRAMES_PER_S), reports_per_order=2,
                        rate_per_s=SURPLUS * rate)  # fmt: skip
            try:
                load.ready()
                load.go()
                load.result()
            finally:
                load.kill()
        instants = sorted(sent[1 : orders + 1].tolist())
    judge(finding, instants, rate)


def judge(finding: Finding, instants: list[int], rate: int) -> None:
    """From the instants of the calls alone."""
    if not instants[0]:
        raise WrongAnswer("an order was never sent")
    late = sorted(after - before - SECOND_NS for before, after in zip(instants, instants[rate:], strict=False))
    if late[0] < 0:
        raise WrongAnswer(f"{rate}/s: {sum(ns < 0 for ns in late)} windows are over, one by {-late[0] / 1e3:.1f} µs")
    cycle_ns = sum(late) / len(late) + SECOND_NS
    finding.add(f"used, {rate:,}/s", "% of the rate", 100 * SECOND_NS / cycle_ns)
    for percent in (50, 99):
        value = late[min(len(late) - 1, len(late) * percent // 100)] / 1e6
        finding.add(f"late, {rate:,}/s, p{percent}", "ms", value, "lower")


if __name__ == "__main__":
    main(bench, __doc__)
