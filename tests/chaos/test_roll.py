"""The end of the trade date through real processes, some of which die in the middle of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from chaos.desk import Desk
from chaos.flow import INSTANCE

from oms_actors.config import Config, HoursConfig, SessionConfig, SupervisorConfig, VenueConfig
from oms_actors.errors import Reason
from oms_actors.messages import CancelOrder, ExecType, NewOrder, Report, Request, SessionEvent
from oms_actors.upstream import Upstream

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
LEADS_S = (8, 30, 120)
"""So long the desk has to come up and to take its orders before the date ends; the next where that was too short."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def config(rolls_at: float) -> Config:
    """Sessions of 24 hours, each a trade date; the next one begins at `rolls_at`. Orders rest at the exchange."""
    at = datetime.fromtimestamp(rolls_at, UTC).strftime("%H:%M:%S")
    return Config(
        session=SessionConfig(hours=(HoursConfig(days=DAYS, open=at, close=at),)),
        venue=VenueConfig(model="match"), supervisor=SupervisorConfig(heartbeat_timeout_ms=5_000),
    )  # fmt: skip


class Trader:
    """An upstream and all that it was told."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.upstream = desk, Upstream.attach(INSTANCE, "trader")
        self.told: list[Report] = []

    def submit(self, *requests: Request) -> None:
        self.upstream.submit_many(requests)

    def until(self, own: str, exec_type: ExecType) -> Report:
        """The report that says so, which may have come already."""
        found: list[Report] = []

        def heard() -> bool:
            self.told += self.upstream.reports(timeout=0.0)
            found[:] = [r for r in self.told if (r.client_order_id, r.exec_type) == (own, exec_type)]
            return bool(found)

        self.desk.wait(f"{exec_type.name} of {own}", heard)
        return found[-1]


def order(own: str, time_in_force: str) -> NewOrder:
    return NewOrder(
        client_order_id=own, symbol="ABC", side="BUY", quantity=1, price="100", time_in_force=time_in_force
    )


def test_at_the_end_of_the_date_day_orders_expire_and_others_are_carried_over_whoever_dies() -> None:
    assert any(the_date_ends(lead_s) for lead_s in LEADS_S)


def the_date_ends(lead_s: int) -> bool:
    """The whole story; False if this machine was too slow to take two orders in time."""
    rolls_at = int(time.time()) + lead_s
    with Desk(config(rolls_at)) as desk:
        desk.wait("the desk to be up", desk.is_up)
        trader = Trader(desk)
        trader.submit(order("DAY", "DAY"), order("GTC", "GTC"))
        for own in ("DAY", "GTC"):
            trader.until(own, ExecType.NEW)
        if time.time() >= rolls_at:
            return False
        desk.wait("the trade date to end", lambda: time.time() >= rolls_at)
        desk.kill("intake", "sender")
        assert trader.until("DAY", ExecType.EXPIRED).reason == Reason.END_OF_DAY
        assert trader.until("GTC", ExecType.RESTATED).reason == Reason.CARRIED_OVER
        desk.wait("the desk to be up", desk.is_up)
        trader.submit(order("GTC", "DAY"), CancelOrder(client_order_id="C", orig_client_order_id="GTC"))
        assert trader.until("GTC", ExecType.REJECTED).reason == Reason.DUPLICATE_CLIENT_ORDER_ID
        trader.until("C", ExecType.CANCELED)
        trader.submit(order("DAY", "DAY"))  # its id is free again
        trader.until("DAY", ExecType.PENDING_NEW)
        assert [r.exec_type for r in trader.told if r.client_order_id == "DAY"].count(ExecType.EXPIRED) == 1
        rolls = f"SELECT trade_date FROM sessions WHERE event = {int(SessionEvent.ROLL)} ORDER BY sequence"
        desk.wait("the database", lambda: len(desk.query(rolls)) == 2)
        trader.upstream.close()
    return True
