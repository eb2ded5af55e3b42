"""Recovery of the sender after SIGKILL: by the orders that wait, and by the day's volume.

    python -m bench.recovery_time [--orders 100000] [--runs 3] [--json]

A real desk is killed its sender. "sends again": from the kill until the next order has left (detection, restart and
interpreter start included), with so many orders waiting under a throttle of 1,000/s. "logged on again": the same until
the new sender is logged on, after so many orders are done. Nothing may be lost or sent twice.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing

from bench.desk import Desk, config_of, running
from bench.load import Load
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from ipc.errors import IpcError
from ipc.page import Page
from oms_actors.config import ThrottleConfig

SIZES = (1_000, 10_000, 100_000)
RATE = 1_000
FRAME = 512
LOOK_S = 0.002
PATIENCE_S = 30.0


def bench(options: Options) -> Finding:
    """Sizes up to --orders, each on its own desk."""
    largest = options.count(SIZES[-1], SIZES[0])
    finding = Finding("recovery", "recovery of a killed sender")
    finding.config = {"throttle while orders wait": f"{RATE:,}/s"}
    for size in (size for size in SIZES if size <= largest):
        for _ in range(options.repeats(2)):
            finding.add(f"sends again, {size:,} wait", "s", waiting(options, size), "lower")
            finding.add(f"logged on again, {size:,} done", "s", done(options, size), "lower")
    finding.checked = ["nothing lost, nothing sent twice, by the venue's own record"]
    return finding


def waiting(options: Options, size: int) -> float:
    """Seconds from the kill until an order leaves."""
    with running(config_of(throttle=ThrottleConfig(rate=RATE)), options.folder) as desk:
        _submit(desk, size + RATE, "PENDING_NEW")
        took = _kill(desk, "sent")
        known = _waiting(desk) + desk.counter("venue", "new")
        desk.wait("all sent", lambda: desk.counter("venue", "new") == size + RATE or _waiting(desk) > 2 * RATE)
        _check(desk)
        if known > size + RATE:
            raise WrongAnswer(f"{known} orders wait or were sent, of {size + RATE}")
        return took


def done(options: Options, size: int) -> float:
    """Seconds from the kill until the new sender is logged on."""
    with running(config_of(), options.folder) as desk:
        _submit(desk, size, "TRADE")
        took = _kill(desk, "logons")
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


def _kill(desk: Desk, counter: str) -> float:
    """Kills the sender; seconds until its successor has counted something."""
    pid = desk.children()["sender"]
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while time.perf_counter() < began + PATIENCE_S:
        try:
            with closing(Page.attach(str(desk.runtime / "sender.page"))) as page:
                if page.writer[0] != pid and page[counter]:
                    return time.perf_counter() - began
        except IpcError:
            pass  # it is being made
        time.sleep(LOOK_S)
    raise WrongAnswer("the sender did not come back")


def _waiting(desk: Desk) -> int:
    with closing(Page.attach(str(desk.runtime / "sender.page"))) as page:
        return page["queue_depth"]


def _check(desk: Desk) -> None:
    if desk.counter("venue", "duplicates") or desk.restarts() != 1:
        raise WrongAnswer(f"{desk.counter('venue', 'duplicates')} sent twice; {desk.health()}")


if __name__ == "__main__":
    main(bench, __doc__)
