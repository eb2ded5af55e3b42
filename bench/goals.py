"""What is wanted (the table of goals), and whether the findings hold it.

A goal is judged by the median of its runs. Where a goal is a ratio of two benches it needs both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.measure import Finding
from bench.path_latency import DUE

Verdict = Literal["aim", "floor", "below", "not measured"]
Findings = Mapping[str, Finding]
"""By the names of the suite."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`measure` gives the figure, or None if its benches (of the suite) did not run; `higher`: more is better."""

    what: str
    unit: str
    floor: Callable[[Findings], float]
    aim: Callable[[Findings], float]
    measure: Callable[[Findings], float | None]
    benches: tuple[str, ...]
    higher: bool = True

    def judge(self, findings: Findings) -> dict[str, Any]:
        """The row of the table."""
        measured = self.measure(findings)
        row: dict[str, Any] = {
            "what": self.what, "unit": self.unit, "benches": list(self.benches), "measured": measured,
            "verdict": "not measured",
        }  # fmt: skip
        if measured is None:
            return row | {"floor": None, "aim": None}
        floor, aim = self.floor(findings), self.aim(findings)
        return row | {"floor": floor, "aim": aim, "verdict": self._verdict(measured, floor, aim)}

    def _verdict(self, measured: float, floor: float, aim: float) -> Verdict:
        sign = 1 if self.higher else -1
        if sign * measured >= sign * aim:
            return "aim"
        return "floor" if sign * measured >= sign * floor else "below"


def _fixed(value: float) -> Callable[[Findings], float]:
    return lambda findings: value


def _median(bench: str, metric: str) -> Callable[[Findings], float | None]:
    def measure(findings: Findings) -> float | None:
        found = findings.get(bench)
        return found[metric].middle if found and metric in found.metrics else None

    return measure


def _simple(what: str, unit: str, floor: float, aim: float, bench: str, metric: str, higher: bool = True) -> Goal:
    return Goal(what, unit, _fixed(floor), _fixed(aim), _median(bench, metric), (bench,), higher)


def _power_share(findings: Findings) -> float | None:
    power, process = (_median(name, "order path")(findings) for name in ("power", "order_path"))
    return 100 * power / process if power and process else None


def _worst_ring(findings: Findings) -> float | None:
    found = findings.get("ring")
    ratios = [metric.middle for name, metric in found.metrics.items() if " against " in name] if found else []
    return min(ratios, default=None)


def _worst(bench: str, prefix: str, suffix: str, of: Callable[..., float]) -> Callable[[Findings], float | None]:
    """The worst of several figures of one bench."""

    def measure(findings: Findings) -> float | None:
        found = findings.get(bench)
        figures = [
            metric.middle for name, metric in found.metrics.items() if name.startswith(prefix) and name.endswith(suffix)
        ] if found else []  # fmt: skip
        return of(figures) if figures else None

    return measure


def sync_us(findings: Findings) -> float:
    """The fdatasync of the run with "power", as the desk itself measured it in both journals (median)."""
    found = findings["latency_power"]
    return (found["sync of intake, p50"].middle + found["sync of sender, p50"].middle) / 2


GOALS = (
    _simple("whole path: submit → rows committed, 2 M orders, two upstreams, venue process, 4 rows per order",
            "orders/s", 80_000, 300_000, "path_day", "committed"),
    _simple("order path: submit → send → response journalled, null venue", "orders/s", 150_000, 500_000, "order_path",
            "order path"),
    Goal('the same, "power" against "process"', "%", _fixed(70), _fixed(90), _power_share,
         ("power", "order_path")),
    _simple('submit → send at 1,000/s, "process", p50', "µs", 60, 30, "latency", f"{DUE}, p50", False),
    _simple('submit → send at 1,000/s, "process", p99', "µs", 500, 150, "latency", f"{DUE}, p99", False),
    Goal('submit → send at 1,000/s, "power", p50', "µs", lambda found: 2 * sync_us(found) + 120,
         lambda found: sync_us(found) + 60, _median("latency_power", f"{DUE}, p50"), ("latency_power",), False),
    Goal("ring against faster-fifo, the worst frame size", "×", _fixed(3), _fixed(4), _worst_ring, ("ring",)),
    _simple("ring round trip, blocking waits, p50", "µs", 15, 8, "roundtrip", "ring, p50", False),
    _simple("journal append, 128 a frame", "records/s", 1e6, 3e6, "journal", "process, 128 a frame"),
    _simple("order book alone", "operations/s", 900_000, 1_200_000, "book", "stream"),
    _simple("venue with events, journal and rings, matching", "requests/s", 150_000, 150_000, "venue", "match"),
    Goal("throttle saturated, no window over, the worst rate", "% of the rate", _fixed(99), _fixed(99.9),
         _worst("throttle", "used, ", "", min), ("throttle",)),
    Goal("release after the token frees, p99, the worst rate", "ms", _fixed(1), _fixed(0.2),
         _worst("throttle", "late, ", "p99", max), ("throttle",), False),
    _simple("idle desk", "% of a core", 1, 0.3, "idle", "idle desk", False),
    _simple("start to ready", "s", 1.5, 0.7, "start_stop", "start to ready", False),
    _simple("stop to gone", "s", 1, 0.3, "start_stop", "stop to gone", False),
)  # fmt: skip


def table(findings: Findings) -> list[dict[str, Any]]:
    """A row for each goal."""
    return [goal.judge(findings) for goal in GOALS]
