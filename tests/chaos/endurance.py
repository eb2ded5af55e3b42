"""Minutes of seeded random faults, with an eye on what must not grow: memory, descriptors, shared memory."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
from chaos.campaign import LIMIT_MS, LIMIT_RATE, PATIENCE_S
from chaos.desk import ROLES, Desk
from chaos.flow import Flow
from chaos.growth import SUPERVISOR, Sample, grown
from chaos.run import POINTS, Run, config
from chaos.verdict import books, crashes, over_the_limit, settle


@dataclass
class Ordeal:
    """What came of it."""

    faults: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    books: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass
class Endurance:
    """`seconds` of faults while `rate` requests per second flow."""

    seconds: float
    rate: float
    seed: int

    def run(self, progress: Callable[[float], None]) -> Ordeal:
        """`progress` is told how many seconds are over."""
        ordeal = Ordeal()
        with Desk(config(LIMIT_RATE, LIMIT_MS)) as desk:
            _Ordeal(desk, self, ordeal).go(progress)
        return ordeal


class _Ordeal:
    def __init__(self, desk: Desk, wanted: Endurance, ordeal: Ordeal) -> None:
        self.desk, self.wanted, self.ordeal = desk, wanted, ordeal
        self.dice = random.Random(f"endurance {wanted.seed}")
        self.run = Run(desk, *(Flow(name, wanted.rate / 2, wanted.seed) for name in ("one", "two")))
        self.began = time.monotonic()

    def go(self, progress: Callable[[float], None]) -> None:
        faults: tuple[tuple[int, Callable[[], None]], ...] = (
            (20, self.kill_one), (20, self.kill_at_a_point), (8, self.kill_two), (4, self.kill_all),
            (12, self.stop_for_a_moment), (1, self.stop_for_long), (3, self.kill_the_supervisor),
            (3, self.stop_and_start), (6, self.lock_the_database), (6, self.upstream_leaves), (10, self.nothing),
        )  # fmt: skip
        every_s, look_s = max(1.0, self.wanted.seconds / 40), 0.0
        while (over_s := time.monotonic() - self.began) < self.wanted.seconds:
            progress(over_s)
            if over_s >= look_s:
                self.look()
                look_s = time.monotonic() - self.began + every_s
            (fault,) = self.dice.choices([fault for _, fault in faults], [weight for weight, _ in faults])
            self.ordeal.faults[fault.__name__.replace("_", " ")] += 1
            fault()
            self.run.go_on(self.dice.uniform(0.0, 0.5))
        self.look()
        self.judge()

    # -- faults -----------------------------------------------------------------------------------------------------

    def kill_one(self) -> None:
        self.desk.kill(self.dice.choice(ROLES))

    def kill_at_a_point(self) -> None:
        point, nth = self.dice.choice(POINTS), self.dice.choice((1, 2, 3, 5, 8, 30))
        self.desk.arm(point, nth)

    def kill_two(self) -> None:
        self.desk.kill(*self.dice.sample(ROLES, 2))

    def kill_all(self) -> None:
        self.desk.kill(*ROLES)

    def stop_for_a_moment(self) -> None:
        self._stop(self.dice.uniform(0.05, 2.0))

    def stop_for_long(self) -> None:
        """Longer than the watchdog waits: it is replaced."""
        self._stop(10.0)

    def _stop(self, seconds: float) -> None:
        pid = self.desk.signal(self.dice.choice(ROLES), signal.SIGSTOP)
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            self.run.go_on(seconds)
            process.resume()

    def kill_the_supervisor(self) -> None:
        self.desk.kill_everything()
        self.desk.start()
        self._until_up()

    def stop_and_start(self) -> None:
        self._until_up()
        self.desk.stop()
        self.desk.start()
        self._until_up()

    def lock_the_database(self) -> None:
        """Somebody else writes for a while."""
        with contextlib.closing(sqlite3.connect(self.desk.data / "oms.sqlite", timeout=0.0)) as database:
            with contextlib.suppress(sqlite3.OperationalError):
                database.execute("BEGIN IMMEDIATE")
            self.run.go_on(self.dice.uniform(0.5, 3.0))

    def upstream_leaves(self) -> None:
        flow = self.dice.choice(self.run.flows)
        flow.leave()
        time.sleep(self.dice.uniform(0.0, 0.3))

    def nothing(self) -> None:
        self.run.go_on(self.dice.uniform(0.5, 2.0))

    def _until_up(self) -> None:
        self.run.until("the desk to be up", self.desk.is_up, PATIENCE_S)

    # -- what must not grow -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Waits until all is well, and measures."""
        self._until_up()
        self.run.until("the upstreams to be there", lambda: all(flow.upstream for flow in self.run.flows), PATIENCE_S)
        assert self.desk.supervisor is not None
        pids = self.desk.pids() | {SUPERVISOR: self.desk.supervisor.pid}
        files = [path for path in self.desk.base.rglob("*") if path.is_file()]
        try:
            processes = {role: psutil.Process(pid) for role, pid in pids.items()}
            self.ordeal.samples.append(Sample(
                at_s=time.monotonic() - self.began,
                accepted=sum(len(flow.accepted) for flow in self.run.flows),
                memory={role: process.memory_full_info().uss for role, process in processes.items()},
                descriptors={role: process.num_fds() for role, process in processes.items()},
                shared_bytes=sum(path.stat().st_blocks * 512 for path in files), shared_files=len(files),
            ))  # fmt: skip
        except (psutil.Error, FileNotFoundError):
            return  # somebody has just died of an armed point: the next look

    def judge(self) -> None:
        desk, flows, ordeal = self.desk, self.run.flows, self.ordeal
        ordeal.problems += settle(desk, flows, PATIENCE_S, PATIENCE_S)
        ordeal.problems += over_the_limit(desk, LIMIT_RATE, LIMIT_MS * 1_000_000) + crashes(desk)
        ordeal.problems += grown(ordeal.samples)
        ordeal.books.update(books(desk, flows))
