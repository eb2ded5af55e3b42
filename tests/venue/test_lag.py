"""A member that does not read its reports: its requests wait in their ring, and the venue sleeps meanwhile."""

from __future__ import annotations

from pathlib import Path
from time import monotonic_ns

import pytest

from oms_actors.actors.venue import RETRY_NS
from oms_actors.messages import NewOrder, ResponseType
from tests.venue.desk import Bench, Client, intent

RING_BYTES = 1 << 20
FRAME = 100


def test_a_venue_whose_member_lags_is_not_ready_until_the_member_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms_actors.actors.venue.LAG_REPORTS_MAX", 500)
    bench = Bench(tmp_path)
    client = Client(bench, "desk", report_bytes=RING_BYTES)
    sent = 0
    for _ in range(60):
        orders = (NewOrder(client_order_id=f"N{sent + i}", symbol="X", side="BUY", quantity=1, price=1)
                  for i in range(FRAME))  # fmt: skip
        client.adapter.send_records(b"".join(map(intent, orders)), FRAME)
        sent += FRAME
        bench.work(1)
    assert bench.counters()["new"] < sent
    (port,) = bench.role._ports.open.values()
    assert port.ready()
    assert not bench.role.ready()
    assert 0 < bench.role.next_due_ns() <= monotonic_ns() + RETRY_NS
    told = []
    for _ in range(20):
        told += client.told()
    assert bench.counters()["new"] == sent
    assert [report.client_order_id for report in told if report.type == ResponseType.FILL] == [
        f"N{i}" for i in range(sent)
    ]
    bench.role.stop()
