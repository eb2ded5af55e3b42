"""Why an order is where it is: what it waits for, how many are before it, when it will go, or how it ended.

The sender is asked; it knows of an order what no file says, such as what it stands aside for. The rest is told from
outside, by the database and what the desk shows of itself (`status`). Where the sender does not answer, because it is
dead or hangs, that is all, and the answer says so; the database lags by a moment, hence so may the answer.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from oms_actors.config import ScopeLimitConfig, ThrottleConfig
from oms_actors.core.order import Phase
from oms_actors.errors import DeskDown, Reason, reason_text
from oms_actors.messages import OrdStatus
from oms_actors.queries import OrderHistory, OrderRow, database_path, order_history

ASK_S = 1.0
_WAITING = ("PENDING_NEW",)
_DONE = ("FILLED", "CANCELED", "REJECTED", "EXPIRED", "DONE_UNKNOWN")
_ASIDE = (Reason.NOT_SENT, Reason.ORDER_IN_DOUBT)
"""Reasons that only the sender knows."""
_WORKING = ("NEW", "PARTIALLY_FILLED", "PENDING_CANCEL", "PENDING_REPLACE")
_AHEAD: dict[int, tuple[str, str]] = {
    Phase.SENT: ("sent", "it has been sent, and the exchange has not answered"),
    Phase.WORKING: ("working", "the exchange has it"),
    Phase.IN_DOUBT: ("in doubt", "it has been sent, and it is not known whether the exchange has it"),
    **{phase: ("done", f"it ended as {phase.name}") for phase in Phase if phase >= Phase.FILLED},
}
"""What the sender knows of an order that waits as far as the database knows."""


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `state`: waiting, sent, working, in doubt or done."""

    order: OrderRow | None
    """None: the database does not know it (yet)."""
    state: str
    why: str
    """One sentence."""
    blocked_by: list[str]
    """What keeps a waiting order from being sent, the first one first."""
    position: int | None
    """How many are before a waiting order, plus one."""
    send_time_ns: int | None
    """When a waiting order will be sent if nothing else changes (UTC); None if that cannot be told."""
    history: OrderHistory | None
    asked: bool
    """Has the sender answered? Else all is told from outside."""


class Standing(NamedTuple):
    """What the sender says (see `core.release.Standing`)."""

    phase: int
    waits: bool
    reason: int
    place: int
    aside: bool
    limit: int
    used: int
    free: int
    free_in_ns: int
    ends_in_ns: int


def why(
    data_dir: Path, instance: str, id_: str, account: str | None = None, database: str = ""
) -> Why | None:
    """About one order, by any of its ids (see `queries.order_history`); None if there is none. Raises NoDatabase."""
    history = order_history(data_dir, id_, account=account, database=database)
    if history is None:
        asked, standing = _ask(instance, id_, account or "")
        if standing is None:
            return None
        text = reason_text(standing.reason) or "the exchange has it"
        return Why(order=None, state="waiting" if standing.waits else "sent", why=text, blocked_by=[text],
                   position=standing.place or None, send_time_ns=None, history=None, asked=asked)  # fmt: skip
    order = history.order
    asked, standing = False, None
    if order.status not in _DONE:
        asked, standing = _ask(instance, order.client_order_id, order.account)
    sent = [event for event in history.events if event.what == "SENT"]
    waits = standing.waits and not standing.phase if standing else order.status in _WAITING and not sent
    if waits:
        return _waiting(database_path(data_dir, database), instance, history, asked, standing)
    if standing and standing.phase in _AHEAD and order.status in _WAITING and not sent:
        state, text = _AHEAD[standing.phase]
        text += "; its history follows in a moment"
    elif order.status in _WAITING and sent:
        state, text = "sent", f"the exchange has not answered since {_ago(sent[-1].time_ns)}"
    elif order.status in _WORKING:
        state, text = "working", f"the exchange has it, {order.leaves_quantity} of {order.quantity} are open"
    elif order.status == "IN_DOUBT":
        text = "it is not known whether the exchange has it: ask there, then `oms resolve ID --sent` or `--not-sent`"
        state = "in doubt"
    else:
        state, text = "done", order.reason or _end(order)
    return Why(order=order, state=state, why=text, blocked_by=[], position=None, send_time_ns=None, history=history,
               asked=asked)  # fmt: skip


def _ask(instance: str, client_order_id: str, account: str) -> tuple[bool, Standing | None]:
    """Has the sender answered, and what?"""
    import pykka

    from ipc.errors import IpcError
    from oms_actors.actors.commands import Why as Question
    from oms_actors.actors.remote import AskFailed, remote_ref
    from oms_actors.instance import runtime_dir

    try:
        found = remote_ref(runtime_dir(instance), "sender").ask(Question(client_order_id, account), timeout=ASK_S)
    except (pykka.Timeout, pykka.ActorDeadError, AskFailed, IpcError, OSError):
        return False, None
    return True, Standing(**found) if found else None


def _end(order: OrderRow) -> str:
    if order.status == "FILLED":
        return f"all {order.cum_quantity} were filled"
    return f"it ended as {order.status}"


def _waiting(database: Path, instance: str, history: OrderHistory, asked: bool, standing: Standing | None) -> Why:
    order = history.order
    position = standing.place if standing and standing.place else 1 + _before(database, order.order_number)
    blocked, begin_ns = _blocks(instance, order)
    held = blocked and begin_ns is None  # by what nobody knows the end of
    turn = _Turn("", None) if held else _turn(instance, standing, position)
    if standing and standing.reason in _ASIDE:
        blocked.append(reason_text(standing.reason))
    if turn.blocked_by and not blocked:
        blocked.append(turn.blocked_by)
    send_ns = begin_ns + turn.in_ns if begin_ns is not None and turn.in_ns is not None else None
    if standing and standing.ends_in_ns >= 0 and (send_ns is None or send_ns > time.time_ns() + standing.ends_in_ns):
        blocked.append(f"it ends unsent in {standing.ends_in_ns / 1e9:,.1f} s, being too old or expired by then")
        send_ns = None
    text = blocked[0] if blocked else "it goes next"
    return Why(order=order, state="waiting", why=text, blocked_by=blocked, position=position, send_time_ns=send_ns,
               history=history, asked=asked)  # fmt: skip


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
    session = desk["session"]
    if session["state"] != "open":
        blocked.append(f"the session is {session['state']}, next open {session['next_change'] or 'not known'}")
        begin_ns = session["next_change_ns"] if begin_ns and session["next_change_ns"] else None
    elif session["link"] != "on":
        blocked.append(f"the exchange connection is {session['link']}")
        begin_ns = None
    return blocked, begin_ns


class _Turn(NamedTuple):
    """What a limit does to an order: "" = nothing now, else in words; how long until its turn (None: nobody knows)."""

    blocked_by: str
    in_ns: int | None


def _turn(instance: str, standing: Standing | None, position: int) -> _Turn:
    """What the limit that is slowest for it does, and how long it takes to come to its position: what is free goes at
    once, the rest at the limit's rate from its next token on."""
    from oms_actors import status
    from oms_actors.instance import read_desk, runtime_dir

    throttle = read_desk(runtime_dir(instance)).config.throttle
    if standing is None:  # all that is known from outside
        now = status.snapshot(instance)["throttle"]
        free = max(throttle.rate - throttle.reserve_cancels - now["used"], 0)
        standing = Standing(0, True, 0, position, False, 0, now["used"], free, int(now["next_free_ms"] * 1e6), -1)
    if standing.limit < 0:
        return _Turn("", 0)
    limit: ThrottleConfig | ScopeLimitConfig = throttle
    whose, in_line = "", True
    if standing.limit:
        limit = throttle.limits[standing.limit - 1]
        whose = f" of its {limit.scope}" if limit.scope != "desk" else f" in {limit.per_ms:,} ms"
        in_line = standing.aside or limit.scope == "desk"  # else nobody has counted those of its account or symbol
    kept = f" ({limit.reserve_cancels} kept for cancels)" if limit.reserve_cancels else ""
    words = f"{standing.used} of {limit.rate} requests{whose}{kept} are used: it {reason_text(Reason.THROTTLED)}"
    in_ns = _until_its_turn_ns(limit, position if in_line else 1, standing)
    return _Turn("" if standing.free else words, in_ns)


def _until_its_turn_ns(limit: ThrottleConfig | ScopeLimitConfig, position: int, standing: Standing) -> int | None:
    if standing.free_in_ns < 0:
        return None
    behind = position - 1 - standing.free
    each_ns = (limit.per_ms + limit.margin_ms) * 1e6 / (limit.rate - limit.reserve_cancels)
    return standing.free_in_ns + int(behind * each_ns) if behind >= 0 else 0


def _ago(ns: int) -> str:
    return f"{max(0, time.time_ns() - ns) / 1e9:,.1f} s"
