"""The whole path with one, two and four upstreams: does another one cost anything, and are they served alike?

    python -m bench.path_upstreams [--orders 100000] [--runs 3] [--json]

As `path_throughput`, same checks. "served alike" is the time that the quickest upstream took for its orders against
the slowest's.
"""

from __future__ import annotations

from bench import path_throughput
from bench.desk import config_of, running
from bench.measure import Finding, Options
from bench.program import main

UPSTREAMS = (1, 2, 4)


def bench(options: Options) -> Finding:
    """Each number in turn, several times over."""
    orders = options.count(100_000, 2_000)
    finding = Finding("upstreams", "whole path with one, two and four upstreams")
    finding.config = {"orders": orders, "durability": "process", "throttle": "open"}
    for _ in range(options.repeats()):
        for upstreams in UPSTREAMS[:2] if options.tiny else UPSTREAMS:
            one, share = Finding("path", ""), options.each(upstreams, 100_000, 2_000)
            with running(config_of(), options.folder) as desk:
                times_s = path_throughput.run(desk, one, share * upstreams, upstreams)
            finding.add(f"{upstreams} upstreams" if upstreams > 1 else "1 upstream", "orders/s", one["committed"].best)
            if upstreams > 1:
                finding.add(f"{upstreams} served alike", "%", 100 * min(times_s) / max(times_s))
    finding.checked = ["as the whole path: venue, reports of each upstream, rows"]
    return finding


if __name__ == "__main__":
    main(bench, __doc__)
