"""The simulated exchange's commands: replay, stress, book, trades, trading states."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.places import Place, end_of, wait_for

if TYPE_CHECKING:
    from tests.cli.conftest import Oms

HEADER = "time,action,client_order_id,orig_client_order_id,symbol,side,quantity,price,order_type,time_in_force\n"
CROSSING = HEADER + (
    "x,NEW,B1,,AAPL,BUY,100,585,LIMIT,DAY\n"
    "x,NEW,B2,,AAPL,BUY,50,584,LIMIT,DAY\n"
    "x,NEW,S1,,AAPL,SELL,120,584.5,LIMIT,DAY\n"
    "x,CANCEL,C1,B1,AAPL,BUY,,,,\n"
)


def test_an_order_file_goes_through_the_engine(oms: Oms, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CROSSING)
    ended = oms("venue", "replay", "a.csv", "--trades", "t.csv", "--json")
    assert ended.code == 0
    found = ended.document
    assert (found["requests"], found["trades"], found["volume"]) == (4, 1, "100")
    assert found["rejects"] == {"TOO_LATE": 1}
    (top,) = found["books"]
    assert (top["bid"], top["bid_quantity"], top["ask"], top["ask_quantity"]) == ("584", "50", "584.5", "20")
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "1,AAPL,585,100,B1,S1,SELL"
    assert oms("venue", "replay", "a.csv", "--json").document["state_hash"] == found["state_hash"]
    assert "584.5" in oms("venue", "replay", "a.csv").out


def test_a_replay_names_the_lines_that_are_no_request(oms: Oms, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CROSSING + "x,NEW,B9,,AAPL,BUY,-1,585,LIMIT,DAY\n")
    ended = oms("venue", "replay", "a.csv")
    assert ended.code == 1
    assert "line 6: quantity: '-1'" in ended.err


def test_an_unknown_scenario_is_a_usage_error(oms: Oms) -> None:
    assert oms("venue", "stress", "everything").code == 2


def test_market_data_of_a_desk_that_does_not_run_is_no_desk(oms: Oms) -> None:
    for command in (("book", "AAPL"), ("trades",), ("venue", "halt")):
        ended = oms(*command)
        assert (ended.code, "no desk runs" in ended.err) == (1, True)


@pytest.mark.process
def test_book_and_trades_of_a_matching_exchange(oms: Oms, place: Place) -> None:
    (place.folder / "oms.toml").write_text('[venue]\nmodel = "match"\n')
    (place.folder / "a.csv").write_text(CROSSING.partition("x,CANCEL")[0])  # which would find B1 still waiting
    desk = place.run()
    assert "nothing is known of 'AAPL'" in oms("book", "AAPL").err
    oms("send", "a.csv", "--until-done", "--timeout", "10", "--json")
    book = oms("book", "AAPL", "--json").document
    assert (book["bids"][0]["price"], book["asks"][0]["quantity"]) == ("584", "20")
    assert "584.5" in oms("book", "AAPL").out
    (trade,) = oms("trades", "--json").document["trades"]
    assert (trade["price"], trade["quantity"], trade["aggressor_side"]) == ("585", "100", "SELL")
    assert "585" in oms("trades", "--symbol", "AAPL").out

    assert oms("venue", "halt", "--symbol", "AAPL").code == 0
    wait_for(lambda: oms("book", "AAPL", "--json").document["state"] == "HALTED")
    assert "HALTED" in oms("book", "AAPL").out
    refused = oms("order", "new", "AAPL", "BUY", "1", "600", "--wait", "10", "--json")
    assert refused.document["reports"][-1]["reason_text"] == "trading is halted"
    assert oms("venue", "resume").code == 0
    assert oms("order", "new", "AAPL", "BUY", "1", "600", "--wait", "10").code == 0
    assert "TRADE" in oms("venue", "events").out
    assert oms("stop").code == 0
    assert end_of(desk).code == 0
    assert place.is_empty()


@pytest.mark.process
def test_two_desks_trade_with_each_other_on_an_exchange_of_its_own(oms: Oms, place: Place) -> None:
    exchange = place.start("venue")
    place.wait_until_up("exchange")
    desks = {}
    for name in ("buyer", "seller"):
        options = f'directory = "{place.runtime}/exchange/venue"\nsession = "{name}"'
        toml = f'[venue]\nenabled = false\n[session]\nusername = "{name}"\n[exchange.options]\n{options}\n'
        (place.folder / f"{name}.toml").write_text(toml)
        desks[name] = place.start("run", "-i", name, "-c", f"{name}.toml")
    for name in desks:
        place.wait_until_up(name)
    bought = oms("order", "new", "AAPL", "BUY", "100", "585", "-i", "buyer", "--id", "X", "--wait", "20")
    assert bought.code == 0
    sold = oms("order", "new", "AAPL", "SELL", "40", "585", "-i", "seller", "--id", "X", "--wait", "20")
    assert "filled 40 of 40 @ 585" in sold.out
    (trade,) = oms("trades", "-i", "exchange", "--json").document["trades"]
    assert (trade["price"], trade["quantity"]) == ("585", "40")
    for name in (*desks, "exchange"):
        assert oms("stop", "-i", name).code == 0
    for process in (*desks.values(), exchange):
        assert end_of(process).code == 0
    assert place.is_empty()


@pytest.mark.process
def test_a_stress_scenario_is_summed_up(oms: Oms, place: Place) -> None:
    ended = oms("venue", "stress", "burst", "--json")
    assert ended.code == 0, ended.err
    (found,) = ended.document["scenarios"]
    assert (found["clients"], found["orders"], found["success_percent"]) == (50, 1000, 100.0)
    assert place.is_empty()
