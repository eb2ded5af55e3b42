"""Order files: what is right becomes a record, what is wrong is named with line, field, value and limit."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms_actors import record
from oms_actors.edges import orders_file
from oms_actors.edges.orders_file import COLUMNS, BadFile, LineError
from oms_actors.messages import CancelOrder, Flag, ModifyOrder, NewOrder

NO_NUMBERS = (
    "1_000", "\u0663", "1e3", "1E-2", " 1", "1 ", "+1", "--1", "1.2.3", "0x10", "inf", "NaN", ".", "-", "1\u00a0000",
)  # fmt: skip
HEADER = "time,action,client_order_id,orig_client_order_id,symbol,side,quantity,price,order_type,time_in_force"


def read(text: str | bytes) -> tuple[list[bytes], list[LineError]]:
    data = text.encode() if isinstance(text, str) else text
    found: list[bytes] = []
    errors: list[LineError] = []
    for batch in orders_file.read(io.BytesIO(data)):
        records = list(record.records(batch.records))
        assert len(records) == batch.requests
        found += records
        errors += batch.errors
    return found, errors


def read_rows(*rows: str) -> tuple[list[bytes], list[LineError]]:
    return read("\n".join([HEADER, *rows]) + "\n")


def test_a_new_order_becomes_the_record_that_the_api_makes() -> None:
    found, errors = read_rows("2012-06-21T09:30:00-04:00,NEW,N1,,AAPL,BUY,18,585.33,LIMIT,DAY")
    assert errors == []
    order = NewOrder(client_order_id="N1", symbol="AAPL", side="BUY", quantity=18, price="585.33")
    assert found == [record.encode(order)]


def test_modify_and_cancel_become_their_records() -> None:
    found, errors = read_rows(",MODIFY,M1,N1,AAPL,BUY,20,585.5,LIMIT,DAY", ",CANCEL,C1,N1,AAPL,BUY,,,,")
    assert errors == []
    assert found == [
        record.encode(ModifyOrder(client_order_id="M1", orig_client_order_id="N1", symbol="AAPL", side="BUY",
                                  quantity=20, price="585.5")),
        record.encode(CancelOrder(client_order_id="C1", orig_client_order_id="N1", symbol="AAPL", side="BUY")),
    ]  # fmt: skip


def test_words_may_have_any_case_and_blanks_around_them() -> None:
    plain, _ = read_rows("x,NEW,N1,,AAPL,SELL,18,585.33,MARKET,IOC")
    odd, errors = read_rows("x, new ,N1,, AAPL,Sell,18,585.33,market, Ioc")
    assert errors == []
    assert odd == plain


def test_optional_columns_are_used() -> None:
    text = f"{HEADER},account,stop_price,expire_time,post_only\n"
    text += "x,NEW,N1,,AAPL,BUY,18,585.33,STOP_LIMIT,GTD,HOUSE,586,1970-01-01T05:30:01+05:30,true\n"
    found, errors = read(text)
    assert errors == []
    order = NewOrder(client_order_id="N1", symbol="AAPL", side="BUY", quantity=18, price="585.33", account="HOUSE",
                     order_type="STOP_LIMIT", time_in_force="GTD", stop_price=586, expire_time_ns=1_000_000_000,
                     post_only=True)  # fmt: skip
    assert found == [record.encode(order)]
    assert found[0][record.AT_FLAGS] == Flag.POST_ONLY


def test_columns_may_come_in_any_order_with_bom_and_windows_lines() -> None:
    names = list(reversed(COLUMNS))
    values = dict(zip(COLUMNS, ("NEW", "N1", "", "AAPL", "BUY", "18", "585.33", "LIMIT", "DAY"), strict=True))
    text = "\ufeff" + ",".join(names) + "\r\n" + ",".join(values[name] for name in names) + "\r\n"
    assert read(text) == read_rows("x,NEW,N1,,AAPL,BUY,18,585.33,LIMIT,DAY")


def test_json_lines_are_told_by_their_first_character_and_their_numbers_are_exact() -> None:
    text = '\n{"action": "NEW", "client_order_id": "N1", "symbol": "AAPL", "side": "BUY", "quantity": 18, "price": 0.1}'
    found, errors = read(text + '\n{"action":"CANCEL","client_order_id":"C1","orig_client_order_id":"N1","side":null}')
    assert errors == []
    assert found == [
        record.encode(NewOrder(client_order_id="N1", symbol="AAPL", side="BUY", quantity=18, price="0.1")),
        record.encode(CancelOrder(client_order_id="C1", orig_client_order_id="N1")),
    ]


@pytest.mark.parametrize(
    ("row", "field", "value", "limit"),
    [
        ("x,DELETE,N1,,AAPL,BUY,18,585.33,LIMIT,DAY", "action", "DELETE", "must be one of NEW, MODIFY, CANCEL"),
        ("x,NEW,N1,,AAPL,HOLD,18,585.33,LIMIT,DAY", "side", "HOLD", "must be one of BUY, SELL"),
        ("x,NEW,N1,,AAPL,BUY,NaN,585.33,LIMIT,DAY", "quantity", "NaN", "must be a decimal number"),
        ("x,NEW,N1,,AAPL,BUY,-18,585.33,LIMIT,DAY", "quantity", "-18", "must be greater than zero"),
        ("x,NEW,N1,,AAPL,BUY,0,585.33,LIMIT,DAY", "quantity", "0", "must be greater than zero"),
        ("x,NEW,N1,,AAPL,BUY,,585.33,LIMIT,DAY", "quantity", "", "must be a decimal number"),
        ("x,NEW,N1,,AAPL,BUY,18,12x,LIMIT,DAY", "price", "12x", "must be a decimal number"),
        ("x,NEW,N1,,AAPL,BUY,18,1.123456789,LIMIT,DAY", "price", "1.123456789", "must have at most 8 decimals"),
        ("x,NEW,N1,,AAPL,BUY,18,99999999999999,LIMIT,DAY", "price", "99999999999999", "must be at most"),
        (f"x,NEW,{'N' * 37},,AAPL,BUY,18,1,LIMIT,DAY", "client_order_id", "N" * 37, "must have 1 to 36 characters"),
        ("x,NEW,,,AAPL,BUY,18,1,LIMIT,DAY", "client_order_id", "", "must have 1 to 36 characters"),
        ("x,NEW,N 1,,AAPL,BUY,18,1,LIMIT,DAY", "client_order_id", "N 1", "must be printable ASCII"),
        ("x,NEW,N\u00e4,,AAPL,BUY,18,1,LIMIT,DAY", "client_order_id", "N\u00e4", "must be printable ASCII"),
        ("x,NEW,N1,,,BUY,18,1,LIMIT,DAY", "symbol", "", "must have 1 to 16 characters"),
        ("x,NEW,N1,,AAPL,BUY,18,1,ICEBERG,DAY", "order_type", "ICEBERG", "must be one of MARKET, LIMIT"),
        ("x,NEW,N1,,AAPL,BUY,18,1,LIMIT,WEEK", "time_in_force", "WEEK", "must be one of DAY, GTC"),
        ("x,CANCEL,C1,,AAPL,BUY,,,,", "orig_client_order_id", "", "must have 1 to 36 characters"),
        ("x,NEW,N1", "line", "x,NEW,N1", "must have 10 columns, has 3"),
        ('x,NEW,"N1,,AAPL,BUY,18,1,LIMIT,DAY', "line", 'x,NEW,"N1,,AAPL,BUY,18,1,LIMIT,DAY', "is not CSV"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_its_neighbours_go_through(row: str, field: str, value: str, limit: str) -> None:
    good = "x,NEW,{},,AAPL,BUY,18,585.33,LIMIT,DAY"
    found, (error,) = read_rows(good.format("A"), row, good.format("B"))
    assert [record.text(each[record.AT_CLIENT_ORDER_ID : record.AT_ORIG]) for each in found] == ["A", "B"]
    assert (error.line, error.field, error.value) == (3, field, value)
    assert limit in error.limit


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{broken", "line"),
        ("[1, 2]", "line"),
        ('{"action": "NEW", "client_order_id": {"a": 1}}', "client_order_id"),
        ('{"action": "NEW", "client_order_id": "N1", "symbol": "A", "side": "BUY", "quantity": NaN}', "quantity"),
        ("[" * 100_000, "line"),
    ],
)  # fmt: skip
def test_a_bad_json_line_is_named_too(line: str, field: str) -> None:
    good = '{"action":"CANCEL","client_order_id":"C1","orig_client_order_id":"N1"}\n'
    found, (error,) = read(f"{good}{line}\n{good}")
    assert (len(found), error.line, error.field) == (2, 2, field)


@pytest.mark.parametrize(
    ("line", "key", "limit"),
    [
        ('{"action": "NEW", "client_order_id": "N1", "prise": "1"}', "prise", "is unknown: may be time, action"),
        ('{"quantity": 1, "quantity": 100}', "quantity", "is there twice"),
    ],
)  # fmt: skip
def test_a_key_that_is_unknown_or_there_twice_is_named(line: str, key: str, limit: str) -> None:
    good = '{"time": "x", "action":"CANCEL","client_order_id":"C1","orig_client_order_id":"N1"}\n'
    found, (error,) = read(f"{good}{line}\n{good}")
    assert (len(found), error.line, error.field, error.value) == (2, 2, "key", key)
    assert error.limit.startswith(limit)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_what_is_no_number_of_fix_is_none_in_csv_and_json_either(number: str) -> None:
    keys = {"action": "NEW", "client_order_id": "N1", "symbol": "AAPL", "side": "BUY", "quantity": "1"}
    first = '{"action":"CANCEL","client_order_id":"C1","orig_client_order_id":"N1"}\n'
    for field in ("quantity", "price"):
        row = {**dict.fromkeys(COLUMNS, ""), **keys, field: number}
        (error,) = read_rows(",".join(["x", *row.values()]))[1]
        assert (error.field, error.value) == (field, number)
        assert "must be a decimal number" in error.limit
        assert read(first + json.dumps({**keys, field: number}))[1] == [error]


def test_a_json_number_is_held_to_the_same_syntax() -> None:
    found, (error,) = read(
        '{"action":"NEW","client_order_id":"N1","symbol":"A","side":"BUY","quantity":10,"price":1.5}\n'
        '{"action":"NEW","client_order_id":"N2","symbol":"A","side":"BUY","quantity":1e3,"price":1.5}\n'
    )
    assert (len(found), error.line, error.field, error.value) == (1, 2, "quantity", "1e3")


@pytest.mark.parametrize("names", ["comment", "Comment,stop"])
def test_an_unknown_column_is_one_clear_error(names: str) -> None:
    with pytest.raises(BadFile, match=r"unknown columns? 'comment'.*: may be time, action, client_order_id"):
        read(f"{HEADER},{names}\n")


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_is_one_clear_error(name: str) -> None:
    header = ",".join(column for column in COLUMNS if column != name)
    with pytest.raises(BadFile, match=f"missing column {name}: the header must name action, client_order_id"):
        read(f"{header}\n1,2,3\n")


@pytest.mark.parametrize("data", [b"", b"\n\n", b'"abc\n', b"\x00\xff\xfe"])
def test_what_is_no_order_file_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(BadFile):
        read(data)


def test_a_line_without_end_costs_no_memory_and_the_next_line_keeps_its_number() -> None:
    good = "x,NEW,A,,AAPL,BUY,18,585.33,LIMIT,DAY\n"
    found, (error,) = read(f"{HEADER}\n{'x' * 1_000_000}\n{good}z\n".replace("z\n", ""))
    assert (len(found), error.line) == (1, 2)


def test_what_a_pipe_has_so_far_is_read_without_waiting_for_its_end() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as source, open(writer, "wb", buffering=0) as sink:
        sink.write(f"{HEADER}\nx,NEW,A,,AAPL,BUY,18,585.33,LIMIT,DAY\nx,NEW,B".encode())
        batches = orders_file.read(source)
        assert next(batches).requests == 1
        sink.write(b",,AAPL,BUY,18,585.33,LIMIT,DAY")
        sink.close()
        assert [batch.requests for batch in batches] == [1]


@given(cells=st.lists(st.lists(st.text(max_size=40), max_size=12), max_size=8), data=st.binary(max_size=300))
def test_no_line_raises_and_every_line_is_accounted_for(cells: list[list[str]], data: bytes) -> None:
    lines = [",".join(row).replace("\n", " ") for row in cells]
    for lead in (HEADER.encode(), b'{"action":"CANCEL","client_order_id":"C1","orig_client_order_id":"N1"}'):
        text = lead + b"\n" + "\n".join(lines).encode("utf-8", "replace") + b"\n" + data
        found, errors = read(text)
        rest = text.split(b"\n")[1 if lead.startswith(b"time") else 0 :]
        blank = sum(not line.decode("utf-8", "surrogateescape").strip() for line in rest)
        assert len(found) + len(errors) == len(rest) - blank


def test_a_number_that_repeats_is_remembered_only_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_file, "_CACHE_MAX", 4)
    rows = [f"x,NEW,A{n},,AAPL,BUY,{n + 1},{n + 1}.5,LIMIT,DAY" for n in range(20)]
    found, errors = read_rows(*rows)
    quantities: list[Any] = [record.REQUEST.unpack(each)[15] // 10**8 for each in found]
    assert (quantities, errors) == (list(range(1, 21)), [])
