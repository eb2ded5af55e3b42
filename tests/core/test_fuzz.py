"""A few days of random records at every door of the cores; `make fuzz` runs a hundred."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oms_actors.core.batches import Batches
from oms_actors.edges.exchange import Responses
from oms_actors.messages import ExchangeResponse, Kind, ResponseType
from oms_actors.record import REPORT_BYTES, records
from tests.core import fuzz
from tests.core.fuzz import Day


@pytest.mark.parametrize("seed", range(1, 7))
def test_random_records_raise_nothing_and_replay_to_the_same_state(seed: int) -> None:
    assert fuzz.fuzz(2_000, seed) >= 2_000


def test_the_fuzzer_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def applies_strangers(self: Batches, frame: bytes) -> None:
        self.trade_date += 1

    monkeypatch.setattr(Batches, "respond_frame", applies_strangers)
    with pytest.raises(RuntimeError, match="an answer about an unknown id has changed something"):
        Day(1).strangers_change_nothing()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=REPORT_BYTES, max_size=REPORT_BYTES), max_size=4), st.binary(max_size=300))
def test_whatever_frame_comes_over_the_link_is_journalled_as_records(parts: list[bytes], tail: bytes) -> None:
    day = Day(1)
    day.responses.on_records(b"".join(parts))
    day.responses.on_records(tail)
    frames = day.responses.drain_frames()
    assert {record[0] for frame in frames for record in records(frame)} <= {Kind.REPORT, Kind.TEXT}
    for frame in frames:
        day.session.respond(frame)
    payload, count = day.sender.taken()
    assert len(list(records(payload))) == count


anything = st.none() | st.text(max_size=50) | st.integers() | st.floats() | st.binary(max_size=40) | st.decimals()


@settings(max_examples=200, deadline=None)
@given(st.builds(
    ExchangeResponse, type=st.sampled_from(ResponseType) | anything, client_order_id=anything, exec_id=anything,
    quantity=anything, price=anything, text=anything, account=anything, order_id=anything, time_ns=anything,
    cum_quantity=anything, ord_status=anything,
) | anything)  # fmt: skip
def test_whatever_an_adapter_hands_over_raises_nothing_and_touches_no_order(response: object) -> None:
    day = Day(1)
    responses = Responses()
    responses.on_response(response)  # type: ignore[arg-type]
    before = day.sender.state()
    for frame in responses.drain_frames():
        day.session.respond(frame)
    assert day.sender.state() == before
