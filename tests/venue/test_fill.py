"""The venue process with the model "fill": links, logons, duplicates, and coming back from the dead."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from oms_actors.edges.venue_link import ConcurrentCall
from oms_actors.errors import NotSent, Reason
from oms_actors.messages import CancelOrder, ExchangeResponse, NewOrder, OrdStatus, ResponseType
from tests.venue.desk import Bench, Client, intent

ACK, FILL, REJECT = ResponseType.ACK, ResponseType.FILL, ResponseType.REJECT


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.role.stop()


def buy(name: str, quantity: str = "10", price: str | None = "585.33", **more: object) -> NewOrder:
    return NewOrder(client_order_id=name, symbol="AAPL", side="BUY", quantity=quantity, price=price, **more)  # type: ignore[arg-type]


def test_an_order_is_acknowledged_and_filled_at_its_price(bench: Bench) -> None:
    client = Client(bench, "desk")
    ack, fill = client.send(buy("A"))
    assert (ack.type, ack.client_order_id) == (ACK, "A")
    assert (fill.type, fill.quantity, fill.price, fill.exec_id) == (FILL, Decimal(10), Decimal("585.33"), "1")
    counters = bench.counters()
    assert {name: counters[name] for name in ("requests", "new", "acks", "fills", "volume", "duplicates")} == {
        "requests": 1, "new": 1, "acks": 1, "fills": 1, "volume": 10, "duplicates": 0,
    }  # fmt: skip


def test_a_market_order_needs_a_last_price(bench: Bench) -> None:
    client = Client(bench, "desk")
    (reject,) = client.send(buy("M1", price=None, order_type="MARKET"))
    assert reject.type == REJECT
    client.send(buy("L"))
    _, fill = client.send(buy("M2", price=None, order_type="MARKET"))
    assert fill.price == Decimal("585.33")


def test_requests_without_a_logon_are_rejected(bench: Bench) -> None:
    client = Client(bench, "desk", logon=False)
    (reject,) = client.send(buy("A"))
    assert reject.type == REJECT
    client.adapter.send_logon("me", "x")
    client.told()
    client.adapter.send_logout("me")
    assert [r.type for r in client.told()] == [ResponseType.LOGOUT_ACK]
    assert [r.type for r in client.send(buy("B"))] == [REJECT]


def test_a_wrong_password_is_refused_and_never_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path, username="me", password="right-one")
    client = Client(bench, "desk", logon=False)
    client.adapter.send_logon("me", "wrong-one")
    assert [r.type for r in client.told()] == [ResponseType.LOGON_REJECT]
    client.adapter.send_logon("me", "right-one")
    assert [r.type for r in client.told()] == [ResponseType.LOGON_ACK]
    bench.role.stop()
    journal = b"".join(path.read_bytes() for path in (tmp_path / "data" / "journal").iterdir())
    assert b"me" in journal
    assert b"-one" not in journal


def test_the_same_client_order_id_twice_is_answered_with_the_state_and_counted(bench: Bench) -> None:
    client = Client(bench, "desk")
    client.send(buy("A"))
    (again,) = client.send(buy("A"))
    assert (again.type, again.ord_status, again.cum_quantity) == (
        ResponseType.QUERY_FOUND, OrdStatus.FILLED, Decimal(10),
    )  # fmt: skip
    client.send(buy("A", possible_resend=True))
    counters = bench.counters()
    assert (counters["duplicates"], counters["resends"], counters["fills"]) == (1, 1, 1)


def test_ids_belong_to_a_user_and_an_account(bench: Bench) -> None:
    one, two = Client(bench, "one"), Client(bench, "two")
    assert [r.type for r in one.send(buy("A"))] == [ACK, FILL]
    assert [r.type for r in two.send(buy("A"))] == [ACK, FILL]
    assert [r.type for r in two.send(buy("A", account="X"))] == [ACK, FILL]


def test_a_user_logs_on_once_while_the_first_client_lives(bench: Bench) -> None:
    first = Client(bench, "one", user="me")
    second = Client(bench, "two", user="me", logon=False)
    second.adapter.send_logon("me", "")
    assert [r.type for r in second.told()] == [ResponseType.LOGON_REJECT]
    first.adapter.close()
    second.adapter.send_logon("me", "")
    assert [r.type for r in second.told()] == [ResponseType.LOGON_ACK]


def test_a_query_tells_what_became_of_a_request(bench: Bench) -> None:
    client = Client(bench, "desk")
    client.send(buy("A"), buy("B", quantity="0.5"))
    for name in ("A", "B", "C"):
        client.adapter.query(name)
    found, rejected, unknown = client.told()
    assert (found.type, found.ord_status, found.cum_quantity) == (
        ResponseType.QUERY_FOUND, OrdStatus.FILLED, Decimal(10),
    )  # fmt: skip
    assert (rejected.type, rejected.ord_status) == (ResponseType.QUERY_FOUND, OrdStatus.REJECTED)
    assert (unknown.type, unknown.client_order_id) == (ResponseType.QUERY_NOT_FOUND, "C")


def test_a_cancel_of_a_filled_order_is_too_late(bench: Bench) -> None:
    client = Client(bench, "desk")
    client.send(buy("A"))
    client.send(CancelOrder(client_order_id="C", orig_client_order_id="A"))
    client.adapter.send_record(intent(CancelOrder(client_order_id="D", orig_client_order_id="A")))
    client.adapter.send_record(intent(CancelOrder(client_order_id="E", orig_client_order_id="Z")))
    bench.work()
    client.adapter.poll()
    reasons = [int.from_bytes(data[28:30], "little") for data in client.records]
    assert reasons == [Reason.TOO_LATE, Reason.UNKNOWN_ORDER]


def test_a_full_ring_is_not_sent(bench: Bench) -> None:
    client = Client(bench, "desk", request_bytes=4096)
    order = intent(buy("A"))
    while client.adapter._put(order):
        pass
    with pytest.raises(NotSent):
        client.adapter.send_record(order)


def test_two_callers_at_once_are_found_out_and_told_to_the_venue(bench: Bench) -> None:
    client = Client(bench, "desk")
    inside, leave = threading.Event(), threading.Event()
    put = client.adapter._put

    def slow_put(data: bytes) -> bool:
        inside.set()
        leave.wait(60)
        return put(data)

    client.adapter._put = slow_put
    thread = threading.Thread(target=client.adapter.send_record, args=(intent(buy("A")),))
    thread.start()
    assert inside.wait(60)
    with pytest.raises(ConcurrentCall):
        client.adapter.send_record(intent(buy("B")))
    leave.set()
    thread.join()
    assert [r.type for r in client.send(buy("C"))] == [ACK, FILL, ACK, FILL]
    assert bench.counters()["concurrent_calls"] == 1


def test_a_killed_venue_comes_back_and_knows_every_order(bench: Bench) -> None:
    client = Client(bench, "desk")
    client.send(*(buy(f"A{n}") for n in range(100)))
    bench.start()
    assert bench.counters()["fills"] == 100
    assert [r.type for r in client.send(buy("A7"))] == [ResponseType.QUERY_FOUND]
    assert [r.type for r in client.send(buy("B"))] == [ACK, FILL]
    counters = bench.counters()
    assert (counters["fills"], counters["duplicates"]) == (101, 1)


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_venue_killed_anywhere_in_its_cycle_answers_once_after_its_restart(bench: Bench, moment: int) -> None:
    client = Client(bench, "desk")
    client.send(buy("A"))
    client.adapter.send_record(intent(buy("B")))
    bench.kill(moment)
    assert [(r.type, r.client_order_id) for r in client.told()] == [(ACK, "B"), (FILL, "B")]
    counters = bench.counters()
    assert (counters["fills"], counters["duplicates"]) == (2, 0)


def test_a_client_that_was_killed_reads_what_it_had_not_polled_twice(bench: Bench) -> None:
    client = Client(bench, "desk")
    client.adapter.send_record(intent(buy("A")))
    bench.work()
    client.adapter.poll()  # taken out, but the client dies before it polls again
    client.adapter.close()
    again = Client(bench, "desk", logon=False)
    assert [r.type for r in again.told()] == [ACK, FILL]


def test_a_new_file_under_the_same_name_must_log_on_again(bench: Bench) -> None:
    client = Client(bench, "desk")
    client.adapter.close()
    (bench.runtime / "venue" / "desk.up").unlink()
    again = Client(bench, "desk", logon=False)
    assert [r.type for r in again.send(buy("A"))] == [REJECT]


def test_a_client_whose_file_is_gone_is_disconnected_and_may_connect_again(bench: Bench) -> None:
    client = Client(bench, "desk")
    heard: list[ResponseType] = []
    client.adapter._on_response = lambda response: heard.append(response.type)
    (bench.runtime / "venue" / "desk.up").unlink()
    client.adapter._look_s = 0.0
    client.adapter.poll()
    assert heard == [ResponseType.DISCONNECTED]
    with pytest.raises(NotSent):
        client.adapter.send_record(intent(buy("A")))
    client.adapter.connect(lambda response: None)
    client.adapter.send_logon("desk", "")
    assert [r.type for r in client.told()] == [ResponseType.LOGON_ACK]


def test_answers_wait_for_the_configured_latency(tmp_path: Path) -> None:
    bench = Bench(tmp_path, latency_us=60_000_000)
    client = Client(bench, "desk", logon=False)
    client.adapter.send_logon("me", "")
    assert client.told() == []
    assert bench.role.next_due_ns() > 0
    bench.role._send(1 << 62)
    client.adapter.poll()
    assert len(client.records) == 1
    bench.role.stop()


def test_a_client_of_the_plain_port_is_told_in_words_why_it_was_refused(bench: Bench) -> None:
    client = Client(bench, "desk")
    heard: list[ExchangeResponse] = []
    client.adapter.close()
    client.adapter.on_records = None
    client.adapter.connect(heard.append)
    client.adapter.send_record(intent(buy("A", quantity="0.5")))
    bench.work()
    client.adapter.poll()
    (refused,) = heard
    assert refused.type == ResponseType.REJECT
    assert refused.text == "quantity: is not a multiple of the lot size (value 0.5, limit 1)"


def unread(bench: Bench) -> None:
    """An order whose answers are in the ring, and nobody takes them out."""
    client = Client(bench, "desk")
    client.adapter.send_record(intent(buy("A")))
    bench.work()
    client.adapter.close()


@pytest.mark.parametrize("kill", [False, True])
def test_what_nobody_took_out_of_a_ring_is_said_again_when_all_rings_are_new(tmp_path: Path, kill: bool) -> None:
    bench = Bench(tmp_path)
    unread(bench)
    if not kill:
        bench.role.stop()
    shutil.rmtree(bench.runtime / "venue")
    bench.start()
    client = Client(bench, "desk", logon=False)
    assert client.told() == []
    client.adapter.send_logon("desk", "")
    assert [r.type for r in client.told()] == [ACK, FILL, ResponseType.LOGON_ACK]
    bench.start()
    assert client.told() == []
    bench.role.stop()


def test_what_nobody_took_out_of_a_ring_is_said_again_into_the_clients_next_one(bench: Bench) -> None:
    unread(bench)
    (bench.runtime / "venue" / "desk.up").unlink()
    client = Client(bench, "desk", logon=False)
    client.adapter.send_logon("desk", "")
    assert [r.type for r in client.told()] == [ACK, FILL, ResponseType.LOGON_ACK]
    client.adapter.close()
    (bench.runtime / "venue" / "desk.up").unlink()
    assert [r.type for r in Client(bench, "desk", logon=False).told()] == []


def test_what_a_former_life_put_into_a_ring_is_said_again_when_that_is_gone(bench: Bench) -> None:
    unread(bench)
    bench.start()
    bench.work()
    bench.role.stop()
    shutil.rmtree(bench.runtime / "venue")
    bench.start()
    client = Client(bench, "desk", logon=False)
    client.adapter.send_logon("desk", "")
    assert [r.type for r in client.told()] == [ACK, FILL, ResponseType.LOGON_ACK]
