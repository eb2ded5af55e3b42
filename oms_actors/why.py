"""Why an order is where it is: what it waits for, how many are before it, when it will go, or how it ended.

Told from outside, by the database and what the desk shows of itself (`status`), so nobody is asked and it also answers
while the desk hangs or is down. The database lags by a moment, hence so may the answer.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec

from oms_actors.config import ThrottleConfig
from oms_actors.errors import DeskDown, Reason, reason_text
from oms_actors.messages import OrdStatus
from oms_actors.queries import OrderHistory, OrderRow, database_path, order_history

_WAITING = ("PENDING_NEW",)
_WORKING = ("NEW", "PARTIALLY_FILLED", "PENDING_CANCEL", "PENDING_REPLACE")


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `state`: waiting, sent, working, in doubt or done."""

    order: OrderRow
    state: str
    why: str
    """One sentence."""
    blocked_by: list[str]
    """What keeps a waiting order from being sent, the first one first."""
    position: int | None
    """How many are before a waiting order, plus one."""
    send_time_ns: int | None
    """When a waiting order will be sent if nothing else changes (UTC); None if that cannot be told."""
    history: OrderHistory


def why(
    data_dir: Path, instance: str, id_: str, account: str | None = None, database: str = ""
) -> Why | None:
    """About one order, by any of its ids (see `queries.order_history`); None if there is none. Raises NoDatabase."""
    history = order_history(data_dir, id_, account=account, database=database)
    if history is None:
        return None
    order = history.order
    sent = [event for event in history.events if event.what == "SENT"]
    if order.status in _WAITING and not sent:
        return _waiting(database_path(data_dir, database), instance, history)
    if order.status in _WAITING:
        state, text = "sent", f"the exchange has not answered since {_ago(sent[-1].time_ns)}"
    elif order.status in _WORKING:
        state, text = "working", f"the exchange has it, {order.leaves_quantity} of {order.quantity} are open"
    elif order.status == "IN_DOUBT":
        text = "it is not known whether the exchange has it: ask there, then `oms resolve ID --sent` or `--not-sent`"
        state = "in doubt"
    else:
        state, text = "done", order.reason or _end(order)
    return Why(order=order, state=state, why=text, blocked_by=[], position=None, send_time_ns=None, history=history)


def _end(order: OrderRow) -> str:
    if order.status == "FILLED":
        return f"all {order.cum_quantity} were filled"
    return f"it ended as {order.status}"


def _waiting(database: Path, instance: str, history: OrderHistory) -> Why:
    order = history.order
    position = 1 + _before(database, order.order_number)
    blocked, begin_ns = _blocks(instance, order)
    send_ns = None
    if begin_ns is not None:
        rate_per_s = _rate_per_s(instance)
        send_ns = begin_ns + int((position - 1) / rate_per_s * 1e9) if rate_per_s else None
    text = blocked[0] if blocked else "it goes next"
    return Why(order=order, state="waiting", why=text, blocked_by=blocked, position=position, send_time_ns=send_ns,
               history=history)  # fmt: skip


def _before(path: Path, order_number: int) -> int:
    """Orders that were accepted before and have not been sent or ended."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2.0)) as database:
        row = database.execute(
            "SELECT count(*) FROM orders WHERE ord_status = ? AND order_number < ? "
            "AND order_number NOT IN (SELECT order_number FROM sends)", (int(OrdStatus.PENDING_NEW), order_number),
        ).fetchone()  # fmt: skip
    return int(row[0])


def _blocks(instance: str, order: OrderRow) -> tuple[list[str], int | None]:
    """What holds the order back, and when that ends as far as one can know (None: somebody must do something)."""
    from oms_actors import status

    try:
        desk = status.snapshot(instance)
    except DeskDown as error:
        return [str(error)], None
    begin_ns: int | None = time.time_ns()
    blocked = []
    for kill in desk["kills"]:
        if kill["scope"] in ("everything", f"account {order.account}", f"symbol {order.symbol}"):
            blocked.append(f"{reason_text(Reason.KILLED)} for {kill['scope']} (by {kill['by']}): `oms resume` ends it")
            begin_ns = None
    session, throttle = desk["session"], desk["throttle"]
    if session["state"] != "open":
        blocked.append(f"the session is {session['state']}, next open {session['next_change'] or 'not known'}")
        begin_ns = session["next_change_ns"] if begin_ns and session["next_change_ns"] else None
    elif session["link"] != "on":
        blocked.append(f"the exchange connection is {session['link']}")
        begin_ns = None
    if throttle["used"] >= throttle["rate"] and not blocked:
        used = f"{throttle['used']} of {throttle['rate']} requests are used"
        blocked.append(f"{used}: it {reason_text(Reason.THROTTLED)}")
    return blocked, begin_ns


def _rate_per_s(instance: str) -> float:
    from oms_actors.instance import read_desk, runtime_dir

    throttle: ThrottleConfig = read_desk(runtime_dir(instance)).config.throttle
    return throttle.rate / throttle.per_ms * 1000


def _ago(ns: int) -> str:
    return f"{max(0, time.time_ns() - ns) / 1e9:,.1f} s"
