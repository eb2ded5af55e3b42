"""Where only the sender's own pace is the limit, requests wait in intake's journal and not in a line of a million."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import Tally, encoded
from bench.rig import rig
from ipc.ring import create_ring
from oms_actors.actors.sender import MANY, RELEASE_MAX
from oms_actors.config import ThrottleConfig
from oms_actors.record import REQUEST_BYTES

ORDERS, FRAME = 40_960, 512
RING_BYTES = 1 << 20


def test_the_line_stays_short_while_everything_in_it_goes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.rig.create_ring", lambda path, size: create_ring(path, RING_BYTES))
    with rig(tmp_path) as made:
        requests, tally = memoryview(encoded("up-", 1, ORDERS)), Tally()
        for at in range(0, len(requests), FRAME * REQUEST_BYTES):
            if at == len(requests) // 8 * 7:  # the ring is full: between what it has and the next hints is a wide gap
                made.sender.work()
            made.upstream.submit_records(requests[at : at + FRAME * REQUEST_BYTES])
            made.intake.work()
            tally.take(made.upstream.raw_reports(0))
        longest = 0
        while made.sender.ready():
            made.sender.work()
            longest = max(longest, made.sender.core.waiting)
            made.intake.work()
            tally.take(made.upstream.raw_reports(0))
        assert made.sender.page["sent"] == ORDERS
        assert made.sender.feed.gaps > 0
        assert longest < RELEASE_MAX
        made.settle()
        tally.take(made.upstream.raw_reports(0))
        assert tally.named() == {"NEW": ORDERS, "PENDING_NEW": ORDERS}


def test_the_sender_comes_first_but_not_in_a_flood(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        sender, asked = made.sender, []
        sender._first = sender._may_be_first = True
        sender.context.real_time = lambda yes: asked.append(yes) is None
        made.upstream.submit_records(encoded("up-", 1, MANY))
        made.intake.work()
        sender.work()
        assert (sender.page["sent"], asked) == (MANY, [False])
        sender._flood_until_ns = 0
        made.upstream.submit_records(encoded("up-", MANY + 1, 1))
        made.settle()
        assert asked == [False, True]


def test_while_orders_wait_for_tokens_it_comes_first_in_any_case(tmp_path: Path) -> None:
    with rig(tmp_path, throttle=ThrottleConfig(rate=MANY, per_ms=3_600_000)) as made:
        sender, asked = made.sender, []
        sender._first = sender._may_be_first = True
        sender.context.real_time = lambda yes: asked.append(yes) is None
        made.upstream.submit_records(encoded("up-", 1, 3 * MANY))
        made.settle()
        assert (sender.page["sent"], asked) == (MANY, [])


def test_where_it_is_not_permitted_it_is_asked_for_once(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        asked: list[bool] = []
        made.sender._may_be_first, made.sender.context.real_time = True, lambda yes: bool(asked.append(yes))
        for first in range(1, 4):
            made.upstream.submit_records(encoded("up-", first, 1))
            made.settle()
        assert asked == [True]
