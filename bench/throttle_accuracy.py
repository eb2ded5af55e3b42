"""A saturated throttle on the real clock: how much of the rate is used, and is any window ever over it?

    python bench/throttle_accuracy.py [--rates 100,1000,20000] [--seconds 5] [--call-us 2] [--json]

A request may reach the exchange at any instant of its call, so a window of one second is over if call k + rate starts
less than a second after call k returned. Exits with 1 if a window is over, or if less than 99 % of a rate was used.
"share" is the second over the mean time from a call to the one that used its token next. "release" is how long after
its token was free, and the last call had returned, a call began.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from oms_actors.core.throttle import Throttle, ThrottleLimit

SECOND_NS = 1_000_000_000
SPIN_NS = 100_000
SHARE_MIN = 0.99
Calls = tuple[list[int], list[int]]


def saturate(limit: ThrottleLimit, seconds: float, call_ns: int) -> Calls:
    """Calls as often as the throttle lets us; start and return instants of each."""
    throttle, clock = Throttle(limit), time.monotonic_ns
    starts: list[int] = []
    returns: list[int] = []
    end_ns = clock() + int(seconds * SECOND_NS) + limit.per_ns
    while (now_ns := clock()) < end_ns:
        if not throttle.take(now_ns):
            wait(throttle.next_free_ns(now_ns))
            continue
        starts.append(clock())
        while clock() - starts[-1] < call_ns:
            pass
        returns.append(clock())
        throttle.returned(returns[-1])
    return starts, returns


def wait(until_ns: int) -> None:
    """Sleeps, and spins for the last moment."""
    while (left_ns := until_ns - time.monotonic_ns()) > 0:
        if left_ns > SPIN_NS:
            time.sleep((left_ns - SPIN_NS) / SECOND_NS)


def judged(limit: ThrottleLimit, calls: Calls) -> dict[str, float]:
    """The answer, from the instants alone: each call against the one that used its token before."""
    starts, returns = calls
    rate, per_ns = limit.rate, limit.per_ns
    again = range(rate, len(starts))
    cycle_ns = sum(starts[k] - starts[k - rate] for k in again)
    possible_ns = (max(returns[k - rate] + per_ns, returns[k - 1]) for k in again)
    late_ns = sorted(starts[k] - possible for k, possible in zip(again, possible_ns, strict=True))
    return {
        "rate": rate,
        "calls": len(starts),
        "share": round(per_ns * len(again) / cycle_ns, 5) if cycle_ns else 0.0,
        "windows_over": sum(starts[k] - returns[k - rate] < per_ns for k in again),
        "release_p50_us": quantile(late_ns, 0.5) / 1_000,
        "release_p99_us": quantile(late_ns, 0.99) / 1_000,
    }


def quantile(ascending: list[int], share: float) -> int:
    return ascending[int(share * (len(ascending) - 1))] if ascending else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="100,1000,20000", help="calls per second, with commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="per rate, after the first second")
    parser.add_argument("--call-us", type=float, default=2.0, help="how long a call takes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    results = []
    for rate in map(int, options.rates.split(",")):
        limit = ThrottleLimit(rate=rate)
        results.append(judged(limit, saturate(limit, options.seconds, int(options.call_us * 1_000))))
    ok = all(result["windows_over"] == 0 and result["share"] >= SHARE_MIN for result in results)
    if options.json:
        print(json.dumps({"ok": ok, "results": results}))
    else:
        for result in results:
            print(", ".join(f"{name} {value:g}" for name, value in result.items()))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
