"""A sender killed inside a call that hands over several orders: what its successor makes of the cursor."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.roles import resolve

from ipc.ring import RingReader
from oms_actors.core.batches import Batches
from oms_actors.core.pending import SenderSettings
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.edges.send_cursor import SendCursor
from oms_actors.edges.venue_link import VenueAdapter
from oms_actors.messages import NewOrder
from oms_actors.record import encode

FIRST, LAST, POSITION = 5, 9, 4096


def dead_sender(folder: Path, *, returned: bool = False) -> SendCursor:
    """Killed inside the call for the INTENTs 5 … 9, or just behind it."""
    (folder / "data" / "journal").mkdir(parents=True)
    cursor = SendCursor(resolve(folder))
    cursor.trust()
    cursor.enter_batch(FIRST, LAST, POSITION)
    if returned:
        cursor.words[1] = 2 * LAST + 1
    return SendCursor(resolve(folder))


@pytest.mark.parametrize(("left", "expected"), [(True, 2 * LAST + 1), (False, 2 * (FIRST - 1) + 1), (None, 2 * FIRST)])
def test_the_link_decides_whether_the_batch_has_left(tmp_path: Path, left: bool | None, expected: int) -> None:
    asked = []

    def has_left(position: int) -> bool | None:
        asked.append(position)
        return left

    assert dead_sender(tmp_path).settled(has_left) == (expected, LAST)
    assert asked == [POSITION]


def test_nobody_is_asked_about_a_call_that_came_back(tmp_path: Path) -> None:
    cursor = dead_sender(tmp_path, returned=True)
    assert cursor.settled(lambda position: pytest.fail("asked"))[0] == 2 * LAST + 1


def test_a_single_call_later_does_not_look_like_the_batch_before_it(tmp_path: Path) -> None:
    cursor = dead_sender(tmp_path, returned=True)
    cursor.words[1] = 2 * (LAST + 1)
    again = SendCursor(resolve(tmp_path))
    assert again.settled(lambda position: pytest.fail("asked")) == (2 * (LAST + 1), LAST + 1)


@pytest.mark.parametrize(
    ("cursor", "in_call", "sent", "waiting", "doubtful"),
    [(2 * 20 + 1, 20, 20, 0, 0), (1, 20, 0, 20, 0), (2, 20, 0, 0, 20), (2, 12, 0, 8, 12), (2 * 5, 12, 4, 8, 8)],
)
def test_what_was_in_the_call_is_sent_waits_or_is_doubtful(
    cursor: int, in_call: int, sent: int, waiting: int, doubtful: int
) -> None:
    core = Batches(SenderSettings(), Throttle(ThrottleLimit(rate=1000)))
    core.begin(1, 1)
    records = [bytearray(encode(NewOrder(client_order_id=f"A{i}", symbol="X", side="BUY", quantity=1, price=1)))
               for i in range(20)]  # fmt: skip
    for number, record in enumerate(records, 1):
        record[184:192] = number.to_bytes(8, "little")
    core.take(b"".join(records))
    core.release(100)
    payload, _ = core.taken()
    heir = Batches(SenderSettings(), Throttle(ThrottleLimit(rate=1000)))
    heir.begin(2, 2)
    heir.replay(payload, [bytes(record) for record in records])
    heir.recover(cursor, None, in_call)
    assert (heir.waiting, heir.doubtful, 20 - heir.waiting - heir.doubtful) == (waiting, doubtful, sent)


def test_the_venue_link_knows_what_has_left_also_after_a_restart(tmp_path: Path) -> None:
    adapter = VenueAdapter(str(tmp_path), request_bytes=64 << 10, report_bytes=64 << 10)
    adapter.connect(lambda response: None)
    before = adapter.position
    adapter.send_records(bytes(192 * 3), 3)
    after = adapter.position
    adapter.close()
    heir = VenueAdapter(str(tmp_path))
    assert (heir.has_left(before), heir.has_left(after), heir.has_left(after + 4096)) == (True, False, None)
    assert VenueAdapter(str(tmp_path / "none")).has_left(0) is None


def test_the_venue_link_has_room_for_what_it_says(tmp_path: Path) -> None:
    adapter = VenueAdapter(str(tmp_path), request_bytes=64 << 10, report_bytes=64 << 10)
    assert adapter.room() == 0
    adapter.connect(lambda response: None)
    rounds = 0
    while room := adapter.room():
        adapter.send_records(bytes(192 * room), room)
        rounds += 1
    assert rounds > 1
    assert adapter._client is not None
    reader = RingReader(adapter._client.requests._view, "requests")
    reader.peek_many(1 << 20)
    reader.commit()
    assert adapter.room() > 0
