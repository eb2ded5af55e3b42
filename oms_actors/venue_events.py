"""The venue's event log: what its books did, event by event, each with its number.

It is not kept as such. The journal holds the inputs, the engine is deterministic, so the same events come out of it
whenever it is asked, with the numbers that they had; as far back as the journal and the older snapshot reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from oms_actors.config import Resolved
from oms_actors.core import book as b
from oms_actors.core.engine import Engine
from oms_actors.core.venue import Venue
from oms_actors.edges.venue_past import VenuePast, make_model
from oms_actors.errors import OmsError, Reason, decimal_text


class VenueEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a book. Prices and quantities in `fields` are decimal text; `time_ns` is UTC."""

    number: int
    time_ns: int
    symbol: str
    event: str
    client_order_id: str
    """For a trade: of the order that came in (`taker`)."""
    fields: dict[str, Any]


class Told(msgspec.Struct, frozen=True):
    """How it ended: number of the last event, and the hash of the state."""

    events: int
    state_hash: str


def events(resolved: Resolved, tell: Callable[[VenueEvent], object]) -> Told:
    """Tells every event of an exchange, which may be running.

    Raises JournalError (a damaged past), OmsError (an exchange without a book).
    """
    model = make_model(resolved.config.venue)
    if not isinstance(model, Engine):
        raise OmsError('this exchange has no book: set model = "match" in [venue]')
    venue, past = Venue(model), VenuePast(resolved)
    snapshot = past.load(oldest=True)
    if snapshot:
        venue.load(snapshot.venue)
    model.log = lambda number, symbol, event, time_ns: tell(_event(model, number, symbol, event, time_ns))
    for inputs in past.replay():
        for given in inputs:
            if given.link or given.frame:
                venue.step(given.link, given.frame, given.time_ns)
            else:
                venue.tick(given.time_ns)
        for speaker in venue.speakers():
            speaker.out.clear()
        model.trades.clear()
    return Told(model.events, venue.state_hash())


def _event(engine: Engine, number: int, symbol: bytes, event: b.Event, time_ns: int) -> VenueEvent:
    kind, order_id = event[0], event[1]
    fields: dict[str, Any] = {}
    if kind == b.TRADE:
        _, price, quantity, order_id, taker_leaves, maker_id, maker_leaves = event
        fields = {
            "price": decimal_text(price), "quantity": decimal_text(quantity),
            "leaves_quantity": decimal_text(taker_leaves), "maker": engine.client_order_id(maker_id),
            "maker_leaves_quantity": decimal_text(maker_leaves),
        }  # fmt: skip
    elif kind == b.CANCELED:
        fields = {"quantity": decimal_text(event[2])} | ({"reason": Reason(event[3]).name} if event[3] else {})
    elif kind == b.REPLACED:
        names = ("quantity", "leaves_quantity", "price", "stop_price")
        fields = {name: decimal_text(value) for name, value in zip(names, event[2:], strict=True)}
    elif kind == b.REJECTED:
        fields = {"reason": Reason(event[2]).name}
    return VenueEvent(
        number=number, time_ns=time_ns, symbol=symbol.rstrip(b"\0").decode("ascii", "replace"),
        event=b.EVENT_NAMES[kind], client_order_id=engine.client_order_id(order_id), fields=fields,
    )  # fmt: skip
