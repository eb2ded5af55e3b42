"""`oms send` and `oms order` against an intake that answers."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oms_actors.errors import Reason
from oms_actors.messages import Kind
from oms_actors.record import AT_CLIENT_ORDER_ID, AT_ORIG, text
from tests.cli.fake_desk import RING_BYTES, FakeDesk

if TYPE_CHECKING:
    from tests.cli.conftest import Oms

HEADER = "time,action,client_order_id,orig_client_order_id,symbol,side,quantity,price,order_type,time_in_force\n"


def orders(*ids: str) -> str:
    return HEADER + "".join(f"x,NEW,{id_},,AAPL,BUY,18,585.33,LIMIT,DAY\n" for id_ in ids)


def ids(desk: FakeDesk) -> list[str]:
    return [text(request[AT_CLIENT_ORDER_ID:AT_ORIG]) for request in desk.requests]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "runtime"


def test_every_line_is_sent_and_its_first_answer_waited_for(oms: Oms, base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(orders("A", "B", "C"))
    with FakeDesk(base, finish=False) as desk:
        ended = oms("send", "a.csv", "--json")
    assert ended.code == 0
    assert ids(desk) == ["A", "B", "C"]
    document = ended.document
    assert (document["submitted"], document["accepted"], document["rejected"]) == (3, 3, 0)
    assert document["seconds"] >= 0


def test_until_done_waits_for_the_final_answers(oms: Oms, base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(orders("A", "B", "C"))
    with FakeDesk(base):
        document = oms("send", "a.csv", "--until-done", "--json").document
    assert document["outcomes"] == {"TRADE": 3}


def test_rejects_are_counted_by_reason_and_are_no_failure(oms: Oms, base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(orders("A", "B", "A", "C"))
    with FakeDesk(base, lambda request: Reason.OUT_OF_HOURS if b"B" in request else 0):
        ended = oms("send", "a.csv", "--json")
        again = oms("send", "a.csv")
    assert ended.code == 0
    document = ended.document
    assert (document["submitted"], document["accepted"], document["rejected"]) == (4, 2, 2)
    assert document["rejects_by_reason"] == {"OUT_OF_HOURS": 1, "DUPLICATE_CLIENT_ORDER_ID": 1}
    assert "DUPLICATE_CLIENT_ORDER_ID" in again.out


def test_a_bad_line_is_named_and_the_rest_goes_through(oms: Oms, base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(orders("A") + "x,NEW,B,,AAPL,BUY,-1,1,LIMIT,DAY\n" + orders("C").split("\n", 1)[1])
    with FakeDesk(base) as desk:
        ended = oms("send", "a.csv", "--json")
    assert (ended.code, ids(desk)) == (1, ["A", "C"])
    assert "line 3: quantity: '-1': must be greater than zero" in ended.err
    document = ended.document
    assert (document["submitted"], document["accepted"], document["malformed"]) == (2, 2, 1)
    assert document["errors"] == [
        {"line": 3, "field": "quantity", "value": "-1", "limit": "must be greater than zero"}
    ]


def test_more_than_the_rings_hold_goes_through_all_the_same(oms: Oms, base: Path, tmp_path: Path) -> None:
    names = [f"N{n}" for n in range(1_000)]
    assert len(names) * 192 > 10 * RING_BYTES
    (tmp_path / "a.csv").write_text(orders(*names))
    with FakeDesk(base) as desk:
        document = oms("send", "a.csv", "--until-done", "--json").document
    assert (document["submitted"], document["accepted"], document["unanswered"]) == (1_000, 1_000, 0)
    assert ids(desk) == names


def test_json_lines_come_from_stdin_too(oms: Oms, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.write(writer, b'{"action": "CANCEL", "client_order_id": "C", "orig_client_order_id": "A"}\n')
    os.close(writer)
    with open(reader, "rb") as pipe, FakeDesk(base) as desk:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        assert oms("send", "-").code == 0
    assert [request[0] for request in desk.requests] == [Kind.CANCEL]


def test_a_timeout_ends_the_wait_and_says_how_many_have_no_answer(oms: Oms, base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(orders("A", "B"))
    with FakeDesk(base, finish=False):
        ended = oms("send", "a.csv", "--until-done", "--timeout", "0.2", "--json")
    assert ended.code == 1
    assert "2 requests have no answer yet" in ended.err
    assert ended.document["unanswered"] == 2


def test_a_desk_that_ends_meanwhile_ends_the_wait(oms: Oms, base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(orders("A", "B"))
    with FakeDesk(base, finish=False) as desk:
        desk._decide = lambda request: desk.leave() or 0  # type: ignore[func-returns-value]
        ended = oms("send", "a.csv", "--until-done", "--json")
    assert ended.code == 1
    assert "no desk runs" in ended.err
    assert ended.document["submitted"] == 2
    assert "no desk runs" in ended.document["error"]


@pytest.mark.parametrize(
    ("content", "words"), [("", "the file is empty"), ("action,symbol\n", "missing columns client_order_id")]
)
def test_a_file_that_is_no_order_file_is_one_clear_error(
    oms: Oms, base: Path, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with FakeDesk(base):
        ended = oms("send", "a.csv", "--json")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert words in ended.err
    assert words in ended.document["error"]


def test_a_file_that_is_not_there_is_said(oms: Oms) -> None:
    assert "none.csv: no such file" in oms("send", "none.csv").err


# -- oms order --------------------------------------------------------------------------------------------------------


def test_one_order_shows_its_reports_until_the_final_one(oms: Oms, base: Path) -> None:
    with FakeDesk(base) as desk:
        ended = oms("order", "new", "AAPL", "buy", "100", "585.33", "--id", "A-1", "--wait", "30")
    assert ended.code == 0
    assert ids(desk) == ["A-1"]
    assert [line.split()[:2] for line in ended.out.splitlines()] == [["PENDING_NEW", "A-1"], ["TRADE", "A-1"]]


def test_one_order_for_machines(oms: Oms, base: Path) -> None:
    with FakeDesk(base, lambda request: Reason.OUT_OF_HOURS):
        ended = oms("order", "new", "AAPL", "BUY", "100", "--id", "A-1", "--wait", "30", "--json")
    assert ended.code == 1
    document = ended.document
    assert (document["accepted"], document["final"]) == (False, True)
    assert document["reports"][0]["exec_type"] == "REJECTED"
    assert "outside trading hours" in document["reports"][0]["reason_text"]


def test_modify_and_cancel_name_the_order(oms: Oms, base: Path) -> None:
    with FakeDesk(base) as desk:
        assert oms("order", "modify", "A-1", "--price", "5", "--wait", "30").code == 0
        assert oms("order", "cancel", "A-1", "--wait", "30").code == 0
    assert [request[0] for request in desk.requests] == [Kind.MODIFY, Kind.CANCEL]
    assert all(text(request[AT_ORIG : AT_ORIG + 36]) == "A-1" for request in desk.requests)
    assert len(set(ids(desk))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("AAPL", "HOLD", "1", "1"), "side: 'HOLD': must be one of BUY, SELL"),
        (("AAPL", "BUY", "NaN", "1"), "quantity: 'NaN'"),
        (("AAPL", "BUY", "1", "1", "--id", "x" * 37), "client_order_id"),
    ],
)
def test_a_value_that_cannot_be_is_a_usage_error(oms: Oms, base: Path, arguments: Any, words: str) -> None:
    with FakeDesk(base):
        ended = oms("order", "new", *arguments)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert words in ended.err


def test_on_a_terminal_there_is_a_progress_bar(
    oms: Oms, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text(orders("A", "B"))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with FakeDesk(base):
        ended = oms("send", "a.csv")
    assert ended.code == 0
    assert "answered" in ended.err
