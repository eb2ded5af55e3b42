"""The sender's state as plain data and back, so that a restart need not fold the whole day.

Orders refer to each other and to their changes; here an order is named by its number and a change by its key. Of orders
to which nothing has happened yet, and they are many where many wait, there is only the request, one behind the other.
What only speeds things up (heaps, indexes) is made again. `load(dump(state))` goes on exactly as `state` would; a
snapshot of a program with other fields is not loaded (the caller folds the journal instead).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from oms_actors.core.ledger import Ledger
from oms_actors.core.mass_action import read_action
from oms_actors.core.pending import FIRST_DONE, QUEUED, VALUES, Change, Extra, Order, Pending
from oms_actors.core.risk import NO_LIMITS
from oms_actors.record import AT_ORDER_NUMBER, KEY, REQUEST_BYTES

FORMAT, _BEFORE = 4, 3
"""In the one before no order was put away."""
_APART = ("pending", "exec_ids", "value", "extra", "stale")
"""Of an order what is written otherwise; or, as dead entries of a lane, not at all: a loaded lane has none."""
FIELDS: tuple[str, ...] = tuple(name for name in Order.__struct_fields__ if name not in _APART)
EXTRA: tuple[str, ...] = Extra.__struct_fields__
_SESSION = ("interval", "trade_date", "rolls_to", "rolled", "cancels_asked", "session", "logon_date")
_CHANGE = ("phase", "attempt", "sent_ns", "resend", "held")
Ref = int | bytes


def _ref(item: Pending) -> Ref:
    return item.number if isinstance(item, Order) else item.key


def _order(order: Order) -> list[Any]:
    extra, more = None, order.more
    if more:  # the chain always as a list, or nothing
        extra = [order.chain or None if name == "chain" else getattr(more, name) for name in EXTRA]
    return [*(getattr(order, name) for name in FIELDS), str(order.value), order.executions, extra]


def _is_untouched(order: Order) -> bool:
    """Does it stand in line as its request came?"""
    record = order.record
    return (
        order.phase == QUEUED and not (order.attempt or order.held or order.cum or order.answered or order.sent_ns)
        and order.extra is None and order.pending is None and order.exec_ids is None and order.key == record[KEY]
        and (order.quantity, order.price, order.stop_price) == VALUES.unpack_from(record, 48)
    )  # fmt: skip


def dump(state: Ledger) -> dict[str, Any]:
    """Everything that decides what happens next, as data that msgspec can encode."""
    changed = (change.order for change in state.changes.values())
    whole = (*state.ids.values(), *state._done, *state.archive.loose(), *changed)
    orders = {order.number: order for order in whole}

    untouched = {number: order for number, order in orders.items() if _is_untouched(order)}

    def there(item: Pending) -> bool:  # an answered change may still be listed somewhere, without effect
        return item.number in orders if isinstance(item, Order) else state.changes.get(item.key) is item

    retries = sorted((entry for entry in state._retries if there(entry[2])), key=lambda entry: entry[:2])
    return {
        "format": FORMAT,
        "fields": (*FIELDS, *EXTRA),
        "untouched": b"".join([order.record for order in untouched.values()]),
        "orders": [_order(order) for number, order in orders.items() if number not in untouched],
        "changes": [
            [c.record, c.order.number, *(getattr(c, name) for name in _CHANGE)] for c in state.changes.values()
        ],
        "lanes": [[_ref(item) for item in lane] for lane in (state.lane, state.cancel_lane)],  # type: ignore[arg-type]
        "retries": [[due, sequence, _ref(item)] for due, sequence, item in retries],
        "doubts": [[key, *entry] for key, entry in state._doubts.items()],
        "resends": [_ref(item) for item in state._resends if there(item)],
        "killed": [_ref(item) for item in state._killed if there(item)],
        "intents": [[sequence, _ref(item)] for sequence, item in state._intents.items() if there(item)],
        "done": [order.number for order in state._done],
        "archive": state.archive.dump(),
        "known": [n if (n := order.number) in untouched else (key, n) for key, order in state.ids.items()],
        "alias": list(state.alias.items()),
        "calls": list(state._calls_made),
        "counts": [state.waiting, state.working, state.doubtful],
        "session": [getattr(state, name) for name in _SESSION],
        "mass_actions": [[sequence, wish.tail(), wish.reason] for sequence, wish in state.mass_actions.items()],
        "newest": state._newest,
        "counters": state.counters,
        "prices": list(state.risk._last_prices.items()),
        "stopped": sorted(state.risk.stopped),
    }


def load(state: Ledger, data: dict[str, Any]) -> bool:
    """Puts the data into a fresh state; False, and nothing has happened, if it is of another program."""
    if data.get("format") not in (FORMAT, _BEFORE) or tuple(data["fields"]) != (*FIELDS, *EXTRA):
        return False
    orders = _untouched(data["untouched"])
    for *values, value, exec_ids, extra in data["orders"]:
        order = Order(**dict(zip(FIELDS, values, strict=True)))
        order.value = int(value)  # may be beyond 64 bits
        order.executions = exec_ids
        order.extra = Extra(*extra) if extra else None
        orders[order.number] = order
    for known in data["known"]:
        if isinstance(known, int):
            order = orders[known]
            state.ids[order.key] = order
        else:
            state.ids[known[0]] = orders[known[1]]
    for record, number, *values in data["changes"]:
        _load_change(state, orders[number], record, values)
    _load_lines(state, orders, data)
    state._done.extend(orders[number] for number in data["done"])
    state.archive.load(data.get("archive", ()), orders)
    state._calls_made.extend(map(tuple, data["calls"]))
    state.waiting, state.working, state.doubtful = data["counts"]
    _load_session(state, data)
    state.counters.update(data["counters"])
    _load_risk(state, orders.values(), data)
    return True


def _untouched(requests: bytes) -> dict[int, Order]:
    """Orders by number."""
    records = [requests[at : at + REQUEST_BYTES] for at in range(0, len(requests), REQUEST_BYTES)]
    with memoryview(requests).cast("q") as words:
        values = [words[at :: REQUEST_BYTES // 8].tolist() for at in (6, 7, 8)]
        numbers = words[AT_ORDER_NUMBER // 8 :: REQUEST_BYTES // 8].tolist()
    return dict(zip(numbers, map(Order, records, [record[KEY] for record in records], *values), strict=True))


def _load_session(state: Ledger, data: dict[str, Any]) -> None:
    for name, value in zip(_SESSION, data["session"], strict=True):
        setattr(state, name, tuple(value) if isinstance(value, list) else value)
    state.mass_actions.update((sequence, read_action(tail, reason)) for sequence, tail, reason in data["mass_actions"])
    state._newest = data["newest"]
    state.alias.update((name, key) for name, key in data["alias"])


def _load_change(state: Ledger, order: Order, record: bytes, values: list[Any]) -> None:
    change = Change(order, record)
    for name, value in zip(_CHANGE, values, strict=True):
        setattr(change, name, value)
    state.changes[change.key] = change
    order.pending = [*(order.pending or ()), change]


def _load_lines(state: Ledger, orders: dict[int, Order], data: dict[str, Any]) -> None:
    """Whoever stood in line stands there again, in the lane of today's configuration."""

    def item(ref: Ref) -> Pending:
        return orders[ref] if isinstance(ref, int) else state.changes[ref]

    for lane in data["lanes"]:
        for ref in lane:
            found = item(ref)
            state._lane_of(found).append(found)
    state._retries.extend((due, sequence, item(ref)) for due, sequence, ref in data["retries"])
    state._doubts.update((key, list(entry)) for key, *entry in data["doubts"])
    state._resends.extend(item(ref) for ref in data["resends"])
    state._killed.extend(item(ref) for ref in data["killed"])
    state._intents.update((sequence, item(ref)) for sequence, ref in data["intents"])


def _load_risk(state: Ledger, orders: Iterable[Order], data: dict[str, Any]) -> None:
    risk = state.risk
    risk._last_prices.update((symbol, price) for symbol, price in data["prices"])
    for upstream in data["stopped"]:
        risk.stop(upstream)
    if risk.limits is not NO_LIMITS:
        for order in orders:
            if order.phase < FIRST_DONE:
                risk.on_open(order.account, order.symbol)
