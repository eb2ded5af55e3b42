"""Intake as the process that it is: killed again and again while orders flow."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ipc.errors import IpcError, RingFull
from ipc.vitals import State, Vitals
from oms_actors.edges import parked
from oms_actors.instance import PARKED
from oms_actors.messages import ExecType
from tests.intake.desk import Desk, until
from tests.intake.makers import new

pytestmark = pytest.mark.process
KILLS, ORDERS, CHUNK = 12, 6_000, 20


def start(
    desk: Desk, program: tuple[str, ...] = ("-m", "oms_actors.actors.intake"), last_exit: str = ""
) -> subprocess.Popen[bytes]:
    """An intake process that serves."""
    environment = {**os.environ, "RUNTIME_DIR": str(desk.runtime), "OMS_LOG_LEVEL": "CRITICAL",
                   "CHILD_LAST_EXIT": last_exit}  # fmt: skip
    environment.pop("SUPERVISOR_PID", None)
    child = subprocess.Popen([sys.executable, *program], env=environment, stderr=subprocess.DEVNULL)

    def serves() -> bool:
        assert child.poll() is None
        try:
            vitals = Vitals.attach(desk.runtime / "intake.vitals")
        except IpcError:
            return False
        try:
            return vitals.pid == child.pid and vitals.state == State.READY
        finally:
            vitals.close()

    until(serves)
    return child


@contextmanager
def sender_at_work(desk: Desk) -> Iterator[None]:
    """The desk's sender on a thread of its own."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            desk.sender.work()
            ended.wait(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_killed_while_orders_flow_it_loses_nothing_and_repeats_nothing(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(upstream_request_bytes=256 << 10, upstream_report_bytes=1 << 20)
    oms = desk.upstream("u")
    lots = random.Random(7)
    at = sorted(lots.sample(range(10, ORDERS // CHUNK), KILLS))
    told: dict[ExecType, list[str]] = {ExecType.PENDING_NEW: [], ExecType.NEW: []}

    def read() -> None:
        for report in oms.reports():
            told[report.exec_type].append(report.client_order_id)

    def submit(chunk: int) -> None:
        """Reads meanwhile: nothing is taken from an upstream whose reports fill their ring."""

        def submitted() -> bool:
            read()
            with suppress(RingFull):
                return bool(oms.submit_many(map(new, range(chunk * CHUNK, (chunk + 1) * CHUNK))))
            return False

        until(submitted)

    child = start(desk)
    try:
        with sender_at_work(desk):
            for chunk in range(ORDERS // CHUNK):
                submit(chunk)
                if chunk in at:
                    child.kill()
                    child.wait()
                    child = start(desk)
                read()

            def all_told() -> bool:
                read()
                return len(told[ExecType.NEW]) >= ORDERS

            until(all_told)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
    ids = [f"A-{n}" for n in range(ORDERS)]
    assert told[ExecType.PENDING_NEW] == ids
    assert told[ExecType.NEW] == ids
    assert [r[96:132].rstrip(b"\0").decode() for r in desk.sender.seen] == ids


def test_a_stopped_intake_holds_up_nobody_and_goes_on(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    oms = desk.upstream("u")
    child = start(desk)
    try:
        with sender_at_work(desk):
            oms.submit(new(1))
            until(lambda: bool(oms.raw_reports()))
            child.send_signal(signal.SIGSTOP)
            oms.submit_many(map(new, range(2, 50)))  # returns at once
            child.send_signal(signal.SIGCONT)
            found: list[bytes] = []

            def answered() -> bool:
                found.extend(oms.raw_reports())
                return sum(frame[::256].count(64) for frame in found) >= 96

            until(answered)
    finally:
        child.kill()
        child.wait()


BLIND = """
from oms_actors.actors.intake import run
from oms_actors.edges.upstream_link import Link
def is_whole(link):
    link._touched[0] = link.file
    return True
Link.is_whole = is_whole
run()
"""


def test_whoever_cuts_its_file_under_intakes_hands_ends_it_once_and_is_not_served_again(
    make_desk: Callable[..., Desk]
) -> None:
    """The instant between the look at the file's length and the touch, made as long as it takes."""
    desk = make_desk()
    good = desk.upstream("good")
    desk.upstream("bad")
    path = desk.runtime / "upstreams" / "bad.up"
    child = start(desk, ("-c", BLIND))
    try:
        with sender_at_work(desk):
            good.submit(new(1))
            until(lambda: any(report.exec_type == ExecType.NEW for report in good.reports()))
            os.truncate(path, 0)
            assert child.wait(60) == -signal.SIGBUS
            os.truncate(path, 1 << 20)  # it looks whole again
            child = start(desk, ("-c", BLIND), "killed by SIGBUS")
            good.submit(new(2))
            until(lambda: any(report.client_order_id == "A-2" for report in good.reports()))
            until(lambda: [(each.name, each.deadly) for each in parked.read(desk.runtime / PARKED)] == [("bad", True)])
    finally:
        child.kill()
        child.wait()
        desk.upstreams.pop("bad")  # nor is it touched here
