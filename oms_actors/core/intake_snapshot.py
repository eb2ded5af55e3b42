"""Intake's state as plain data and back, so that a restart need not fold the whole day.

Ids are most of it, a million of them a day; they lie side by side in one long string of bytes. `load(dump(state))` goes
on exactly as `state` would; a snapshot of a program with another format is not loaded (the caller folds the journal
instead). What risk has counted is in it only if there are limits.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from typing import Any

from oms_actors.core.exposure import Exposure
from oms_actors.core.intake import Intake, Upstream
from oms_actors.record import KEY_BYTES

FORMAT = 1
_UPSTREAM = ("number", "name", "token", "place", "committed", "state")


def dump(state: Intake) -> dict[str, Any]:
    """Everything that decides what happens next, as data that msgspec can encode."""
    carried = state.carried
    return {
        "format": FORMAT,
        "trade_date": state.trade_date,
        "ids": b"".join(state.ids),
        "carried": b"".join(carried.keys),
        "before": [[date, b"".join(ids)] for date, ids in carried.before.items()],
        "restated": None if carried.restated is None else b"".join(carried.restated),
        "waiting": array("Q", state.waiting).tobytes(),
        "upstreams": [[getattr(each, name) for name in _UPSTREAM] for each in state.upstreams.values()],
        "exposure": _exposure(state.exposure) if state.exposure.watching else None,
    }


def load(state: Intake, data: dict[str, Any]) -> bool:
    """Puts the data into a fresh state; False, and nothing has happened, if it is of another program."""
    if data.get("format") != FORMAT:
        return False
    state.trade_date = data["trade_date"]
    state.ids = _keys(data["ids"])
    state.carried.keys = _keys(data["carried"])
    state.carried.before = {date: _keys(ids) for date, ids in data["before"]}
    state.carried.restated = None if data["restated"] is None else _keys(data["restated"])
    waiting = array("Q")
    waiting.frombytes(data["waiting"])
    state.waiting = set(waiting)
    for number, name, token, place, committed, here in data["upstreams"]:
        state.upstreams[number] = Upstream(number, name, token, place, tuple(committed), here)
    if state.exposure.watching and data["exposure"] is not None:
        _load_exposure(state.exposure, data["exposure"])
    return True


def _keys(joined: bytes) -> set[bytes]:
    return {joined[at : at + KEY_BYTES] for at in range(0, len(joined), KEY_BYTES)}


def _stamps(found: dict[int, deque[int]]) -> list[Any]:
    return [[upstream, list(stamps)] for upstream, stamps in found.items()]


def _exposure(exposure: Exposure) -> dict[str, Any]:
    risk = exposure.risk
    return {
        "open": [[number, *name] for number, name in exposure.open.items()],
        "prices": list(risk._last_prices.items()),
        "messages": _stamps(risk._messages),
        "contents": [[*content, at] for content, at in risk._contents.items()],
        "stopped": sorted(risk.stopped),
    }


def _load_exposure(exposure: Exposure, data: dict[str, Any]) -> None:
    risk = exposure.risk
    names: Iterable[tuple[int, bytes, bytes]] = data["open"]
    for number, account, symbol in names:
        exposure.open[number] = account, symbol
        risk.on_open(account, symbol)
    risk._last_prices.update((symbol, price) for symbol, price in data["prices"])
    if rate := risk.limits.messages_per_s:
        risk._messages.update((upstream, deque(stamps, rate)) for upstream, stamps in data["messages"])
    if risk.limits.duplicate_window_ns:
        risk._contents.update((tuple(content), at) for *content, at in data["contents"])
    for upstream in data["stopped"]:
        risk.stop(upstream)
