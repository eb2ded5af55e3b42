"""Doubts where the exchange can be asked and recognises an order, through real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oms_actors.messages import ExecType, OrdStatus
from tests.rules.desk import Client, Desk, desk

pytestmark = pytest.mark.process
SETTINGS = """
ack_timeout_ms = 300
query_settle_ms = 50
query_interval_ms = 50
query_attempts = 2
"""


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("asking"), SETTINGS, adapter="tests.rules.exchange:Asked") as running:
        yield running


def history(found: Desk, name: str) -> list[tuple[str, str]]:
    return [(call.what, call.resend) for call in found.calls if call.client_order_id == name]


def test_an_order_without_an_answer_is_asked_about_and_works_if_the_exchange_has_it(asking: Desk) -> None:
    with Client("unanswered") as client:
        client.new("M", symbol="MUTE")
        doubt = client.told(lambda report: report.exec_type is ExecType.IN_DOUBT)
        assert (doubt.ord_status, doubt.final) == (OrdStatus.IN_DOUBT, False)
        assert client.final("M").ord_status is OrdStatus.NEW
    assert history(asking, "M") == [("send", ""), ("query", "")]


def test_an_order_that_the_exchange_does_not_know_goes_out_again_marked_and_under_the_same_id(asking: Desk) -> None:
    with Client("torn") as client:
        client.new("T", symbol="TORN")
        assert client.final("T").exec_type is ExecType.NEW
        assert [report.exec_type for report in client.reports] == [
            ExecType.PENDING_NEW, ExecType.IN_DOUBT, ExecType.ORDER_STATUS, ExecType.ORDER_STATUS, ExecType.NEW
        ]  # fmt: skip
    assert history(asking, "T") == [("send", ""), ("query", ""), ("query", ""), ("send", "again")]
