"""Which benches there are, by the name that `oms bench NAME` takes, and how they are run one after the other.

A module is imported when it is its turn. Each bench is a function of `Options` that hands back a `Finding` or raises
WrongAnswer; what it may be told apart from the options is fixed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from bench.measure import Finding, Options


@dataclass(frozen=True, slots=True)
class Bench:
    """One entry. `weight`: seconds it takes about, for a progress bar."""

    name: str
    module: str
    what: str
    weight: int
    own: dict[str, Any] = field(default_factory=dict)

    def run(self, options: Options) -> Finding:
        """Raises WrongAnswer."""
        function: Callable[..., Finding] = import_module(f"bench.{self.module}").bench
        return function(options, **self.own)


SUITE = (
    Bench("path", "path_throughput", "whole path: submit → rows committed", 35),
    Bench("path_day", "path_throughput", "whole path, 2 M orders in one run", 40, {"day": 2_000_000}),
    Bench("order_path", "order_path_throughput", "order path, null venue, process", 25, {"durability": "process"}),
    Bench("power", "order_path_throughput", "order path, null venue, power", 30, {"durability": "power"}),
    Bench("latency", "path_latency", "submit → send at 1,000/s, process", 45, {"durability": "process"}),
    Bench("latency_power", "path_latency", "submit → send at 1,000/s, power", 45, {"durability": "power"}),
    Bench("steps", "order_steps", "one order alone, step by step", 12),
    Bench("stages", "stage_cost", "intake and sender alone", 15),
    Bench("persistence", "persistence_rows", "persistence alone", 15),
    Bench("ring", "ring_throughput", "ring against faster-fifo, Queue, pipe", 45),
    Bench("roundtrip", "ring_roundtrip", "ring there and back", 30),
    Bench("mailbox", "mailbox_throughput", "mailbox and its guard", 8),
    Bench("journal", "journal_append", "journal alone", 15),
    Bench("upstreams", "path_upstreams", "one, two, four upstreams", 60),
    Bench("queue", "waiting_queue", "waiting queue, 10³ … 10⁶", 60),
    Bench("finished", "finished_orders", "finished orders: memory, cost of a life", 60),
    Bench("recovery", "recovery_time", "sender killed: open orders, day's volume", 60),
    Bench("throttle", "desk_throttle", "throttle saturated: 100, 1,000, 20,000/s", 50),
    Bench("idle", "desk_idle", "idle desk", 30),
    Bench("start_stop", "desk_start_stop", "start to ready, stop to gone", 8),
    Bench("memory", "desk_memory", "memory by the day's volume", 12),
    Bench("book", "book_speed", "one order book, in process", 30),
    Bench("venue", "venue_speed", "the venue: engine, journal, rings", 50),
    Bench("peers", "peers_throughput", "threaded OMS, multiprocessing.Queue", 30),
)
NAMES = tuple(bench.name for bench in SUITE)
BY_NAME = {bench.name: bench for bench in SUITE}


def chosen(names: Iterable[str]) -> list[Bench]:
    """The named ones in the order of the suite; none named: all. KeyError names one that is not there."""
    wanted = set(names)
    for name in wanted:
        if name not in BY_NAME:
            raise KeyError(name)
    return [bench for bench in SUITE if not wanted or bench.name in wanted]


def run(benches: Iterable[Bench], options: Options) -> Iterator[tuple[Bench, Finding]]:
    """One after the other."""
    for bench in benches:
        yield bench, bench.run(options)
