"""Rules of the trading hours, through real processes. The day is made to open while the desk runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from oms_actors.actors.commands import Reload
from oms_actors.actors.remote import remote_ref
from oms_actors.config import HoursConfig
from oms_actors.edges.kill_switch import Kill
from oms_actors.errors import Reason
from oms_actors.instance import read_desk, runtime_dir, write_desk
from oms_actors.messages import ExecType, OrdStatus
from tests.cli.places import wait_for
from tests.rules.desk import Client, desk

pytestmark = pytest.mark.process
S = 1_000_000_000
LEAD_S = 4
OPEN_S = 6


def noon_zone() -> tuple[str, datetime]:
    """A zone in which it is about noon, so that no test meets midnight; the time there."""
    offset = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-offset:+d}", datetime.now(UTC) + timedelta(hours=offset)


def ahead_of_utc(zone: str) -> timedelta:
    """The zone's offset."""
    return timedelta(hours=-int(zone.removeprefix("Etc/GMT")))


def session(zone: str, now: datetime) -> str:
    """Closed for hours."""
    opens = f"{now + timedelta(hours=3):%H:%M}"
    return f'[session]\nzone = "{zone}"\nhours = [{{ days = {list(DAYS)}, open = "{opens}", close = "{opens}:30" }}]\n'


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RULES = f"""logon_lead_ms = {LEAD_S * 1000}
on_close = "cancel"
cancel_lead_ms = {LEAD_S * 1000}
out_of_hours = "queue"
"""


def open_soon(zone: str, lead_s: int = LEAD_S + 2, open_s: int = OPEN_S) -> tuple[int, int]:
    """The running desk opens in a few seconds for a few more: [open, close) in UTC ns."""
    now = datetime.now(UTC).replace(microsecond=0)
    opens = now + timedelta(seconds=lead_s)
    closes = opens + timedelta(seconds=open_s)
    offset = ahead_of_utc(zone)
    hours = HoursConfig(days=DAYS, open=f"{opens + offset:%H:%M:%S}", close=f"{closes + offset:%H:%M:%S}")
    resolved = read_desk(runtime_dir("default"))
    there = msgspec.structs.replace(resolved.config.session, hours=(hours,))
    config = msgspec.structs.replace(resolved.config, session=there)
    write_desk(msgspec.structs.replace(resolved, config=config))
    remote_ref(runtime_dir("default"), "scheduler").tell(Reload())
    return int(opens.timestamp()) * S, int(closes.timestamp()) * S


def test_the_logon_is_before_the_open_the_first_send_not_and_what_works_is_canceled_before_the_close(
    tmp_path: Path,
) -> None:
    zone, now = noon_zone()
    with desk(tmp_path, session(zone, now) + RULES, wait=False) as running:
        wait_for(lambda: running.status()["session"]["state"] == "closed")
        with Client("day") as client:
            client.new("EARLY")
            client.accepted("EARLY")
            wait_for(lambda: running.oms("why", "EARLY").get("blocked_by"))
            assert "the session is closed, next open" in running.oms("why", "EARLY")["why"]
            opens, closes = open_soon(zone)
            client.final("EARLY")
            logon = next(call for call in running.calls if call.what == "logon")
            first = running.sent[0]
            assert opens - LEAD_S * S <= logon.time_ns < opens <= first.time_ns
            canceled = client.told(lambda report: report.ord_status is OrdStatus.CANCELED)
            assert (canceled.client_order_id, canceled.exec_type) == ("EARLY", ExecType.CANCELED)
            client.new("LATE")  # accepted: it is open; not sent: nothing but cancels is
            late = client.final("LATE")
            assert (late.ord_status, late.reason) == (OrdStatus.EXPIRED, Reason.EXPIRED_AT_CLOSE)
            wait_for(lambda: [call for call in running.calls if call.what == "logout"])
        assert time.time_ns() >= closes
        assert [(call.kind, call.orig_client_order_id) for call in running.sent] == [("NEW", ""), ("CANCEL", "EARLY")]
        assert closes - LEAD_S * S <= running.sent[1].time_ns < closes
        logouts = [call.time_ns for call in running.calls if call.what == "logout"]
        assert len(logouts) == 1
        assert logouts[0] >= closes
        assert [call.what for call in running.calls if call.what == "logon"] == ["logon"]


def test_what_is_parked_at_the_close_goes_out_in_the_next_session_and_not_before(tmp_path: Path) -> None:
    zone, now = noon_zone()
    rules = 'queued_at_close = "park"\nout_of_hours = "queue"\n'
    with desk(tmp_path, session(zone, now) + rules, wait=False) as running:
        wait_for(lambda: running.status()["session"]["state"] == "closed")
        with Client("parker") as client:
            client.new("P1")
            client.new("P2", symbol="HELD", time_in_force="GTC")  # the next session may be the next trade date's
            client.accepted("P2")
            running.switch.kill(Kill(by="a test", symbol="HELD"))
            _, closes = open_soon(zone, lead_s=2, open_s=4)
            client.final("P1")
            wait_for(lambda: time.time_ns() > closes and running.status()["session"]["link"] == "down")
            assert running.status()["queue"]["depth"] == 1
            assert running.sent_ids() == ["P1"]
            running.switch.resume(symbol="HELD")
            opens, _ = open_soon(zone, lead_s=2, open_s=30)
            assert client.final("P2").exec_type is ExecType.NEW
        assert [call.time_ns >= opens for call in running.sent] == [False, True]
        assert [call.what for call in running.calls if call.what.startswith("log")] == ["logon", "logout", "logon"]


def test_what_waits_at_the_close_is_canceled_if_so_configured_and_a_logout_is_not_waited_for_for_ever(
    tmp_path: Path,
) -> None:
    zone, now = noon_zone()
    rules = 'queued_at_close = "cancel"\nout_of_hours = "queue"\nlogout_timeout_ms = 300\n'
    with desk(tmp_path, session(zone, now) + rules, wait=False, options=", logout = false") as running:
        wait_for(lambda: running.status()["session"]["state"] == "closed")
        with Client("canceled") as client:
            client.new("C1")
            client.new("C2", symbol="HELD")
            client.accepted("C2")
            running.switch.kill(Kill(by="a test", symbol="HELD"))
            _, closes = open_soon(zone, lead_s=2, open_s=4)
            ended = client.final("C2")
            assert (ended.ord_status, ended.reason) == (OrdStatus.CANCELED, Reason.CANCELED_AT_CLOSE)
            assert ended.time_ns >= closes
            assert client.final("C1").ord_status is OrdStatus.NEW  # on_close = "leave": it works on
            wait_for(lambda: running.calls[-1].what == "close")
        logout, close = running.calls[-2:]
        assert logout.what == "logout"
        assert close.time_ns - logout.time_ns >= 300_000_000
        assert running.sent_ids() == ["C1"]


def test_on_a_date_that_an_override_closes_an_order_is_told_of_the_next_date_s_open(tmp_path: Path) -> None:
    zone, now = noon_zone()
    every_day = f'[session]\nzone = "{zone}"\nhours = [{{ days = {list(DAYS)}, open = "10:00", close = "13:00" }}]\n'
    closed = f'overrides = [{{ date = "{now:%Y-%m-%d}", reason = "founders\' day" }}]\n'
    with desk(tmp_path, every_day + closed, wait=False) as running:
        wait_for(lambda: running.status()["session"]["state"] == "closed")
        with Client("festive") as client:
            client.new("H")
            refused = client.final("H")
            opens = (now + timedelta(days=1)).replace(hour=10, minute=0, second=0, microsecond=0) - ahead_of_utc(zone)
            assert datetime.fromtimestamp(refused.limit // S, UTC) == opens
        shown = running.oms("calendar", "show", "--days", "1")
        assert "founders' day" in str(shown)


def test_out_of_hours_an_order_is_refused_at_once_with_the_next_open(tmp_path: Path) -> None:
    zone, now = noon_zone()
    with desk(tmp_path, session(zone, now), wait=False) as running:
        wait_for(lambda: running.status()["session"]["state"] == "closed")
        with Client("night") as client:
            client.new("N")
            refused = client.final("N")
            assert (refused.exec_type, refused.reason) == (ExecType.REJECTED, Reason.OUT_OF_HOURS)
            next_open = running.status()["session"]["next_change_ns"]
            assert refused.limit == next_open
            assert refused.reason_text.startswith("outside trading hours; next open 20")
        assert running.calls == []
