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


def open_soon(zone: str) -> tuple[int, int]:
    """The running desk opens in a few seconds for a few more: [open, close) in UTC ns."""
    now = datetime.now(UTC).replace(microsecond=0)
    opens = now + timedelta(seconds=LEAD_S + 2)
    closes = opens + timedelta(seconds=OPEN_S)
    offset = timedelta(hours=-int(zone.removeprefix("Etc/GMT")))
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
