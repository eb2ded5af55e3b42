"""Where only the sender's own pace is the limit, requests wait in intake's journal and not in a line of a million."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import Tally, encoded
from bench.rig import rig
from ipc.ring import create_ring
from oms_actors.actors.sender import RELEASE_MAX
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
