"""Two kinds of plots as inline SVG, without anything from elsewhere: bars with their noise, and percentile curves.

Colors are CSS variables of the page that shows them (`--c0` … `--c5`, `--ink`, `--line`), so they follow its theme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH = 760
LABEL_WIDTH, VALUE_WIDTH = 260, 120
BAR_HEIGHT, BAR_GAP = 18, 10
COLORS = 6


Scale = Callable[[float], float]


class Bar(NamedTuple):
    """One bar: what, the median, and between what the runs lay."""

    label: str
    value: float
    low: float
    high: float
    color: int = 0


class Curve(NamedTuple):
    """(percentile, µs) of one distribution."""

    label: str
    points: Sequence[tuple[float, float]]


def number(value: float) -> str:
    """Three digits that mean something, with a comma per thousand."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 3)}f}"


def bars(found: Sequence[Bar], unit: str, log: bool = False) -> str:
    """Horizontal bars from 0 (or, `log`, from a decade below the smallest); a thin line shows the noise."""
    if not found:
        return ""
    height = len(found) * (BAR_HEIGHT + BAR_GAP) + 8
    largest = max(bar.high for bar in found) or 1.0
    least = 10 ** math.floor(math.log10(min(bar.value for bar in found if bar.value > 0) or 1)) / 2 if log else 0.0
    space = WIDTH - LABEL_WIDTH - VALUE_WIDTH

    def x(value: float) -> float:
        if not log:
            return LABEL_WIDTH + space * value / largest
        part = math.log(max(value, least) / least) / math.log(largest / least) if largest > least else 1
        return LABEL_WIDTH + space * part

    parts = []
    for at, bar in enumerate(found):
        y = 4 + at * (BAR_HEIGHT + BAR_GAP)
        middle = y + BAR_HEIGHT / 2
        said = f"{bar.label}: {number(bar.value)} {unit} ({number(bar.low)} … {number(bar.high)})"
        parts.append(
            f"<g><title>{escape(said)}</title>"
            f'<text class="label" x="{LABEL_WIDTH - 10}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect x="{LABEL_WIDTH}" y="{y}" width="{max(1.0, x(bar.value) - LABEL_WIDTH):.1f}" height="{BAR_HEIGHT}" '
            f'rx="3" fill="var(--c{bar.color % COLORS})"/>'
            f'<path d="M{x(bar.low):.1f} {middle}H{x(bar.high):.1f}M{x(bar.low):.1f} {middle - 4}v8M{x(bar.high):.1f} '
            f'{middle - 4}v8" class="noise"/>'
            f'<text class="value" x="{x(max(bar.value, bar.high)) + 8:.1f}" y="{middle + 4}">{number(bar.value)}</text>'
            "</g>"
        )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(parts)}</svg>'


PLOT = (70, 16, WIDTH - 20, 280)
"""left, top, right, bottom of the curves' field."""


def curves(found: Sequence[Curve]) -> str:
    """Latency by percentile: µs on a logarithmic scale, percentiles by nines."""
    found = [curve for curve in found if len(curve.points) > 1]
    if not found:
        return ""
    values = [us for curve in found for _, us in curve.points if us > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    nines = max(_nines(percent) for curve in found for percent, _ in curve.points if percent < 100)
    left, top, right, bottom = PLOT

    def x(percent: float) -> float:
        return left + (right - left) * min(1.0, _nines(percent) / nines if percent < 100 else 1.0)

    def y(us: float) -> float:
        return bottom - (bottom - top) * (math.log10(max(us, 10.0**low)) - low) / max(1, high - low)

    parts = [_grid(low, high, nines, x, y)]
    for at, curve in enumerate(found):
        path = "".join(f"{'L' if i else 'M'}{x(p):.1f} {y(us):.1f}" for i, (p, us) in enumerate(curve.points) if us > 0)
        title = f"<title>{escape(curve.label)}</title>"
        parts.append(f'<path d="{path}" class="curve" stroke="var(--c{at % COLORS})">{title}</path>')
    legend = "".join(
        f'<span><i style="background:var(--c{at % COLORS})"></i>{escape(curve.label)}</span>'
        for at, curve in enumerate(found)
    )
    return f'<svg viewBox="0 0 {WIDTH} {bottom + 34}" role="img">{"".join(parts)}</svg><p class="legend">{legend}</p>'


def _nines(percent: float) -> float:
    """50 → 0.3, 90 → 1, 99 → 2 …"""
    return -math.log10(max(1e-9, 1 - percent / 100))


def _grid(low: int, high: int, nines: float, x: Scale, y: Scale) -> str:
    left, top, right, bottom = PLOT
    parts = []
    for decade in range(low, high + 1):
        at = y(10.0**decade)
        parts.append(f'<path d="M{left} {at:.1f}H{right}" class="grid"/>'
                     f'<text class="tick" x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{_us(10.0**decade)}</text>')
    for percent in (50.0, 90.0, 99.0, 99.9, 99.99, 99.999):
        if _nines(percent) <= nines + 1e-9:
            at = x(percent)
            parts.append(f'<path d="M{at:.1f} {top}V{bottom}" class="grid"/>'
                         f'<text class="tick" x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{percent:g} %</text>')
    return "".join(parts)


def _us(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:g} s"
    return f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} µs"
