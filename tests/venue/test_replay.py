"""Order files straight through the engine; real data where they are to be found beside the project."""

from __future__ import annotations

import csv
import io
from itertools import islice
from pathlib import Path

import pytest

from oms_actors.errors import ONE
from oms_actors.messages import OrderType, Side, TimeInForce, fixed
from oms_actors.venue_replay import TRADE_COLUMNS, replay
from tests.core.naive_book import NaiveBook

AAPL = Path(__file__).parents[2].parent / "shared" / "data" / "aapl_2012-06-21_first_hour.csv"
real_data = pytest.mark.skipif(not AAPL.exists(), reason=f"{AAPL} is not there")
HEADER = "time,action,client_order_id,orig_client_order_id,symbol,side,quantity,price,order_type,time_in_force\n"
FILE = (
    HEADER
    + ",NEW,b1,,X,BUY,10,100,LIMIT,DAY\n"
    + ",NEW,s1,,X,SELL,4,99.5,LIMIT,DAY\n"
    + ",MODIFY,b2,b1,X,BUY,12,101,,\n"
    + "this is no order\n"
    + ",CANCEL,c1,nothing,X,BUY,,,,\n"
    + ",NEW,s2,,X,SELL,20,101,LIMIT,IOC\n"
    + ",NEW,y1,,Y,SELL,0.25,7.125,LIMIT,DAY\n"
)


def test_a_file_is_replayed_and_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(FILE)
    trades = io.StringIO()
    seen: list[tuple[int, int]] = []
    found = replay(path, trades=trades, progress=lambda done, size: seen.append((done, size)))
    assert (found.requests, found.new, found.modify, found.cancel) == (6, 4, 1, 1)
    assert (found.acks, found.trades, found.volume, found.canceled, found.replaced) == (4, 2, "12", 1, 1)
    assert found.rejects == {"UNKNOWN_ORDER": 1}
    assert len(found.bad_lines) == 1
    assert found.bad_lines[0].startswith("line 5")
    x, y = found.books
    assert (x.symbol, x.bid, x.ask, x.last_price, x.resting) == ("X", "", "", "101", 0)
    assert (y.symbol, y.ask, y.ask_quantity, y.resting) == ("Y", "7.125", "0.25", 1)
    assert list(csv.reader(io.StringIO(trades.getvalue()))) == [
        list(TRADE_COLUMNS),
        ["1", "X", "100", "4", "b1", "s1", "SELL"],
        ["2", "X", "101", "8", "b2", "s2", "SELL"],
    ]
    assert seen[-1][0] == seen[-1][1] == path.stat().st_size
    assert replay(path).state_hash == found.state_hash


def test_tick_and_lot_sizes_are_kept_where_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(FILE)
    assert replay(path, tick=ONE, lot=ONE).rejects == {"BAD_LOT": 1, "BAD_TICK": 1, "UNKNOWN_ORDER": 1}


@real_data
def test_a_real_hour_replays_to_the_counts_in_the_documentation() -> None:
    found = replay(AAPL, tick=ONE // 100, lot=ONE)
    assert (found.requests, found.new, found.modify, found.cancel) == (89_712, 48_311, 471, 40_930)
    assert (found.acks, found.trades, found.volume) == (48_311, 4_121, "349719")
    assert (found.canceled, found.replaced, found.rejects) == (40_927, 471, {"TOO_LATE": 4})
    assert (found.duplicates, found.bad_lines, found.books[0].resting) == (0, [], 380)


@real_data
def test_the_first_real_requests_trade_as_in_the_naive_book(tmp_path: Path) -> None:
    """The first 8,000 requests, trade by trade."""
    part = tmp_path / "part.csv"
    with open(AAPL) as file:
        part.write_text("".join(islice(file, 8_001)))
    naive = NaiveBook()
    ids: dict[str, int] = {}
    names: dict[int, str] = {}
    expected = []
    with open(part) as file:
        for row in csv.DictReader(file):
            naive.said.clear()
            name = row["client_order_id"]
            price = fixed("price", row["price"]) if row["price"] else 0
            if row["action"] == "NEW":
                order_id = ids[name] = len(ids) + 1
                names[order_id] = name
                naive.new(
                    order_id, Side[row["side"]], int(row["quantity"]), price, 0, OrderType.LIMIT,
                    TimeInForce[row["time_in_force"]], False, 0, 0,
                )  # fmt: skip
            else:
                order_id = ids[name] = ids[row["orig_client_order_id"]]
                if row["action"] == "CANCEL":
                    naive.cancel(order_id)
                else:
                    old = naive.find(order_id)
                    assert old is not None
                    naive.replace(order_id, int(row["quantity"] or old["quantity"]), price or old["price"], 0)
                    names[order_id] = name
            traded = [said for said in naive.said if said[0] == "TRADE"]
            expected += [(said[1], said[2] * ONE, names[said[5]], names[said[3]]) for said in traded]
    trades = io.StringIO()
    replay(part, trades=trades)
    rows = list(csv.DictReader(io.StringIO(trades.getvalue())))
    assert len(expected) > 200
    assert [
        (fixed("p", r["price"]), fixed("q", r["quantity"]), r["maker_client_order_id"], r["taker_client_order_id"])
        for r in rows
    ] == expected
