"""Status from outside: files and shared memory only, whatever the actors do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipc.duplex import Duplex, create_duplex
from ipc.lock import FileLock
from ipc.page import Page
from ipc.proc import boot_id, process_start_ticks
from ipc.ring import create_ring, open_writer
from ipc.vitals import Vitals
from oms_actors import status
from oms_actors.actors.persistence import Alarm
from oms_actors.config import Config, Resolved
from oms_actors.core.hours import SessionState
from oms_actors.core.session import Link
from oms_actors.edges import parked
from oms_actors.edges.session_page import SessionWriter
from oms_actors.errors import DeskDown
from oms_actors.instance import PARKED, write_desk

if TYPE_CHECKING:
    from tests.cli.conftest import Oms

S = 1_000_000_000


class FakeDesk:
    """The files of a desk whose one child is this process."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        (runtime / "upstreams").mkdir(parents=True)
        self.child: dict[str, Any] = {
            "name": "sender", "pid": os.getpid(), "start_ticks": process_start_ticks(os.getpid()), "state": "running",
            "restarts": 2, "last_exit": {"kind": "signal", "text": "killed by SIGKILL"},
        }  # fmt: skip
        self.publish()

    def publish(self, state: str = "up") -> None:
        (self.runtime / "supervisor.json").write_text(json.dumps({
            "pid": os.getpid(), "start_ticks": process_start_ticks(os.getpid()), "boot_id": boot_id(), "state": state,
            "started_at_ns": time.time_ns() - 5 * S, "children": [self.child],
        }))  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDesk]:
    monkeypatch.setenv("OMS_RUNTIME_DIR", str(tmp_path / "runtime"))
    desk = FakeDesk(tmp_path / "runtime" / "desk")
    with FileLock(str(desk.runtime / "supervisor.lock")):
        yield desk


def test_a_desk_that_shows_nothing_yet_has_a_status(desk: FakeDesk) -> None:
    found = status.snapshot("desk")
    assert (found["state"], found["session"]["state"], found["queue"]["depth"]) == ("up", "unknown", 0)
    assert found["rings"] == []
    assert found["up_s"] == pytest.approx(5, abs=3)


def test_a_supervisor_that_is_gone_is_no_desk(desk: FakeDesk, tmp_path: Path) -> None:
    desk.publish("ended")
    with pytest.raises(DeskDown):
        status.snapshot("desk")


def test_processes_have_their_vital_signs(desk: FakeDesk) -> None:
    vitals = Vitals.create(desk.runtime / "sender.vitals")
    vitals.ready(time.monotonic_ns() - 5 * S)
    vitals.say("recovering")
    (process,) = status.snapshot("desk")["processes"]
    assert (process["name"], process["pid"], process["restarts"]) == ("sender", os.getpid(), 2)
    assert process["heartbeat_age_ms"] >= 5000
    assert process["rss_bytes"] > 1 << 20
    assert (process["last_exit"], process["status"]) == ("signal: killed by SIGKILL", "recovering")


def test_who_gave_no_sign_of_life_is_an_alarm_and_a_long_call_is_another(desk: FakeDesk) -> None:
    vitals = Vitals.create(desk.runtime / "sender.vitals")
    vitals.ready(time.monotonic_ns() - 5 * S)
    assert "sender gave no sign of life" in status.snapshot("desk")["alarms"][0]
    vitals.enter_call(time.monotonic_ns() - 3 * S)
    assert "sender is in a call since" in status.snapshot("desk")["alarms"][0]


def test_a_child_that_is_down_is_an_alarm(desk: FakeDesk) -> None:
    desk.child |= {"state": "down", "pid": None}
    desk.publish()
    found = status.snapshot("desk")
    assert found["alarms"] == ["sender is down: signal: killed by SIGKILL"]
    assert found["processes"][0]["rss_bytes"] is None


def test_counters_and_latencies_come_from_the_pages(desk: FakeDesk) -> None:
    counters = ("sent", "queue_depth", "queue_capacity", "throttle_rate", "throttle_used", "throttle_next_free_ns",
                "link")  # fmt: skip
    page = Page.create(str(desk.runtime / "sender.page"), counters, ("round_trip_ns", "fsync_ns"))
    page["sent"], page["queue_depth"], page["queue_capacity"] = 7, 3, 100
    page["throttle_rate"], page["throttle_used"] = 1000, 999
    page["throttle_next_free_ns"] = time.monotonic_ns() + 60 * S
    page["link"] = Link.ON
    page.histogram("round_trip_ns").record(200_000, 10)
    found = status.snapshot("desk")
    assert found["counters"]["sender"]["sent"] == 7
    assert found["queue"] == {"depth": 3, "capacity": 100}
    assert (found["throttle"]["rate"], found["throttle"]["used"]) == (1000, 999)
    assert 0 < found["throttle"]["next_free_ms"] <= 60_000
    assert list(found["latencies"]) == ["sender.round_trip"]
    assert found["latencies"]["sender.round_trip"]["p50_us"] == pytest.approx(200, rel=0.02)
    assert found["session"]["link"] == "on"


def test_what_the_database_and_the_exchange_did_wrong_is_an_alarm(desk: FakeDesk) -> None:
    page = Page.create(str(desk.runtime / "persistence.page"), ("alarm", "lag_bytes_intake", "lag_bytes_sender"))
    page["alarm"] = Alarm.DATABASE_FAILED
    assert "persistence: DATABASE_FAILED (orders go on)" in status.snapshot("desk")["alarms"]
    page["lag_bytes_intake"], page["lag_bytes_sender"] = 1000, 234
    waits = "persistence: DATABASE_FAILED, 1,234 bytes of journal wait for the database (orders go on)"
    assert waits in status.snapshot("desk")["alarms"]
    sender = Page.create(str(desk.runtime / "sender.page"), ("late", "overfilled"))
    sender["late"], sender["overfilled"] = 2, 1
    alarms = status.snapshot("desk")["alarms"]
    assert "2 fills came after their order was done" in alarms
    assert "1 fills are beyond what was ordered: `oms orders --overfilled` shows whose" in alarms


def test_a_full_disk_is_an_alarm(desk: FakeDesk) -> None:
    Page.create(str(desk.runtime / "sender.page"), ("disk_full",))["disk_full"] = 1
    Page.create(str(desk.runtime / "intake.page"), ("disk_full",))["disk_full"] = 3
    assert status.snapshot("desk")["alarms"] == [
        "the disk is full: nothing is sent until there is space for the sender's journal",
        "3 requests were refused for want of disk space",
    ]


def test_an_upstream_that_is_not_served_is_an_alarm_with_its_name_and_the_reason(desk: FakeDesk) -> None:
    parked.write(desk.runtime / PARKED, [parked.Parked("bad", 7, "its file was cut to 0 bytes")])
    found = status.snapshot("desk")
    assert found["alarms"] == ["upstream bad is not served: its file was cut to 0 bytes"]
    assert found["parked"] == [
        {"name": "bad", "file": 7, "reason": "its file was cut to 0 bytes", "deadly": False}
    ]


def test_the_session_says_when_it_changes(desk: FakeDesk) -> None:
    writer = SessionWriter(desk.runtime / "session.page")
    now = time.time_ns()
    writer.publish(SessionState(1, 20261120, now - S, now + 3600 * S, now + 86_400 * S), 0)
    session = status.snapshot("desk")["session"]
    assert (session["state"], session["trade_date"]) == ("open", 20261120)
    assert session["next_change"] == status.iso_utc(now + 3600 * S)
    writer.publish(SessionState(0, 0, 0, 0, now + 86_400 * S), 0)
    session = status.snapshot("desk")["session"]
    assert (session["state"], session["next_change"]) == ("closed", status.iso_utc(now + 86_400 * S))


def test_rings_show_what_lies_in_them(desk: FakeDesk) -> None:
    create_ring(str(desk.runtime / "intake-sender.ring"), 4096).close()
    writer = open_writer(str(desk.runtime / "intake-sender.ring"))
    writer.try_put(b"x" * 100)
    path = str(desk.runtime / "upstreams" / "algo.up")
    create_duplex(path, 4096, 8192, "algo").close()
    client = Duplex.attach_client(path)
    client.requests.try_put(b"y" * 32)
    rings = status.snapshot("desk")["rings"]
    found = {ring["name"]: (ring["depth"], ring["capacity"], ring["put"]) for ring in rings}
    assert found == {"intake-sender": (112, 4096, 112), "upstreams/algo/requests": (48, 4096, 48),
                     "upstreams/algo/reports": (0, 8192, 0)}  # fmt: skip
    client.close()
    writer.close()


def test_garbage_in_place_of_files_is_left_out(desk: FakeDesk) -> None:
    for name in ("sender.page", "sender.vitals", "a.ring", "upstreams/b.up", "session.page"):
        (desk.runtime / name).write_bytes(os.urandom(4096))
    (desk.runtime / "empty.ring").touch()
    found = status.snapshot("desk")
    assert (found["rings"], found["counters"]) == ([], {})


def test_the_command_draws_it_and_prints_it_for_machines(oms: Oms, desk: FakeDesk) -> None:
    page = Page.create(str(desk.runtime / "sender.page"), ("sent",), ("round_trip_ns",))
    page["sent"] = 1234
    page.histogram("round_trip_ns").record(5_000)
    ended = oms("status", "--instance", "desk")
    assert ended.code == 0
    assert "sent 1,234" in ended.out
    assert "sender" in ended.out
    document = oms("status", "--instance", "desk", "--json").document
    assert {"processes", "session", "throttle", "queue", "rings", "counters", "latencies", "alarms"} <= set(document)
    keys = {"name", "pid", "state", "restarts", "heartbeat_age_ms", "rss_bytes", "last_exit"}
    assert keys <= set(document["processes"][0])


def test_the_newest_crash_reports_are_shown(desk: FakeDesk, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "crash").mkdir(parents=True)
    write_desk(Resolved(instance="desk", runtime_dir=str(desk.runtime), data_dir=str(data), config_dir="", desk_id=1,
                        config=Config()))  # fmt: skip
    for second in range(8):
        report = {"role": "sender", "time": f"t{second}", "exit_code": 21, "reason": "oops", "log": ["a", "b"]}
        (data / "crash" / f"sender-20261120T10000{second}Z-77.json").write_text(json.dumps(report))
    (data / "crash" / "desk-20261120T100009Z.json").write_text("{}")
    (data / "crash" / "sender-20261120T100009Z-78.json").write_text("{half")
    found = status.snapshot("desk")["crashes"]
    assert [each["time"] for each in found] == ["t7", "t6", "t5", "t4", "t3"]
    assert (found[0]["reason"], found[0]["log"]) == ("oops", ["a", "b"])
