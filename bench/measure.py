"""What a bench hands back: figures of several runs, histograms, and the proof that the answer was right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

Better = Literal["higher", "lower", "neither"]


class WrongAnswer(Exception):
    """What was measured did not do its work: the figure would be worth nothing."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much a bench may do. None: the bench's own default."""

    runs: int = 3
    rate: int | None = None
    """Orders per second of an open loop."""
    seconds: float | None = None
    """Duration of each run."""
    orders: int | None = None
    tiny: bool = False
    """As small as makes sense: it only has to show that the bench works."""
    folder: Path | None = None
    """Where journals and databases go: the disk that is measured. None: the system's temporary folder."""
    seed: int = 7

    def count(self, default: int, tiny: int) -> int:
        """How many orders."""
        return self.orders or (tiny if self.tiny else default)

    def each(self, shares: int, default: int, tiny: int) -> int:
        """How many orders for each of so many, at least one."""
        return max(1, self.count(default, tiny) // shares)

    def duration(self, default: float, tiny: float) -> float:
        """Seconds of a run."""
        return self.seconds or (tiny if self.tiny else default)

    def repeats(self, at_most: int = 100) -> int:
        """How many runs."""
        return 1 if self.tiny else min(self.runs, at_most)


@dataclass(slots=True)
class Metric:
    """One figure, measured in several runs. min, median and max are the noise."""

    name: str
    unit: str
    values: list[float]
    better: Better = "higher"

    @property
    def best(self) -> float:
        """The run that was disturbed least."""
        return min(self.values) if self.better == "lower" else max(self.values)

    @property
    def middle(self) -> float:
        return median(self.values)

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name, "unit": self.unit, "better": self.better, "runs": self.values,
            "min": min(self.values), "median": self.middle, "max": max(self.values),
        }  # fmt: skip


@dataclass(slots=True)
class Finding:
    """All that one bench found."""

    bench: str
    title: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    latencies: dict[str, Latencies] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    checked: list[str] = field(default_factory=list)
    """What was found to be right, in words."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """How long it took, all runs together."""

    def add(self, name: str, unit: str, value: float, better: Better = "higher") -> None:
        """One run's value of a figure."""
        metric = self.metrics.setdefault(name, Metric(name, unit, [], better))
        metric.values.append(value)

    def add_latencies(self, name: str, values_ns: Iterable[int]) -> None:
        """More values of a distribution; those of all runs are one."""
        self.latencies.setdefault(name, Latencies()).record(values_ns)

    def __getitem__(self, name: str) -> Metric:
        return self.metrics[name]

    def document(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "bench": self.bench, "title": self.title, "config": self.config, "checked": self.checked,
            "notes": self.notes, "seconds": round(self.seconds, 1),
            "metrics": [metric.document() for metric in self.metrics.values()],
            "latencies": {name: found.document() for name, found in self.latencies.items()},
        }  # fmt: skip


PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99, 100.0)


class Latencies:
    """An HDR histogram of ns, 3 significant digits, up to an hour."""

    HIGHEST_NS = 3_600_000_000_000

    def __init__(self) -> None:
        from hdrh.histogram import HdrHistogram

        self.histogram: Any = HdrHistogram(1, self.HIGHEST_NS, 3)

    def record(self, values_ns: Iterable[int]) -> None:
        """Values below 1 ns count as 1 ns."""
        record = self.histogram.record_value
        for value in values_ns:
            record(min(max(value, 1), self.HIGHEST_NS))

    def percentile_us(self, percent: float) -> float:
        """In µs; 0 where there is nothing."""
        return float(self.histogram.get_value_at_percentile(percent)) / 1_000 if self.histogram.total_count else 0.0

    def document(self) -> dict[str, Any]:
        return {
            "count": self.histogram.total_count,
            "us": {f"p{percent:g}": self.percentile_us(percent) for percent in PERCENTILES},
            "curve_us": self.curve(),
            "hdr": self.histogram.encode().decode("ascii"),
        }

    def curve(self) -> list[tuple[float, float]]:
        """(percentile, µs) as it is usually drawn: ten points for each further nine."""
        points = [step * 10.0 for step in range(1, 9)]
        points += [100 - 10.0**-nines * (10 - step) for nines in range(-1, 4) for step in range(9)]
        limit = 100 - 100 / max(1, self.histogram.total_count)
        kept = [*sorted({round(point, 6) for point in points if 0 < point <= limit}), 100.0]
        return [(point, self.percentile_us(point)) for point in kept]
