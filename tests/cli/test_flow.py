"""The made-up flow."""

from __future__ import annotations

from itertools import islice

from oms_actors.flow import flow
from oms_actors.messages import CancelOrder, ModifyOrder, NewOrder, Request, Side
from oms_actors.record import encode

MANY = list(islice(flow(seed=3, prefix="T"), 5_000))


def id_of(request: Request) -> str:
    return request.client_order_id


def test_the_same_seed_gives_the_same_flow() -> None:
    assert list(islice(flow(seed=3, prefix="T"), 5_000)) == MANY
    assert list(islice(flow(seed=4, prefix="T"), 5_000)) != MANY


def test_every_request_can_be_encoded_and_has_an_id_of_its_own() -> None:
    assert len({encode(request)[96:132] for request in MANY}) == len(MANY)
    assert all(id_of(request).startswith("T-") for request in MANY)


def test_changes_name_an_earlier_order_and_no_order_is_changed_twice() -> None:
    known: dict[str, NewOrder] = {}
    for request in MANY:
        if isinstance(request, NewOrder):
            known[request.client_order_id] = request
        else:
            order = known.pop(request.orig_client_order_id)
            assert (order.symbol, order.side) == (request.symbol, request.side)


def test_all_kinds_symbols_and_both_sides_occur() -> None:
    kinds = [type(request) for request in MANY]
    assert all(kinds.count(kind) > 300 for kind in (NewOrder, ModifyOrder, CancelOrder))
    orders = [request for request in MANY if isinstance(request, NewOrder)]
    assert {order.side for order in orders} == {Side.BUY, Side.SELL}
    assert len({order.symbol for order in orders}) == 5


def test_buys_and_sells_cross_so_that_a_matching_exchange_trades() -> None:
    orders = [request for request in MANY if isinstance(request, NewOrder) and request.symbol == "AAPL"]
    best = max(float(str(order.price)) for order in orders if order.side == Side.BUY)
    assert any(float(str(order.price)) <= best for order in orders if order.side == Side.SELL)
