"""The live view of `oms demo`."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from oms_actors.cli.output import console, size
from oms_actors.errors import DeskDown
from oms_actors.status import snapshot

if TYPE_CHECKING:
    from oms_actors.cli.demo import Demo

BLOCKS = " ▁▂▃▄▅▆▇█"
_HISTORY = 40
_WIDE = 116
_RATES = (("submitted", "", "submitted"), ("received", "sender", "received by the sender"), ("sent", "sender", "sent"),
          ("responses", "sender", "responses"), ("fills", "sender", "fills"))  # fmt: skip

_IN_QUEUE = (("canceled_in_queue", "canceled in the queue"), ("modified_in_queue", "changed in the queue"))


class View:
    """`draw` looks at the desk from outside and shows it."""

    def __init__(self, show: Demo) -> None:
        self._show = show
        self._live = Live(console=console(), auto_refresh=False, transient=True)
        self._before: dict[str, tuple[float, int]] = {}
        self._rates: dict[str, deque[float]] = {name: deque(maxlen=_HISTORY) for name, _, _ in _RATES}
        self._depths: deque[float] = deque(maxlen=_HISTORY)

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def draw(self) -> None:
        """One picture."""
        try:
            found = snapshot(self._show.desk.instance)
        except DeskDown:
            return
        parts = [self._head(found), *self._tables(found)]
        title = f"[bold]oms demo[/bold] · {self._show.phase}"
        panel = Panel(Group(*parts), title=title, title_align="left", box=box.ROUNDED, padding=(1, 2))
        self._live.update(panel, refresh=True)

    def _tables(self, found: dict[str, Any]) -> list[Table]:
        """Side by side where there is room."""
        drawn = [self._flow(found), _processes(found), _latencies(found)]
        if self._live.console.width < _WIDE:
            return drawn
        pair = Table.grid(padding=(0, 4))
        pair.add_row(*drawn[:2])
        return [pair, drawn[2]]

    def _head(self, found: dict[str, Any]) -> Table:
        show, session, throttle = self._show, found["session"], found["throttle"]
        passed = min(time.monotonic() - show.started, show.seconds) if show.started else 0.0
        rows = Table.grid(padding=(0, 2))
        rows.add_row("time", ProgressBar(show.seconds, passed, width=40), f"{passed:.0f} of {show.seconds:g} s")
        bar = ProgressBar(max(1, throttle["rate"]), throttle["used"], width=40)
        rows.add_row("throttle", bar, f"{throttle['used']:,} of {throttle['rate']:,} in the last second")
        depth = found["queue"]["depth"]
        self._depths.append(depth)
        rows.add_row("queue", Text(_spark(self._depths), "yellow"), f"{depth:,} waiting")
        rows.add_row("session", Text(session["state"], "green" if session["state"] == "open" else "red"),
                     f"exchange connection {session['link']}")  # fmt: skip
        return rows

    def _flow(self, found: dict[str, Any]) -> Table:
        drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("", "per second", "", "total"):
            drawn.add_column(name, justify="right" if name else "left", no_wrap=True)
        for name, role, text in _RATES:
            total = found["counters"].get(role, {}).get(name, 0) if role else self._show.answers.submitted
            rate = f"{self._rate(name, total):,.0f}"
            drawn.add_row(text, rate, Text(_spark(self._rates[name])[-20:], "cyan"), f"{total:,}")
        sender = found["counters"].get("sender", {})
        for name, text in _IN_QUEUE:
            drawn.add_row(text, "", "", f"{sender.get(name, 0):,}")
        return drawn

    def _rate(self, name: str, total: int) -> float:
        now = time.monotonic()
        then, before = self._before.get(name, (now - 1e9, total))
        if now - then > 0.45:
            self._rates[name].append(max(0, total - before) / (now - then))
            self._before[name] = now, total
        rates = self._rates[name]
        return rates[-1] if rates else 0.0


def _spark(values: deque[float]) -> str:
    top = max(values, default=0) or 1
    return "".join(BLOCKS[round(value / top * (len(BLOCKS) - 1))] for value in values)


def _latencies(found: dict[str, Any]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("latency", "median", "99 %", "99.9 %"):
        drawn.add_column(name, justify="left" if name == "latency" else "right", no_wrap=True)
    for name, values in found["latencies"].items():
        drawn.add_row(name.replace("_", " "), *(_duration(values[key]) for key in ("p50_us", "p99_us", "p999_us")))
    return drawn


def _duration(us: float) -> str:
    return f"{us:,.0f} µs" if us < 10_000 else f"{us / 1000:,.0f} ms" if us < 10_000_000 else f"{us / 1e6:,.1f} s"


def _processes(found: dict[str, Any]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("process", "pid", "state", "restarts", "memory"):
        drawn.add_column(name, justify="left" if name in ("process", "state") else "right", no_wrap=True)
    for each in found["processes"]:
        color = "green" if each["state"] == "running" else "red"
        drawn.add_row(each["name"], str(each["pid"] or "-"), Text(each["state"], color), str(each["restarts"]),
                      size(each["rss_bytes"]))  # fmt: skip
    return drawn
