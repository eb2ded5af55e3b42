"""The classic exercise on the simulated exchange: `oms venue stress`.

    burst       1,000 orders from 50 concurrent clients, as fast as each gets its answers
    steady      50 orders per second for 60 s
    balanced    2,000 orders, as many bought as sold at one price: everything trades
    trades      200,000 trades between 20 clients

A venue of its own runs as a process, with model "match"; this process is all the clients, each with a session of its
own, driven in turn. Latency is from the send to the acknowledgement as the client sees it. A scenario succeeds in an
order if it is acknowledged and, where it must trade, filled whole.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from ipc.page import Page
from oms_actors import instance
from oms_actors.config import Config, Resolved, VenueConfig
from oms_actors.edges.venue_link import VenueAdapter
from oms_actors.errors import ONE, NotSent, OmsError
from oms_actors.messages import Kind, OrderType, ResponseType, Side
from oms_actors.record import REPORT_BYTES, REQUEST, VERSION

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
ANSWER_S = 30.0
WINDOW = 64
"""Orders that one client may have unanswered."""
_FULL_BYTES = 4 << 20


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one scenario came to. Latencies in µs by percentile; memory is the venue's at the end."""

    scenario: str
    clients: int
    orders: int
    succeeded: int
    rejected: int
    trades: int
    volume: int
    seconds: float
    orders_per_s: float
    latency_us: dict[str, float]
    price_low: str
    price_high: str
    venue_cpu_s: float
    venue_cpu_percent: float
    venue_memory_mb: float

    @property
    def success_percent(self) -> float:
        return 100.0 * self.succeeded / self.orders if self.orders else 0.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """`rate` 0: as fast as the clients get their answers. `must_fill`: an order counts only when it is filled."""

    name: str
    clients: int
    orders: int
    rate: float = 0.0
    window: int = WINDOW
    must_fill: bool = False
    is_balanced: bool = False


SCENARIOS = (
    Scenario(name="burst", clients=50, orders=1_000, window=1),
    Scenario(name="steady", clients=50, orders=3_000, rate=50.0),
    Scenario(name="balanced", clients=50, orders=2_000, must_fill=True, is_balanced=True),
    Scenario(name="trades", clients=20, orders=400_000, must_fill=True, is_balanced=True),
)


class StressFailed(OmsError):
    """The venue did not start, or did not answer."""


def stress(
    scenarios: tuple[Scenario, ...] = SCENARIOS, progress: Callable[[str, int, int], None] | None = None, seed: int = 7
) -> Iterator[Result]:
    """Runs the scenarios one after the other on a fresh venue; `progress` is told (scenario, answered, orders)."""
    with venue() as (resolved, process):
        for scenario in scenarios:
            run = _Run(resolved, process, scenario, random.Random(seed))
            yield run.go(progress or (lambda name, done, orders: None))


@contextmanager
def venue() -> Iterator[tuple[Resolved, psutil.Process]]:
    """A venue of its own, taken down with everything it made."""
    base = instance.runtime_base()
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stress-", dir=base) as runtime, tempfile.TemporaryDirectory() as data:
        resolved = Resolved(
            instance=Path(runtime).name, runtime_dir=runtime, data_dir=data, config_dir="", desk_id=1,
            config=Config(venue=VenueConfig(model="match", latency_us=0)),
        )  # fmt: skip
        instance.write_desk(resolved)
        environment = os.environ | {
            "RUNTIME_DIR": runtime, "OMS_LOG_LEVEL": "ERROR", "SUPERVISOR_PID": str(os.getpid()),
        }  # fmt: skip
        child = subprocess.Popen([sys.executable, "-P", "-m", "oms_actors.actors.venue"], env=environment)
        try:
            yield resolved, psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait()


class _Client:
    """One session. `sent_ns` by order number until its acknowledgement; `open` by order number the quantity to fill."""

    def __init__(self, resolved: Resolved, name: str, run: _Run) -> None:
        self.adapter = VenueAdapter(
            os.path.join(resolved.runtime_dir, instance.VENUE), name, request_bytes=1 << 20, report_bytes=_FULL_BYTES
        )
        self.unanswered: dict[int, int] = {}
        self.is_on = False
        self._run = run
        self.adapter.on_records = self._heard
        self.adapter.connect(lambda response: None)
        self.adapter.send_logon(name, "")

    def send(self, number: int, side: int, quantity: int, price: int) -> bool:
        order = REQUEST.pack(
            Kind.INTENT_NEW, VERSION, side, OrderType.LIMIT, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, quantity * ONE,
            price * ONE // 100, 0, 0, b"", b"%d" % number, b"", self._run.symbol, number,
        )  # fmt: skip
        self.unanswered[number] = time.perf_counter_ns()
        try:
            self.adapter.send_record(order)
        except NotSent:
            del self.unanswered[number]
            return False
        return True

    def _heard(self, frame: bytes) -> None:
        now_ns = time.perf_counter_ns()
        for at in range(0, len(frame), REPORT_BYTES):
            response = frame[at + 7]
            number = int.from_bytes(frame[at + 248 : at + 256], "little")
            if response == ResponseType.ACK:
                self._run.acknowledged(now_ns - self.unanswered.pop(number))
            elif response == ResponseType.FILL:
                self._run.filled(frame[at : at + REPORT_BYTES])
            elif response == ResponseType.REJECT:
                self.unanswered.pop(number)
                self._run.rejected += 1
            elif response == ResponseType.LOGON_ACK:
                self.is_on = True


class _Run:
    """One scenario while it goes on."""

    def __init__(self, resolved: Resolved, process: psutil.Process, scenario: Scenario, rng: random.Random) -> None:
        self.scenario, self._process, self._rng = scenario, process, rng
        self.symbol = scenario.name.upper().encode()  # of its own: what another left in its book trades with nobody
        self.latencies: list[int] = []
        self.rejected = self.filled_orders = self.fills = 0
        self.volume = 0
        self.low, self.high = 1 << 62, 0
        self.clients = [_Client(resolved, f"{scenario.name}-{n}", self) for n in range(scenario.clients)]
        self._page_path = os.path.join(resolved.runtime_dir, "venue.page")
        self._until(lambda: all(client.is_on for client in self.clients), "a logon")

    # -- what the clients hear --------------------------------------------------------------------------------------

    def acknowledged(self, latency_ns: int) -> None:
        self.latencies.append(latency_ns)

    def filled(self, report: bytes) -> None:
        quantity, price = (int.from_bytes(report[at : at + 8], "little") for at in (48, 56))
        self.fills += 1
        self.volume += quantity
        self.low, self.high = min(self.low, price), max(self.high, price)
        if not int.from_bytes(report[72:80], "little"):  # nothing is left of it
            self.filled_orders += 1

    # -- the scenario -----------------------------------------------------------------------------------------------

    def go(self, progress: Callable[[str, int, int], None]) -> Result:
        scenario = self.scenario
        page = Page.attach(self._page_path)
        trades, cpu_s = page["trades"], self._cpu_s()
        began = time.perf_counter()
        told = 0
        for number, order in enumerate(self._orders()):
            if scenario.rate:
                self._wait_until(began + number / scenario.rate)
            self._send(number, order)
            if (len(self.latencies) - told) * 100 >= scenario.orders:
                told = len(self.latencies)
                progress(scenario.name, told, scenario.orders)
        self._until(self._is_done, "an answer to every order")
        seconds = time.perf_counter() - began
        progress(scenario.name, scenario.orders, scenario.orders)
        cpu_s = self._cpu_s() - cpu_s
        result = self._result(seconds, page["trades"] - trades, cpu_s)
        for client in self.clients:
            client.adapter.close()
        page.close()
        return result

    def _orders(self) -> Iterator[tuple[int, int, int]]:
        """(side, quantity, price in cents). A balanced scenario buys what it has just offered, for as much."""
        for n in range(self.scenario.orders):
            if self.scenario.is_balanced:
                yield (Side.SELL, Side.BUY)[n % 2], 10, 10_000
            else:
                side = self._rng.choice((Side.BUY, Side.SELL))
                yield side, self._rng.randint(1, 100), self._rng.randint(9_900, 10_100)

    def _send(self, number: int, order: tuple[int, int, int]) -> None:
        """The next client in turn sends, once it may."""
        client = self.clients[number % len(self.clients)]
        deadline = time.monotonic() + ANSWER_S
        while len(client.unanswered) >= self.scenario.window or not client.send(number, *order):
            self._poll()
            if time.monotonic() > deadline:
                raise StressFailed(f"{self.scenario.name}: the venue gave no answer for {ANSWER_S:.0f} s")
        if number % 16 == 0:
            self._poll()

    def _is_done(self) -> bool:
        answered = len(self.latencies) + self.rejected == self.scenario.orders
        return answered and (not self.scenario.must_fill or self.filled_orders == self.scenario.orders)

    def _poll(self) -> None:
        for client in self.clients:
            if client.adapter.ready():
                client.adapter.poll()

    def _wait_until(self, instant: float) -> None:
        while (left_s := instant - time.perf_counter()) > 0:
            self._poll()
            time.sleep(min(left_s, 0.0002))

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + ANSWER_S
        while not condition():
            for client in self.clients:
                client.adapter.poll()
            if time.monotonic() > deadline:
                raise StressFailed(f"{self.scenario.name}: waited {ANSWER_S:.0f} s for {what}")
            time.sleep(0.0002)

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _result(self, seconds: float, trades: int, cpu_s: float) -> Result:
        scenario, latencies = self.scenario, sorted(self.latencies)
        at = {f"p{p:g}": latencies[min(len(latencies) - 1, int(len(latencies) * p / 100))] / 1_000 for p in PERCENTILES}
        return Result(
            scenario=scenario.name, clients=scenario.clients, orders=scenario.orders,
            succeeded=self.filled_orders if scenario.must_fill else len(latencies), rejected=self.rejected,
            trades=trades, volume=self.volume // 2 // ONE, seconds=seconds, orders_per_s=scenario.orders / seconds,
            latency_us=at, price_low=str(self.low / ONE) if self.fills else "",
            price_high=str(self.high / ONE) if self.fills else "", venue_cpu_s=cpu_s,
            venue_cpu_percent=100 * cpu_s / seconds, venue_memory_mb=self._process.memory_info().rss / 2**20,
        )  # fmt: skip
