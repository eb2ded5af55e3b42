"""The desk as a library: one object, a clock of ours, no processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oms_actors import CancelOrder, Desk, ExchangeResponse, ExecType, Kind, NewOrder, OrdStatus, Report, ResponseType
from oms_actors.config import Config, ExchangeConfig, HoursConfig, QueueConfig, SessionConfig, ThrottleConfig
from oms_actors.edges.exchange import ExchangeRequest
from oms_actors.errors import Reason

S = 1_000_000_000
MORNING_NS = 1_767_600_000 * S  # 2026-01-05 08:00 UTC, a Monday


class Clock:
    """Stands still unless told otherwise; `set_ns`: by how much somebody has set the wall clock."""

    def __init__(self) -> None:
        self.ns = self.set_ns = 0

    def monotonic_ns(self) -> int:
        return 1_000 * S + self.ns

    def time_ns(self) -> int:
        return MORNING_NS + self.ns + self.set_ns


class Exchange:
    """Answers a NEW with `answers`, in the call."""

    deduplicates = False

    def __init__(self, *answers: ResponseType) -> None:
        self.answers, self.sent, self.connections, self.logons = answers, list[str](), 0, 0

    def connect(self, on_response: Callable[[ExchangeResponse], None]) -> None:
        self.connections += 1
        self.tell = on_response

    def send_logon(self, username: str, password: str) -> None:
        self.logons += 1
        self.tell(ExchangeResponse(type=ResponseType.LOGON_ACK))

    def send_logout(self, username: str) -> None:
        self.tell(ExchangeResponse(type=ResponseType.LOGOUT_ACK))

    def send(self, request: ExchangeRequest) -> None:
        self.sent.append(request.client_order_id)
        if request.symbol == "TORN":
            raise OSError("who knows")
        for kind in self.answers if request.kind is Kind.NEW else (ResponseType.CANCELED,):
            fill = {"quantity": request.quantity, "price": request.price, "exec_id": f"E-{request.client_order_id}"}
            self.tell(ExchangeResponse(type=kind, client_order_id=request.client_order_id,
                                       **fill if kind is ResponseType.FILL else {}))  # fmt: skip

    def close(self) -> None: ...


def new(name: str, symbol: str = "X") -> NewOrder:
    return NewOrder(client_order_id=name, symbol=symbol, side="BUY", quantity=10, price=5)


def short(reports: list[Report]) -> list[tuple[str, ExecType]]:
    return [(report.client_order_id, report.exec_type) for report in reports]


def test_an_order_goes_through_the_whole_desk_in_one_call() -> None:
    exchange = Exchange(ResponseType.ACK, ResponseType.FILL)
    desk = Desk(exchange, clock=Clock())
    told = desk.on_data(new("A"))
    assert short(told) == [("A", ExecType.PENDING_NEW), ("A", ExecType.NEW), ("A", ExecType.TRADE)]
    assert told[-1].ord_status is OrdStatus.FILLED
    assert (exchange.sent, exchange.logons) == (["A"], 1)
    (again,) = desk.on_data(new("A"))
    assert (again.exec_type, again.reason) == (ExecType.REJECTED, Reason.DUPLICATE_CLIENT_ORDER_ID)


def test_what_the_exchange_says_later_comes_by_on_data_response() -> None:
    desk = Desk(Exchange(), clock=Clock())
    desk.on_data(new("A"))
    (ack,) = desk.on_data_response(ExchangeResponse(type=ResponseType.ACK, client_order_id="A"))
    assert (ack.exec_type, ack.final) == (ExecType.NEW, True)
    told = desk.on_data(CancelOrder(client_order_id="C", orig_client_order_id="A"))
    assert short(told) == [("C", ExecType.PENDING_CANCEL), ("C", ExecType.CANCELED)]


def test_what_the_throttle_holds_back_goes_when_the_clock_says_so() -> None:
    clock, exchange = Clock(), Exchange(ResponseType.ACK)
    desk = Desk(exchange, Config(throttle=ThrottleConfig(rate=2)), clock)
    for name in "ABC":
        desk.on_data(new(name))
    assert exchange.sent == ["A", "B"]
    due = desk.next_due_ns()
    assert clock.monotonic_ns() < due <= clock.monotonic_ns() + 2 * S
    clock.ns += due - clock.monotonic_ns()
    assert short(desk.run()) == [("C", ExecType.NEW)]


@pytest.mark.parametrize("hour", [-1, 1])
def test_setting_the_wall_clock_moves_neither_throttle_nor_timeouts_and_logs_nobody_on_again(hour: int) -> None:
    clock, exchange = Clock(), Exchange()
    throttle, timeout = ThrottleConfig(rate=2, per_ms=5_000), ExchangeConfig(ack_timeout_ms=9_000)
    desk = Desk(exchange, Config(throttle=throttle, exchange=timeout), clock)
    for name in "ABC":
        desk.on_data(new(name))
    due = desk.next_due_ns()
    clock.set_ns = hour * 3_600 * S
    assert desk.run() == []
    assert desk.next_due_ns() == due
    clock.ns = due - 1_000 * S - 1
    desk.run()
    assert exchange.sent == ["A", "B"]
    clock.ns += 1
    desk.run()
    assert exchange.sent == ["A", "B", "C"]
    clock.ns = 9 * S - 1
    assert desk.run() == []
    clock.ns += 1
    assert [(report.client_order_id, report.ord_status) for report in desk.run()] == [
        ("A", OrdStatus.IN_DOUBT), ("B", OrdStatus.IN_DOUBT),
    ]  # fmt: skip
    assert exchange.logons == 1


def test_a_wall_clock_set_beyond_the_close_and_back_ends_the_session_and_begins_it_with_one_logon_each() -> None:
    hours = SessionConfig(zone="UTC", hours=(HoursConfig(days=("mon",), open="07:00", close="08:30"),))
    clock, exchange = Clock(), Exchange(ResponseType.ACK)
    desk = Desk(exchange, Config(session=hours), clock)
    desk.on_data(new("A"))
    clock.set_ns = 3_600 * S
    assert short(desk.run()) == [("A", ExecType.EXPIRED)]  # the day is over
    (refused,) = desk.on_data(new("B"))
    assert refused.reason == Reason.OUT_OF_HOURS
    clock.set_ns = 0
    assert desk.on_data(new("C"))[-1].exec_type is ExecType.NEW
    assert exchange.sent == ["A", "C"]
    assert exchange.connections == exchange.logons == 2


def test_outside_its_hours_it_refuses_and_at_the_close_it_logs_out() -> None:
    hours = SessionConfig(zone="UTC", hours=(HoursConfig(days=("mon",), open="09:00", close="10:00"),))
    clock, exchange = Clock(), Exchange(ResponseType.ACK)
    desk = Desk(exchange, Config(session=hours), clock)
    (refused,) = desk.on_data(new("A"))
    assert refused.reason == Reason.OUT_OF_HOURS
    clock.ns = 3_600 * S
    assert short(desk.on_data(new("A"))) == [("A", ExecType.PENDING_NEW), ("A", ExecType.NEW)]
    clock.ns = 7_200 * S
    desk.run()
    (refused,) = desk.on_data(new("B"))
    assert refused.reason == Reason.OUT_OF_HOURS
    assert exchange.sent == ["A"]


def test_a_call_that_broke_leaves_the_order_in_doubt_until_somebody_knows() -> None:
    desk = Desk(Exchange(), clock=Clock())
    told = desk.on_data(new("A", symbol="TORN"))
    assert told[-1].ord_status is OrdStatus.IN_DOUBT
    with pytest.raises(KeyError):
        desk.resolve("B", sent=True)
    (settled,) = desk.resolve("A", sent=False)
    assert (settled.ord_status, settled.final) == (OrdStatus.REJECTED, True)


def test_an_answer_that_does_not_come_is_a_doubt_too() -> None:
    clock = Clock()
    desk = Desk(Exchange(), Config(exchange=ExchangeConfig(ack_timeout_ms=500)), clock)
    desk.on_data(new("A"))
    clock.ns = desk.next_due_ns() - 1_000 * S
    assert clock.ns == S // 2
    assert [report.ord_status for report in desk.run()] == [OrdStatus.IN_DOUBT]


def test_killed_it_accepts_and_sends_nothing_until_it_may_go_on() -> None:
    exchange = Exchange(ResponseType.ACK)
    desk = Desk(exchange, clock=Clock())
    desk.on_data(new("A"))
    assert short(desk.kill(cancel_working=True))[-1] == ("A", ExecType.CANCELED)
    (refused,) = desk.on_data(new("B"))
    assert refused.reason == Reason.KILLED
    desk.resume()
    assert desk.on_data(new("B"))[-1].exec_type is ExecType.NEW


def test_garbage_is_refused_and_the_desk_goes_on() -> None:
    desk = Desk(Exchange(ResponseType.ACK), clock=Clock())
    (refused,) = desk.on_data(b"\xff" * 192)
    assert refused.exec_type is ExecType.REJECTED
    assert desk.on_data(new("A"))[-1].exec_type is ExecType.NEW


def test_the_same_day_twice_is_the_same_day() -> None:
    days = []
    for _ in range(2):
        clock, told = Clock(), []
        desk = Desk(Exchange(ResponseType.ACK, ResponseType.FILL), Config(throttle=ThrottleConfig(rate=3)), clock)
        for number in range(20):
            clock.ns += S // 7
            told += desk.on_data(new(f"A-{number}"), upstream=f"up{number % 2}")
        days.append((told, desk.core.state()))
    assert days[0] == days[1]


def test_it_logs_out_when_it_is_stopped() -> None:
    exchange = Exchange(ResponseType.ACK)
    desk = Desk(exchange, clock=Clock())
    desk.on_data(new("A"))
    desk.stop()
    desk.on_data(new("B"))
    assert exchange.logons == 2


def test_on_a_connection_that_is_lost_nothing_more_is_called_and_what_is_left_keeps_its_place() -> None:
    class Cut(Exchange):
        def send(self, request: ExchangeRequest) -> None:
            super().send(request)
            if request.client_order_id == "B2":
                raise ConnectionResetError("cut")

    clock, exchange = Clock(), Cut(ResponseType.ACK)
    desk = Desk(exchange, Config(throttle=ThrottleConfig(rate=4)), clock)
    for name in ("A1", "A2", "A3", "A4", "B1", "B2", "B3", "B4"):
        desk.on_data(new(name))
    clock.ns = 2 * S
    told = desk.run()
    assert exchange.sent[4:] == ["B1", "B2"]
    assert {report.client_order_id for report in told if report.ord_status is OrdStatus.IN_DOUBT} <= {"B1", "B2"}
    clock.ns = 60 * S
    desk.run()
    assert exchange.sent[4:] == ["B1", "B2", "B3", "B4"]
    assert exchange.logons == 2


def test_after_the_close_in_the_middle_of_the_calls_no_more_is_called() -> None:
    class Slow(Exchange):
        def send(self, request: ExchangeRequest) -> None:
            super().send(request)
            clock.ns += 4 * S

    hours = SessionConfig(zone="UTC", hours=(HoursConfig(days=("mon",), open="07:00", close="08:30"),))
    clock, exchange = Clock(), Slow(ResponseType.ACK)
    desk = Desk(exchange, Config(session=hours, throttle=ThrottleConfig(rate=3, per_ms=60_000)), clock)
    for name in ("A1", "A2", "A3", "B1", "B2", "B3"):
        desk.on_data(new(name))
    clock.ns = 1_795 * S
    told = desk.run()
    assert exchange.sent[3:] == ["B1", "B2"]
    assert ("B3", ExecType.EXPIRED) in short(told)


def test_an_adapter_may_speak_to_the_desk_from_inside_of_a_call() -> None:
    class Direct(Exchange):
        def send(self, request: ExchangeRequest) -> None:
            self.sent.append(request.client_order_id)
            inner = desk.on_data_response(ExchangeResponse(type=ResponseType.ACK, client_order_id=self.sent[-1]))
            if request.client_order_id == "A":
                inner += desk.on_data(new("B"))
            elif request.client_order_id == "C1":
                inner += desk.kill()
            assert inner == []  # whoever is in the call gets them

    clock, exchange = Clock(), Direct()
    desk = Desk(exchange, Config(throttle=ThrottleConfig(rate=2)), clock)
    assert short(desk.on_data(new("A"))) == [
        ("A", ExecType.PENDING_NEW), ("B", ExecType.PENDING_NEW), ("A", ExecType.NEW), ("B", ExecType.NEW),
    ]  # fmt: skip
    for name in ("C1", "C2"):
        desk.on_data(new(name))
    clock.ns = 2 * S
    assert short(desk.run()) == [("C1", ExecType.NEW)]
    assert exchange.sent == ["A", "B", "C1"]
    clock.ns = 4 * S
    assert short(desk.resume()) == [("C2", ExecType.NEW)]


def test_orders_meet_inside_while_they_could_be_sent_and_not_before_the_open() -> None:
    hours = HoursConfig(days=("mon",), open="09:00", close="10:00")
    session = SessionConfig(zone="UTC", hours=(hours,), out_of_hours="queue")
    clock, exchange = Clock(), Exchange(ResponseType.ACK)
    desk = Desk(exchange, Config(session=session, queue=QueueConfig(internal_crossing=True)), clock)
    assert short(desk.on_data(new("B"))) == [("B", ExecType.PENDING_NEW)]
    sell = NewOrder(client_order_id="S", symbol="X", side="SELL", quantity=10, price=5)
    assert short(desk.on_data(sell)) == [("S", ExecType.PENDING_NEW)]
    clock.ns = 3_600 * S
    assert short(desk.run()) == [("B", ExecType.TRADE), ("S", ExecType.TRADE)]
    assert exchange.sent == []
