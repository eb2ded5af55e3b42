"""The exchange port: loading an adapter, the one-caller guard, and answers that can never hurt."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import pytest

from oms_actors import record
from oms_actors.edges.exchange import Caller, ExchangeRequest, Responses, load_adapter
from oms_actors.errors import ConfigError, Reason, WrongCaller
from oms_actors.messages import (
    CancelOrder,
    ExchangeResponse,
    Kind,
    NewOrder,
    OrderType,
    OrdStatus,
    ReportFlag,
    ResponseType,
    Side,
    TimeInForce,
)

ADAPTER = """
class Good:
    deduplicates = True
    def __init__(self, host, port=1, directory=""):
        self.host, self.port, self.directory, self.calls = host, port, directory, []
    def connect(self, on_response): self.on_response = on_response
    def send_logon(self, username, password): self.calls.append(("logon", username, password))
    def send_logout(self, username): self.calls.append(("logout", username))
    def send(self, request): self.calls.append((request.kind.name, request.client_order_id))
    def query(self, client_order_id): self.calls.append(("query", client_order_id))
    def close(self): self.calls.append(("close",))

class Half:
    def connect(self, on_response): ...
    def close(self): ...
"""


@pytest.fixture
def config_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "port_adapter_under_test.py").write_text(ADAPTER)
    (tmp_path / "port_broken_module.py").write_text("import no_such_library_at_all\n")
    return str(tmp_path)


def good(config_dir: str):
    return load_adapter("port_adapter_under_test:Good", {"host": "h"}, config_dir)


def test_an_adapter_is_imported_from_the_config_files_folder_with_its_options(config_dir: str) -> None:
    adapter = load_adapter("port_adapter_under_test:Good", {"host": "h", "port": 7}, config_dir)
    assert (adapter.host, adapter.port) == ("h", 7)


def test_offers_reach_only_constructors_that_name_them_and_options_win(config_dir: str) -> None:
    offers = {"directory": "/offered", "bell": "/bell"}
    path = "port_adapter_under_test:Good"
    assert load_adapter(path, {"host": "h"}, config_dir, offers).directory == "/offered"
    assert load_adapter(path, {"host": "h", "directory": "/mine"}, config_dir, offers).directory == "/mine"


@pytest.mark.parametrize(
    ("path", "options", "says"),
    [
        ("port_adapter_under_test", {}, "package.module:Class"),
        ("no_such_module_here:Good", {}, "no module 'no_such_module_here'"),
        ("port_broken_module:Good", {}, "No module named 'no_such_library_at_all'"),
        ("port_adapter_under_test:Best", {}, "no class 'Best'"),
        ("port_adapter_under_test:Half", {}, "lacks send_logon(), send_logout(), send()"),
        ("port_adapter_under_test:Good", {}, "missing a required argument: 'host'"),
        ("port_adapter_under_test:Good", {"host": "h", "colour": 1}, "'colour' (it takes: host, port, directory)"),
    ],
)
def test_what_does_not_fit_is_named(config_dir: str, path: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_adapter(path, options, config_dir)
    assert says in str(refused.value)


def test_a_call_from_another_thread_is_refused_and_never_reaches_the_adapter(config_dir: str) -> None:
    adapter = good(config_dir)
    caller = Caller(adapter)
    caller.connect(Responses())
    caller.send_logon("me", "secret")
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            caller.send_logout("me")
        except WrongCaller as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert adapter.calls == [("logon", "me", "secret")]


def test_the_vital_signs_show_a_call_only_while_it_lasts(config_dir: str) -> None:
    marks: list[str] = []

    class Vitals:
        def enter_call(self, now_ns: int) -> None:
            marks.append("in")

        def leave_call(self) -> None:
            marks.append("out")

    adapter = good(config_dir)
    adapter.send = lambda request: marks.append("call") or 1 / 0  # type: ignore[func-returns-value]
    caller = Caller(adapter, Vitals())
    with pytest.raises(ZeroDivisionError):
        caller.send(intent())
    assert marks == ["in", "call", "out"]


def intent(**changes: object) -> bytes:
    order = NewOrder(client_order_id="A-1", symbol="AAPL", side="SELL", quantity="10", price="585.33", account="ACC")
    data = bytearray(record.encode(order, sequence=9))
    data[0] = Kind.INTENT_NEW
    return bytes(data)


def test_a_request_decodes_its_fields_from_the_intent_record() -> None:
    request = ExchangeRequest(intent())
    assert (request.kind, request.client_order_id, request.symbol) == (Kind.NEW, "A-1", "AAPL")
    assert (request.side, request.order_type, request.time_in_force) == (Side.SELL, OrderType.LIMIT, TimeInForce.DAY)
    assert (request.quantity, request.price, request.stop_price) == (Decimal(10), Decimal("585.33"), None)
    assert (request.account, request.sequence, request.possible_resend, request.post_only) == ("ACC", 9, False, False)


def test_a_cancel_names_the_order_it_is_for() -> None:
    data = bytearray(record.encode(CancelOrder(client_order_id="C", orig_client_order_id="A-1")))
    data[0] = Kind.INTENT_CANCEL
    request = ExchangeRequest(bytes(data))
    assert (request.kind, request.orig_client_order_id, request.price) == (Kind.CANCEL, "A-1", None)


def test_a_fill_comes_back_as_a_report_record() -> None:
    rung: list[int] = []

    class Bell:
        def ring(self) -> None:
            rung.append(1)

    responses = Responses(Bell())
    responses.on_response(
        ExchangeResponse(
            type=ResponseType.FILL, client_order_id="A-1", quantity="5", price="1.5", exec_id="E1", account="ACC",
            time_ns=77, order_id="V9",
        )
    )
    (data,) = responses.drain()
    fields = dict(zip(record.REPORT_NAMES, record.REPORT.unpack(data), strict=True))
    assert rung == [1]
    assert fields["flags"] == ReportFlag.FROM_VENUE
    assert (fields["response_type"], fields["last_quantity"], fields["last_price"]) == (7, 500000000, 150000000)
    assert data[record.REPORT_KEY] == record.key_of("ACC", "A-1")
    assert (record.text(fields["exec_id"]), fields["time_ns"]) == ("E1", 77)
    assert responses.drain() == []


def test_a_text_follows_its_report() -> None:
    responses = Responses()
    responses.on_response(ExchangeResponse(type=ResponseType.REJECT, client_order_id="A", text="no such thing"))
    head, tail = responses.drain()
    assert head[5] & ReportFlag.HAS_TEXT
    assert record.decode_text(tail) == "no such thing"


def test_a_query_answer_carries_state_and_filled_quantity() -> None:
    responses = Responses()
    responses.on_response(
        ExchangeResponse(
            type=ResponseType.QUERY_FOUND, client_order_id="A", cum_quantity="3", ord_status=OrdStatus.PARTIALLY_FILLED
        )
    )
    fields = dict(zip(record.REPORT_NAMES, record.REPORT.unpack(responses.drain()[0]), strict=True))
    assert (fields["cum_quantity"], fields["ord_status"]) == (300000000, OrdStatus.PARTIALLY_FILLED)


class _Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "response",
    [
        None,
        b"x" * 256,
        "text",
        ExchangeResponse(type="nonsense"),  # type: ignore[arg-type]
        ExchangeResponse(type=99, client_order_id="A"),  # type: ignore[arg-type]
        ExchangeResponse(type=ResponseType.ACK),
        ExchangeResponse(type=ResponseType.ACK, client_order_id="A" * 37),
        ExchangeResponse(type=ResponseType.ACK, client_order_id="ä"),
        ExchangeResponse(type=ResponseType.FILL, client_order_id="A", exec_id="E", quantity="NaN", price=1),
        ExchangeResponse(type=ResponseType.FILL, client_order_id="A", exec_id="E", quantity=0, price=1),
        ExchangeResponse(type=ResponseType.FILL, client_order_id="A", exec_id="E", quantity=1.5, price=1),  # type: ignore[arg-type]
        ExchangeResponse(type=ResponseType.FILL, client_order_id="A", quantity=1, price=1),
        ExchangeResponse(type=ResponseType.FILL, client_order_id="A", exec_id="E", quantity=1, price=-1),
        ExchangeResponse(type=ResponseType.ACK, client_order_id="A", time_ns=-1),
        ExchangeResponse(type=ResponseType.ACK, client_order_id="A", text=_Unshowable()),  # type: ignore[arg-type]
    ],
)
def test_a_bad_response_becomes_an_unmatched_record_with_a_text(response: ExchangeResponse) -> None:
    responses = Responses()
    responses.on_response(response)
    head, tail = responses.drain()
    assert head[5] == ReportFlag.FROM_VENUE | ReportFlag.UNMATCHED | ReportFlag.HAS_TEXT
    assert record.REPORT.unpack(head)[12] == Reason.MALFORMED
    assert record.decode_text(tail)


def test_raw_frames_are_split_into_records() -> None:
    responses = Responses()
    one, other = b"@".ljust(256, b"\1"), b"@".ljust(256, b"\2")
    responses.on_records(one + other)
    responses.on_records(b"c" * 100)
    found = responses.drain()
    assert found[:2] == [one, other]
    assert found[2][5] & ReportFlag.UNMATCHED
