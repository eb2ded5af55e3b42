"""The highest rate that the whole path sustains, and what gives way first beyond it.

    oms bench stress [--seconds 3] [--rate START] [--upstreams 2] [--durability process] [--json]

Open loop: orders are submitted when they are due, whatever became of those before. A rate is *sustained* if the
upstreams could submit it and none found its ring full, if what is on its way between two stages does not grow through
the second half of the run by more than a quarter of a second's orders, and if the last row is committed within a second
of the last order. What is not sustained is tried once more, for a machine may stumble. The search doubles until a rate
is not sustained, then halves the interval; what it has found must then hold for five times as long, or a lower
rate must. Every order of every run is accounted for as in `path_throughput`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench import path_throughput
from bench.desk import Desk, config_of, running
from bench.load import Load
from bench.measure import Finding, Options

FRAMES_PER_S = 500
"""Each upstream submits so often, at most."""
SAMPLE_S = 0.05
DRAIN_S_MAX = 1.0
"""Sustained means: committed so soon after the last submit."""
GROWTH_S_MAX = 0.25
"""Sustained means: a backlog grows by less than so many seconds' orders through the second half of the run."""
RATIO = 1.1
"""The search ends when the interval is this narrow; what does not hold for long is lowered by it."""
PROOF = 5
"""What was found must hold for so many times as long."""
TRIES = 2
SUBMITTED_MIN = 0.95
"""Of the rate, by the upstreams."""
STAGES = (
    ("upstreams → intake", "the upstreams' request rings: intake takes too slowly, or they themselves are late"),
    ("intake → sender", "the sender's queue: it takes or sends too slowly"),
    ("sender → venue", "the link to the venue: the venue answers too slowly"),
    ("journals → database", "the backlog of the journals: persistence commits too slowly"),
)


@dataclass(slots=True)
class Trial:
    """One rate. `backlog`: by stage, orders on their way at each sample."""

    rate: int
    seconds: float = 0.0
    achieved: float = 0.0
    drained_s: float = 0.0
    full: int = 0
    backlog: list[list[int]] = field(default_factory=lambda: [[] for _ in STAGES])

    def growth(self, stage: int) -> float:
        """Orders per second by which the backlog of a stage grew from the third quarter of the run to the fourth: by
        their medians, for a batch more or less at either end means nothing."""
        samples = self.backlog[stage][len(self.backlog[stage]) // 2 :]
        half = len(samples) // 2
        if not half:
            return 0.0
        return (median(samples[-half:]) - median(samples[:half])) / (SAMPLE_S * (len(samples) - half))

    @property
    def sustained(self) -> bool:
        return self.gives_way() is None and self.drained_s <= DRAIN_S_MAX

    def gives_way(self) -> int | None:
        """The stage whose backlog grows most, if one grows too much; the first one if a ring was full, or if not all
        could be submitted in time. None: nowhere does it stop."""
        growths = [self.growth(stage) for stage in range(len(STAGES))]
        worst = max(range(len(STAGES)), key=growths.__getitem__)
        half_s = SAMPLE_S * len(self.backlog[worst]) / 2
        if growths[worst] * half_s > self.rate * GROWTH_S_MAX:
            return worst
        return 0 if self.full or self.achieved < SUBMITTED_MIN * self.rate else None

    def verdict(self) -> str:
        """In words."""
        stage = self.gives_way()
        if stage is not None:
            full = f" (full {self.full} times)" if self.full else ""
            return f"{': '.join(STAGES[stage])}{full}"
        if self.drained_s > DRAIN_S_MAX:
            waiting = [median(found[-len(found) // 4 :] or [0]) for found in self.backlog]
            most = STAGES[max(range(len(STAGES)), key=waiting.__getitem__)]
            late = f"the last row came {self.drained_s:.1f} s after the last order"
            return f"nothing grew without end, but {late}; most was waiting in {': '.join(most)}"
        return "sustained"

    def document(self) -> dict[str, Any]:
        stage = self.gives_way()
        return {
            "rate": self.rate, "seconds": self.seconds, "sustained": self.sustained,
            "achieved": round(self.achieved), "ring_full": self.full, "drained_s": round(self.drained_s, 3),
            "gives_way": None if stage is None else STAGES[stage][0],
            "backlog_max": {name: max(found, default=0) for (name, _), found in zip(STAGES, self.backlog, strict=True)},
        }  # fmt: skip


def search(
    options: Options, upstreams: int, durability: str, on_trial: Callable[[Trial], None] = lambda trial: None
) -> dict[str, Any]:
    """The highest sustained rate and the first that is not, with all trials."""
    trials: list[Trial] = []
    short_s = options.duration(3.0, 0.3)

    def works(rate: int, seconds: float = short_s) -> bool:
        for _ in range(1 if options.tiny else TRIES):
            trials.append(trial(options, rate, seconds, upstreams, durability))
            on_trial(trials[-1])
            if trials[-1].sustained:
                return True
        return False

    rate = options.rate or (500 if options.tiny else 20_000)
    if options.tiny:
        sustained = rate if works(rate) else 0
    else:
        sustained = found = _highest(works, rate)
        while sustained and not works(sustained, PROOF * short_s):
            sustained = int(sustained / RATIO) if sustained > found / 4 else 0
    beyond = [trial for trial in trials if trial.rate > sustained and not trial.sustained]
    broken = min(beyond, key=lambda trial: (trial.rate, -trial.seconds), default=None)
    return {
        "sustained": sustained,
        "first_not_sustained": broken.rate if broken else None,
        "gives_way": broken.verdict() if broken else None,
        "upstreams": upstreams, "durability": durability,
        "trials": [trial.document() for trial in sorted(trials, key=lambda trial: trial.rate)],
    }  # fmt: skip


def _highest(works: Callable[[int], bool], start: int) -> int:
    """The highest rate that works, to within `RATIO`; 0 if none above 1,000 does."""
    low, high = 0, start
    while works(high):
        low, high = high, 2 * high
    while high > RATIO * low if low else high > 1_000:
        middle = (low + high) // 2
        low, high = (middle, high) if works(middle) else (low, middle)
    return low


def trial(options: Options, rate: int, seconds: float, upstreams: int, durability: str) -> Trial:
    """One rate for so long on a fresh desk."""
    found = Trial(rate, seconds)
    share = max(1, int(rate * seconds / upstreams))
    frame = max(1, rate // upstreams // FRAMES_PER_S)
    with running(config_of(durability=durability), options.folder) as desk:
        loads = [
            Load(desk.instance, f"up{n}", orders=share, frame=frame, reports_per_order=3, rate_per_s=rate / upstreams)
            for n in range(upstreams)
        ]
        try:
            for load in loads:
                load.ready()
            for load in loads:
                load.go()
            watch(desk, found, seconds, share * upstreams)
            results = [load.result() for load in loads]
            rows = share * upstreams * len(path_throughput.TABLES)
            desk.wait("rows", lambda: path_throughput.rows(desk) >= rows, progress=lambda: path_throughput.rows(desk))
        finally:
            for load in loads:
                load.kill()
        path_throughput.check(desk, results)
        began = min(each["began_ns"] for each in results)
        submitted = max(each["submitted_ns"] for each in results)
        found.full = sum(each["ring_full"] for each in results)
        found.achieved = share * upstreams / (submitted - began) * 1e9
        found.drained_s = max(0, desk.counter("persistence", "last_commit_ns") - submitted) / 1e9
    return found


def watch(desk: Desk, found: Trial, seconds: float, orders: int) -> None:
    """Samples what lies between the stages while the orders come. Before intake: what is due and not accepted."""
    began = time.monotonic()
    while (passed_s := time.monotonic() - began) < seconds:
        time.sleep(SAMPLE_S)
        due = min(orders, int(found.rate * passed_s))
        accepted, sent = desk.counter("intake", "accepted"), desk.counter("sender", "sent")
        answered, stored = desk.counter("sender", "fills"), desk.counter("persistence", "executions")
        backlogs = (due - accepted, accepted - sent, sent - answered, answered - stored)
        for samples, backlog in zip(found.backlog, backlogs, strict=True):
            samples.append(max(0, backlog))


def finding(found: dict[str, Any]) -> Finding:
    """The same as a finding, for reports and comparisons."""
    made = Finding("stress", "stress: the highest sustained rate of the whole path")
    made.config = {"upstreams": found["upstreams"], "durability": found["durability"]}
    made.add("sustained", "orders/s", found["sustained"])
    made.checked = ["every order of every trial: venue, reports, rows"]
    made.notes = [f"gives way beyond it: {found['gives_way']}"]
    return made
