"""The venue as a real process, killed for real."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oms_actors.config import Config, DeskConfig, Resolved, VenueConfig
from oms_actors.core.controls import encode_session
from oms_actors.core.venue import Venue
from oms_actors.edges.venue_link import VenueAdapter
from oms_actors.edges.venue_past import VenuePast, make_model
from oms_actors.errors import NotSent
from oms_actors.messages import Kind, ResponseType, SessionEvent
from tests.support.roles import resolve
from tests.venue.desk import intent
from tests.venue.test_match import flow

pytestmark = pytest.mark.process
REQUESTS = 6_000


def start(resolved: Resolved) -> subprocess.Popen[bytes]:
    environment = os.environ | {"RUNTIME_DIR": resolved.runtime_dir, "OMS_LOG_LEVEL": "ERROR"}
    return subprocess.Popen([sys.executable, "-m", "oms_actors.actors.venue"], env=environment)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


class Session:
    """A client that keeps the answers by type."""

    def __init__(self, resolved: Resolved) -> None:
        self.adapter = VenueAdapter(f"{resolved.runtime_dir}/venue", "one")
        self.types: list[int] = []
        self.seen: set[bytes] = set()
        self.adapter.on_records = self._keep
        self.adapter.connect(lambda response: None)

    def _keep(self, frame: bytes) -> None:
        for at in range(0, len(frame), 256):
            report = frame[at : at + 256]
            if report[0] == Kind.REPORT and report[8:16] not in self.seen:  # the number: known, if it came before
                self.seen.add(report[8:16])
                self.types.append(report[7])

    def send(self, frame: bytes, count: int) -> None:
        while True:
            self.adapter.poll()
            try:
                self.adapter.send_records(frame, count)
                return
            except NotSent:
                time.sleep(0.001)

    def answers(self, wanted: int) -> bool:
        self.adapter.poll()
        return len(self.types) >= wanted


@pytest.fixture
def resolved(tmp_path: Path) -> Resolved:
    venue = VenueConfig(model="match", latency_us=0, snapshot_interval_sec=1)
    return resolve(tmp_path, Config(desk=DeskConfig(segment_bytes=1 << 20), venue=venue))


def test_killed_over_and_over_it_ends_where_a_venue_ends_that_never_was(resolved: Resolved) -> None:
    rng = random.Random(11)
    frames = [b"".join(intent(flow(rng, n)) for n in range(at, at + 20)) for at in range(0, REQUESTS, 20)]
    reference = Venue(make_model(resolved.config.venue))
    reference.step("one", encode_session(SessionEvent.CONNECTED, "one"), 1)
    reference.step("one", encode_session(SessionEvent.LOGGED_ON, "me"), 1)
    for frame in frames:
        reference.step("one", frame, 1)
    expected = sum(len(speaker.out) for speaker in reference.speakers())
    process = start(resolved)
    try:
        session = Session(resolved)
        session.adapter.send_logon("me", "")
        for number, frame in enumerate(frames):
            session.send(frame, 20)
            if number % 50 == 25:
                until(lambda: session.answers(number), "some answers")  # noqa: B023
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = start(resolved)
        until(lambda: session.answers(expected), "an answer to every request")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert len(session.types) == expected
    assert session.types.count(ResponseType.FILL) == reference.model.counts.fills > 500
    assert reference.model.counts.duplicates == 0
    assert recovered(resolved).state_hash() == reference.state_hash()


def recovered(resolved: Resolved) -> Venue:
    """What the files say."""
    venue = Venue(make_model(resolved.config.venue))
    journal = VenuePast(resolved)
    snapshot = journal.load()
    assert snapshot is not None
    venue.load(snapshot.venue)
    for inputs in journal.replay():
        for given in inputs:
            venue.step(given.link, given.frame, given.time_ns)
    return venue
