"""Recovery of the sender after SIGKILL: by the orders that wait, and by the day's volume.

    python -m bench.recovery_time [--orders 100000] [--runs 3] [--json]

A real desk is killed its sender. "found dead": from the kill until the supervisor has started the next one (detection
and its pause before the first restart). "sends again": from then until the venue gets another order (interpreter start,
imports, fold, logon, throttle), with so many orders waiting under a throttle of one in 5 ms; and the CPU time of the
new process until then, which a busy machine does not falsify. "logged on again": the same until the new sender is
logged on, after so many orders are done. Nothing may be lost or sent twice.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import psutil

from bench.desk import Desk, config_of, running
from bench.load import Load
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from ipc.errors import IpcError
from ipc.page import Page
from oms_actors.config import ThrottleConfig

SIZES = (1_000, 10_000, 100_000)
RATE = 200
PER_MS = 1_000 // RATE
SPARE = 5 * RATE
"""What may be sent before the kill."""
FRAME = 512
LOOK_S = 0.002
PATIENCE_S = 30.0


class Came(NamedTuple):
    """Back again: seconds until the dead one was replaced, from then until it worked, its CPU time until then."""

    dead: float
    back: float
    cpu: float


def bench(options: Options) -> Finding:
    """Sizes up to --orders, each on its own desk."""
    largest = options.count(SIZES[-1], SIZES[0])
    finding = Finding("recovery", "recovery of a killed sender")
    finding.config = {"throttle while orders wait": f"1 in {PER_MS} ms"}
    for size in (size for size in SIZES if size <= largest):
        for _ in range(options.repeats(2)):
            for what, took in ((f"sends again, {size:,} wait", waiting), (f"logged on again, {size:,} done", done)):
                found = took(options, size)
                finding.add("found dead", "ms", 1_000 * found.dead, "lower")
                finding.add(what, "ms", 1_000 * found.back, "lower")
                finding.add(f"{what}: CPU", "ms", 1_000 * found.cpu, "lower")
    finding.checked = ["nothing lost, nothing sent twice, by the venue's own record"]
    return finding


def waiting(options: Options, size: int) -> Came:
    """Until an order leaves."""
    with running(config_of(throttle=ThrottleConfig(rate=1, per_ms=PER_MS)), options.folder) as desk:
        _submit(desk, size + SPARE, "PENDING_NEW")
        took = _kill(desk, _sends)
        known = desk.counter("venue", "new") + _waiting(desk)  # in this order it is never too many
        desk.wait("all sent", lambda: desk.counter("venue", "new") == size + SPARE or _waiting(desk) > 2 * SPARE)
        _check(desk)
        if known > size + SPARE:
            raise WrongAnswer(f"{known} orders wait or were sent, of {size + SPARE}")
        return took


def done(options: Options, size: int) -> Came:
    """Until the new sender is logged on."""
    with running(config_of(), options.folder) as desk:
        _submit(desk, size, "TRADE")
        took = _kill(desk, _logs_on)
        _check(desk)
        if desk.counter("venue", "new") != size:
            raise WrongAnswer(f"the venue got {desk.counter('venue', 'new')} of {size} orders")
        return took


def _submit(desk: Desk, orders: int, until: str) -> None:
    """Until each order is accepted (PENDING_NEW) or done (TRADE)."""
    reports = {"PENDING_NEW": 1, "TRADE": 3}[until]
    load = Load(desk.instance, "up0", orders=orders, frame=FRAME, reports_per_order=reports)
    try:
        load.ready()
        load.go()
        load.result()
    finally:
        load.kill()


def _kill(desk: Desk, came_back: Callable[[Desk, int, int], bool]) -> Came:
    """Kills the sender; until its successor is back (desk, its pid, what the venue had when it was started)."""
    pid = desk.children()["sender"]
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while (after := desk.children().get("sender", 0)) in (None, 0, pid):
        if time.perf_counter() > began + PATIENCE_S:
            raise WrongAnswer("the sender was not started again")
        time.sleep(LOOK_S)
    started, had = time.perf_counter(), desk.counter("venue", "new")
    while time.perf_counter() < started + PATIENCE_S:
        if came_back(desk, after, had):
            cpu = psutil.Process(after).cpu_times()
            return Came(started - began, time.perf_counter() - started, cpu.user + cpu.system)
        time.sleep(LOOK_S)
    raise WrongAnswer(f"the sender (pid {after}) did not come back; now: {desk.children()}, {desk.restarts()} restarts")


def _sends(desk: Desk, pid: int, had: int) -> bool:
    return desk.counter("venue", "new") > had


def _logs_on(desk: Desk, pid: int, had: int) -> bool:
    try:
        with closing(Page.attach(str(desk.runtime / "sender.page"))) as page:
            return page.writer[0] == pid and page["logons"] > 0
    except IpcError:
        return False  # it is being made


def _waiting(desk: Desk) -> int:
    with closing(Page.attach(str(desk.runtime / "sender.page"))) as page:
        return page["queue_depth"]


def _check(desk: Desk) -> None:
    if desk.counter("venue", "duplicates") or desk.restarts() != 1:
        raise WrongAnswer(f"{desk.counter('venue', 'duplicates')} sent twice; {desk.health()}")


if __name__ == "__main__":
    main(bench, __doc__)
