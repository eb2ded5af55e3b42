"""The venue process with the matching engine: two desks, market data, kills at every place, snapshots, faults."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from time import monotonic, time_ns

import pytest

from ipc.broadcast import Gap
from oms_actors.actors.commands import Trading
from oms_actors.config import FaultsConfig
from oms_actors.core.controls import encode_session
from oms_actors.core.engine import Engine
from oms_actors.core.execution import Member, Rules
from oms_actors.edges.exchange import decode_response
from oms_actors.edges.journal import JournalError, JournalFull
from oms_actors.edges.market_data import MarketReader, TradeTape, decode_depth, decode_trade
from oms_actors.errors import ONE
from oms_actors.messages import CancelOrder, ModifyOrder, NewOrder, Request, ResponseType, SessionEvent
from oms_actors.venue_events import VenueEvent, events
from tests.venue.desk import Bench, Client, intent

ACK, FILL, REJECT = ResponseType.ACK, ResponseType.FILL, ResponseType.REJECT


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, model="match")
    yield bench
    bench.role.stop()


def order(name: str, side: str = "BUY", quantity: object = 10, price: object = 100, **more: object) -> NewOrder:
    return NewOrder(client_order_id=name, symbol="X", side=side, quantity=quantity, price=price, **more)  # type: ignore[arg-type]


def test_two_desks_trade_with_each_other(bench: Bench) -> None:
    one, two = Client(bench, "one"), Client(bench, "two")
    one.send(order("a", quantity=10))
    assert [(r.type, r.quantity) for r in two.send(order("a", "SELL", 4, 99))] == [(ACK, 0), (FILL, 4)]
    (fill,) = one.told()
    assert (fill.type, fill.client_order_id, fill.quantity, fill.price) == (FILL, "a", 4, 100)
    counters = bench.counters()
    assert (counters["trades"], counters["fills"], counters["volume"]) == (1, 2, 4)


def test_a_fill_waits_for_a_member_that_is_away(bench: Bench) -> None:
    one, two = Client(bench, "one"), Client(bench, "two")
    one.send(order("a"))
    one.adapter.send_logout("one")
    one.told()
    one.adapter.close()
    two.send(order("b", "SELL"))
    back = Client(bench, "one", logon=False)
    assert [r.type for r in back.told()] == [FILL]


def test_depth_and_trades_are_told_to_everybody(bench: Bench) -> None:
    client = Client(bench, "one")
    client.send(order("a", price=100), order("b", price=99), order("c", "SELL", 5, 101), order("d", "SELL", 3, 100))
    reader = MarketReader(str(bench.runtime / "venue"))
    changes = reader.depth_changes()
    depth = reader.depth("X")
    assert depth is not None
    assert [(x.price // ONE, x.quantity // ONE, x.orders) for x in depth.bids] == [(100, 7, 1), (99, 10, 1)]
    assert [(x.price // ONE, x.quantity // ONE, x.orders) for x in depth.asks] == [(101, 5, 1)]
    assert (depth.last_price // ONE, depth.trades, depth.volume // ONE) == (100, 1, 3)
    assert reader.symbols() == ["X"]
    assert reader.depth("Y") is None
    trade = reader.trades().read()
    assert trade is not None
    assert (decode_trade(trade).price // ONE, decode_trade(trade).aggressor) == (100, 2)
    client.send(CancelOrder(client_order_id="e", orig_client_order_id="b"))
    bench.role._depth_due_ns = 0
    bench.work()
    change = changes.read()
    assert change is not None
    assert len(decode_depth(change).bids) == 1
    assert not reader.replaced()
    bench.start()
    assert reader.replaced()
    again = MarketReader(str(bench.runtime / "venue")).depth("X")
    assert again is not None
    assert [x.price // ONE for x in again.bids] == [100]


def test_the_operator_halts_and_resumes_trading_and_that_survives(bench: Bench) -> None:
    client = Client(bench, "one")
    assert bench.role.command(Trading(do="halt", symbol="X")) == ""
    assert [r.type for r in client.send(order("a"))] == [REJECT]
    bench.start()
    assert [r.type for r in client.send(order("b"))] == [REJECT]
    bench.role.command(Trading(do="resume"))
    assert [r.type for r in client.send(order("c"))] == [ACK]


def test_time_alone_expires_an_order_and_that_survives(bench: Bench) -> None:
    client = Client(bench, "one")
    told = client.send(order("a", time_in_force="GTD", expire_time_ns=time_ns() + 50_000_000))
    deadline = monotonic() + 20
    while len(told) < 2 and monotonic() < deadline:
        told += client.told()
    assert [r.type for r in told] == [ACK, ResponseType.EXPIRED]
    before = bench.role._venue.state_hash()
    bench.start()
    assert bench.role._venue.state_hash() == before


def test_an_order_that_has_expired_before_it_comes_is_refused(bench: Bench) -> None:
    client = Client(bench, "one")
    client.send(order("rest", "SELL"))
    told = client.send(order("late", "BUY", time_in_force="GTD", expire_time_ns=1))
    assert [r.type for r in told] == [REJECT]


def test_a_level_of_more_than_an_int64_is_shown_as_the_most_and_survives_a_restart(bench: Bench) -> None:
    client = Client(bench, "one")
    for name in "ab":
        assert [r.type for r in client.send(order(name, "BUY", 90_000_000_000))] == [ACK]
    before = bench.role._venue.state_hash()
    bench.start()
    assert bench.role._venue.state_hash() == before


def test_the_same_seed_does_the_same_to_the_same_requests(tmp_path: Path) -> None:
    outcomes = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name, model="fill", faults=FaultsConfig(seed=3, drop=0.2, reject=0.3))
        client = Client(bench, "one")
        for n in range(50):
            client.adapter.send_record(intent(order(f"{n}")))
        outcomes.append([(r.type, r.client_order_id) for r in client.told()])
        bench.role.stop()
    assert outcomes[0] == outcomes[1]


def flow(rng: random.Random, n: int) -> Request:
    kind = rng.random()
    if kind < 0.7:
        tif = rng.choice(("DAY", "DAY", "IOC"))
        return order(f"{n}", rng.choice(("BUY", "SELL")), rng.randint(1, 9), rng.randint(95, 105), time_in_force=tif)
    earlier = str(rng.randint(max(0, n - 30), n))
    if kind < 0.85:
        return ModifyOrder(client_order_id=f"{n}", orig_client_order_id=earlier, price=rng.randint(95, 105))
    return CancelOrder(client_order_id=f"{n}", orig_client_order_id=earlier)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_instant_it_comes_back_as_if_nothing_had_been(tmp_path: Path, seed: int) -> None:
    """The same input with and without kills: the same state, and every report reaches its member."""
    outcomes = []
    for is_killed in (False, True):
        folder = tmp_path / str(is_killed)
        folder.mkdir()
        bench = Bench(folder, model="match", snapshot_interval_sec=3600)
        clients = [Client(bench, name) for name in ("one", "two")]
        rng, kills = random.Random(seed), random.Random(seed + 100)
        told: list[list[bytes]] = [[], []]
        for n in range(400):
            client = clients[rng.randrange(2)]
            client.adapter.send_record(intent(flow(rng, n)))
            if is_killed and kills.random() < 0.06:
                bench.kill(kills.randrange(3))
            if is_killed and kills.random() < 0.03:
                bench.role._snapshot_due_ns = 0
            bench.role.work()
            for place, reader in enumerate(clients):
                reader.adapter.poll()
                told[place] += [essence(data) for data in reader.records]
                reader.records.clear()
        bench.work(10)
        for place, reader in enumerate(clients):
            reader.adapter.poll()
            told[place] += [essence(data) for data in reader.records]
        outcomes.append((bench.role._venue.state_hash(), told, bench.counters()))
        bench.role.stop()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][2]["trades"] > 50
    assert outcomes[0][2]["duplicates"] == 0


def essence(report: bytes) -> bytes:
    """A report without its time, and without the mark that it may be a duplicate."""
    return report[:5] + bytes((report[5] & ~2,)) + report[6:32] + report[40:]


def snapshot_now(bench: Bench) -> None:
    bench.role._snapshot_due_ns = 0
    bench.role.work()
    assert bench.role._journal.finish(wait=True)
    bench.role._snapshot_due_ns = 1 << 62


def two_snapshots(tmp_path: Path) -> tuple[Bench, Client, list[Path]]:
    """A venue with two snapshots and three lives, and the snapshots, the older one first."""
    bench = Bench(tmp_path, model="match")
    client = Client(bench, "one")
    rng = random.Random(1)
    for life in range(3):
        for n in range(100):
            client.adapter.send_record(intent(flow(rng, 100 * life + n)))
        client.told()
        bench.start()  # every life has a segment of its own
        if life < 2:
            snapshot_now(bench)
    return bench, client, sorted((tmp_path / "data" / "venue").iterdir())


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + bytes(1))


def test_two_snapshots_replace_the_journal_below_the_older_one(tmp_path: Path) -> None:
    bench, client, snapshots = two_snapshots(tmp_path)
    before = bench.role._venue.state_hash()
    assert len(snapshots) == 2
    journals = sorted(path.name for path in (tmp_path / "data" / "journal").glob("venue-*.journal"))
    assert journals[0].startswith("venue-00000002-")
    bench.start()
    assert bench.role._venue.state_hash() == before
    assert ACK in [r.type for r in client.send(order("1000"))]
    bench.role.stop()


def test_with_the_newest_snapshot_damaged_the_one_before_and_the_journal_give_the_same(tmp_path: Path) -> None:
    bench, _, (_, newest) = two_snapshots(tmp_path)
    before = bench.role._venue.state_hash()
    spoil(newest)
    bench.start()
    assert bench.role._venue.state_hash() == before
    bench.role.stop()


def test_with_all_snapshots_damaged_it_refuses_to_begin_with_an_empty_exchange(tmp_path: Path) -> None:
    bench, _, snapshots = two_snapshots(tmp_path)
    for path in snapshots:
        spoil(path)
    with pytest.raises(JournalError, match=r"no snapshot of the exchange checks out.*move it away"):
        bench.start()


def test_the_event_log_has_every_event_with_its_number_and_ends_in_the_same_state(tmp_path: Path) -> None:
    bench, _, _ = two_snapshots(tmp_path)
    found: list[VenueEvent] = []
    told = events(bench.resolved, found.append)
    assert [event.number for event in found] == list(range(found[0].number, told.events + 1))
    assert found[0].number > 1  # the first life is below both snapshots
    assert told.state_hash == bench.role._venue.state_hash()
    trades = [event.fields for event in found if event.event == "TRADE"]
    assert trades
    assert all(Decimal(fields["quantity"]) > 0 and fields["maker"] for fields in trades)
    bench.role.stop()


def test_a_log_changes_nothing_of_what_the_engine_says(tmp_path: Path) -> None:
    plain, logged = Engine(Rules()), Engine(Rules())
    numbers: list[int] = []
    logged.log = lambda number, symbol, event, time_ns: numbers.append(number)
    one, two, rng = Member(1, "one"), Member(1, "one"), random.Random(3)
    for n in range(40):
        frame = b"".join(intent(flow(rng, 50 * n + i)) for i in range(50))
        plain.step(one, frame, n)
        logged.step(two, frame, n)
    assert one.out == two.out
    assert plain.dump() == logged.dump()
    assert numbers == list(range(1, plain.events + 1))


def test_a_backlog_of_many_clients_is_taken_in_steps(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model="match")
    clients = [Client(bench, f"c{n}") for n in range(20)]
    for client in clients:
        frames = [intent(order(f"{n}", price=1 + n)) for n in range(5_000)]
        client.adapter.send_record(b"".join(frames))
    bench.work(30)
    assert bench.counters()["acks"] == 100_000
    before = bench.role._venue.state_hash()
    bench.start()
    assert bench.role._venue.state_hash() == before
    bench.role.stop()


def test_nothing_that_stands_beside_garbage_gets_past_the_password(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model="match", password="secret")
    intruder = Client(bench, "one", logon=False)
    intruder.adapter.send_record(encode_session(SessionEvent.LOGGED_ON, "one") + bytes(32))
    assert [r.type for r in intruder.told()] == [ResponseType.LOGON_REJECT]
    assert [r.type for r in intruder.send(order("a"))] == [REJECT]
    assert bench.counters()["malformed"] == 1
    bench.role.stop()


def test_the_tape_has_every_trade_once_across_a_death(bench: Bench) -> None:
    client = Client(bench, "one")
    tape = TradeTape(str(bench.runtime / "venue"))
    client.send(order("a", "SELL", 5), order("b", quantity=2))
    assert [trade.number for trade in iter(tape.read, None) if trade] == [1]
    for n in range(3):
        client.adapter.send_record(intent(order(f"c{n}", quantity=1)))
        bench.kill(n)  # before or after it is journalled, but before anybody was told
    client.told()
    assert [trade.number for trade in iter(tape.read, None) if trade] == [2, 3, 4]


def test_trades_that_cannot_be_told_again_are_a_named_gap(bench: Bench) -> None:
    client = Client(bench, "one")
    tape = TradeTape(str(bench.runtime / "venue"))
    client.send(order("a", "SELL", 9), order("b", quantity=1))
    assert tape.read() is not None
    client.adapter.send_record(intent(order("c", quantity=1)))
    client.adapter.send_record(intent(order("d", quantity=1)))
    bench.kill(1)
    snapshot_now(bench)
    bench.role._market.close()  # type: ignore[union-attr]  # a second death: the snapshot covers what was not told
    bench.start()
    client.send(order("e", quantity=1))
    with pytest.raises(Gap) as gap:
        tape.read()
    assert gap.value.lost == 2
    assert tape.read().number == 4  # type: ignore[union-attr]


def test_faults_drop_double_displace_and_refuse_from_a_seed(tmp_path: Path) -> None:
    faults = FaultsConfig(seed=3, drop=0.1, duplicate=0.1, reorder=0.2, reject=0.1)
    bench = Bench(tmp_path, model="fill", faults=faults)
    client = Client(bench, "one")
    for n in range(500):
        client.adapter.send_record(intent(order(f"{n}")))
    told = client.told()
    counters = bench.counters()
    fills = [r for r in told if r.type == FILL]
    acked = {r.client_order_id for r in told if r.type == ACK}
    assert 400 < counters["requests"] < 480  # some never arrived
    assert 20 < counters["rejects"] < 90
    assert len({r.exec_id for r in fills}) == counters["fills"] < len(fills)  # none is lost, some came twice
    assert len(acked) < counters["acks"]
    assert any(r.type == FILL and r.client_order_id not in {x.client_order_id for x in told[:at]}
               for at, r in enumerate(told))  # fmt: skip
    bench.role.stop()


def test_a_client_that_closes_and_connects_again_hears_nothing_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model="match", faults=FaultsConfig(disconnect=1.0))
    client = Client(bench, "one")
    client.adapter.send_record(intent(order("a")))
    bench.work()
    client.adapter.poll()
    heard = [decode_response(data).type for data in client.records]
    assert heard == [ResponseType.DISCONNECTED, ACK]
    client.records.clear()
    client.adapter.close()
    client.adapter.connect(lambda response: None)
    assert client.told() == []
    client.adapter.send_logon("one", "")
    assert [r.type for r in client.told()] == [ResponseType.LOGON_ACK]
    client.adapter.close()
    assert Client(bench, "one", logon=False).told() == []
    bench.role.stop()


def test_a_cut_connection_must_log_on_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model="match", faults=FaultsConfig(disconnect=1.0))
    client = Client(bench, "one")
    assert [r.type for r in client.send(order("a"))] == [ResponseType.DISCONNECTED, ACK]
    assert REJECT in [r.type for r in client.send(order("b"))]
    client.adapter.send_logon("one", "")
    assert ResponseType.LOGON_ACK in [r.type for r in client.told()]
    client.adapter.query("a")
    (found,) = client.told()
    assert (found.type, found.cum_quantity) == (ResponseType.QUERY_FOUND, Decimal(0))
    bench.role.stop()


def test_a_blocked_venue_reads_nothing_for_a_while(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model="match", faults=FaultsConfig(block=1.0, block_ms=3_600_000))
    client = Client(bench, "one")
    assert [r.type for r in client.send(order("a"))] == [ACK]
    assert client.send(order("b")) == []
    assert not bench.role.ready()
    bench.role._blocked_until_ns = 1
    assert [r.type for r in client.told()] == [ACK]
    bench.role.stop()


def test_a_full_disk_lets_requests_wait_in_their_ring(bench: Bench) -> None:
    client = Client(bench, "one")
    reserve = bench.role._journal.reserve

    def full(size: int) -> None:
        raise JournalFull("no space")

    bench.role._journal.reserve = full  # type: ignore[method-assign]
    assert client.send(order("a")) == []
    bench.role._journal.reserve = reserve  # type: ignore[method-assign]
    bench.role._blocked_until_ns = 1
    assert [r.type for r in client.told()] == [ACK]


def test_a_link_that_somebody_scribbled_over_is_parked_and_the_others_go_on(bench: Bench) -> None:
    one, two = Client(bench, "one"), Client(bench, "two")
    ring = one.adapter._client.requests  # type: ignore[union-attr]
    one.adapter.send_record(intent(order("a")))
    ring._words[8] = ring._words[8] + 8  # a tail that no frame ends at
    assert [r.type for r in two.send(order("b"))] == [ACK]
    assert "one" not in bench.role._ports.open
    bench.work()
    assert "one" not in bench.role._ports.open  # not tried again as long as it is the same file
    one.adapter.close()
    (bench.runtime / "venue" / "one.up").unlink()
    again = Client(bench, "one")
    assert [r.type for r in again.send(order("c"))] == [ACK]
