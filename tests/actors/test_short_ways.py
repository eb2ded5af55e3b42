"""An order that comes alone takes a shorter way through intake and the sender: the same records, reports and calls."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from time import monotonic_ns
from typing import Any

import pytest

from bench.adapters import NullVenue
from bench.rig import Rig, rig
from oms_actors.actors.intake import IntakeRole
from oms_actors.actors.sender import POLL_NS, SenderRole
from oms_actors.config import ThrottleConfig
from oms_actors.core.hours import CLOSED, FOREVER_NS, SessionState
from oms_actors.core.throttle import NEVER_NS
from oms_actors.edges import journals
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import frames
from oms_actors.edges.session_page import SessionView, SessionWriter
from oms_actors.errors import NotSent
from oms_actors.messages import CancelOrder, Kind, ModifyOrder, NewOrder, Request
from oms_actors.record import encode, records
from oms_actors.upstream import Upstream

REQUESTS = 120
THROTTLE = ThrottleConfig(rate=100_000)
"""What is shown of it is out of date after a second only: a slow machine takes the short way, too."""


def day(seed: int) -> Iterator[list[bytes]]:
    """What comes at once: mostly one plain order, now and then several, a change, something that is refused."""
    dice, sent = Random(seed), 0

    def request() -> Request:
        own, chance = f"o-{sent}", dice.random()
        if sent and chance < 0.1:
            orig = f"o-{dice.randrange(sent)}"
            return dice.choice((
                CancelOrder(client_order_id=own, orig_client_order_id=orig),
                ModifyOrder(client_order_id=own, orig_client_order_id=orig, quantity=7),
            ))  # fmt: skip
        name = f"o-{sent - 1}" if sent and chance < 0.15 else own  # an id that is known
        account = dice.choice(("", "", "ACC"))
        return NewOrder(client_order_id=name, symbol="AAPL", side=dice.choice(("BUY", "SELL")), quantity=5,
                        price=None if chance > 0.95 else "7", account=account,
                        order_type="MARKET" if chance > 0.95 else "LIMIT")  # fmt: skip

    while sent < REQUESTS:
        frame = []
        for _ in range(3 if dice.random() < 0.1 else 1):
            record = bytearray(encode(request()))
            if dice.random() < 0.03:
                record[168] = 255  # no symbol that could be printed
            frame.append(bytes(record))
            sent += 1
        yield frame


def timeless(record: bytes) -> bytes:
    """Without what the clock says."""
    kind = record[0]
    if kind == Kind.RESULT:
        return record[:16]
    return record[:32] + record[48:] if kind < Kind.REPORT or kind == Kind.REPORT else record[:8]


def run(made: Rig, seed: int) -> dict[str, list[bytes]]:
    """Everything that is left behind by a day."""
    told: list[bytes] = []
    for frame in day(seed):
        made.upstream.submit_records(b"".join(frame))
        for role in (made.intake, made.sender):
            if role.ready():
                role.work()
        made.settle()
        for reports in made.upstream.raw_reports():
            told += [timeless(reports[at : at + 256]) for at in range(0, len(reports), 256)]
    made.sender._flush()
    folder = OsDisk(journals.folder(made.resolved))
    found = {
        role: [timeless(record) for frame in frames(folder, role) for record in records(frame.payload)
               if record[0] not in (Kind.SESSION, Kind.UPSTREAM)]
        for role in (journals.INTAKE, journals.SENDER)
    }  # fmt: skip
    core = made.sender.core
    return {**found, "told": told, "state": [repr(core.state()[1:-3]).encode()],
            "counters": [f"{name} {made.sender.page[name]}".encode() for name in ("sent", "received", "responses")],
            "accepted": [b"%d" % made.intake.page["accepted"]]}  # fmt: skip


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("seed", range(3))
def test_short_or_long_the_same_comes_of_it(
    seed: int, durability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {"intake": 0, "sender": 0}
    take_one, pass_on = IntakeRole._take_one, SenderRole._pass_on

    def counted(name: str, way: Any) -> Any:
        def called(*arguments: Any) -> bool:
            done: bool = way(*arguments)
            took[name] += done
            return done

        return called

    with monkeypatch.context() as patched:
        patched.setattr(IntakeRole, "_take_one", counted("intake", take_one))
        patched.setattr(SenderRole, "_pass_on", counted("sender", pass_on))
        with rig(tmp_path, durability, throttle=THROTTLE) as made:
            short = run(made, seed)
    with monkeypatch.context() as patched:
        patched.setattr(IntakeRole, "_take_one", lambda self, now: False)
        patched.setattr(SenderRole, "_pass_on", lambda self: False)
        with rig(tmp_path, durability, throttle=THROTTLE) as made:
            long = run(made, seed)
    assert short == long
    assert took["intake"] > REQUESTS / 2, "the short way must have been taken"
    assert took["sender"] > REQUESTS / 2


def test_an_upstream_announces_to_a_sender_that_sleeps(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        flag = made.sender.context.bell.flag
        flag[0] = 1
        made.upstream.submit(NewOrder(client_order_id="a", symbol="AAPL", side="BUY", quantity=1, price="1"))
        assert flag[0] == 0


def test_an_upstream_that_came_before_the_sender_gets_on_without_announcing(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        (made.runtime / "sender.bell").unlink()
        with Upstream.attach("rig", "early") as early:
            early.submit(NewOrder(client_order_id="a", symbol="AAPL", side="BUY", quantity=1, price="1"))
            made.settle()
            assert early.raw_reports()


# -- what may have changed since the last cycle ------------------------------------------------------------------------


class Moody(NullVenue):
    """Notes what it was called for, and raises what it was told to, once."""

    deduplicates = False
    moods: list[Exception]
    sent: list[bytes]

    def __init__(self) -> None:
        super().__init__()
        self.moods, self.sent = [], []

    def send_record(self, intent: bytes) -> None:
        if not self.connected:
            raise AssertionError("called without a connection")
        self.sent.append(intent)
        if self.moods:
            raise self.moods.pop()
        super().send_record(intent)

    def connect(self, on_response: Callable[[Any], None]) -> None:
        self.connected = True
        super().connect(on_response)

    def close(self) -> None:
        self.connected = False
        super().close()


class Silent(Moody):
    """Nobody can ask it whether there is something to poll."""

    polls = 0

    def poll(self) -> None:
        self.polls += 1
        super().poll()


@pytest.fixture
def moody(tmp_path: Path) -> Iterator[Rig]:
    """A desk at which orders have been sent the short way."""
    with rig(tmp_path, adapter=f"{__name__}:Moody", throttle=THROTTLE) as made:
        for number in range(3):
            comes(made, f"first-{number}")
            made.settle()
        assert made.sender._free_until_ns
        made.sender._free_until_ns = NEVER_NS  # however slow this machine is
        yield made


def comes(made: Rig, own: str) -> None:
    """An order, as far as the ring to the sender."""
    made.upstream.submit(NewOrder(client_order_id=own, symbol="AAPL", side="BUY", quantity=5, price="7"))
    made.intake.work()


def venue(made: Rig) -> Any:
    return made.sender.caller.adapter


def test_after_a_call_that_lost_the_connection_nothing_passes(moody: Rig) -> None:
    venue(moody).moods.append(ConnectionResetError("gone"))
    comes(moody, "a")
    assert moody.sender._pass_on()
    comes(moody, "b")
    assert not moody.sender._pass_on(), "there is no connection"
    assert len(venue(moody).sent) == 4


@pytest.mark.parametrize("mood", [NotSent("no"), ConnectionResetError("gone")])
def test_what_a_call_led_to_is_told_with_a_ring(moody: Rig, mood: Exception) -> None:
    core, flag = moody.sender.core, moody.intake.context.bell.flag
    core.settings = replace(core.settings, retries=0)
    venue(moody).moods.append(mood)
    comes(moody, "a")
    assert moody.sender._pass_on()
    comes(moody, "b")
    flag[0] = 1
    moody.sender.work()
    assert not flag[0], "intake sleeps on what it is to tell"


def test_a_doubt_has_a_timer_of_its_own(moody: Rig) -> None:
    venue(moody).moods.append(ValueError("who knows"))
    comes(moody, "a")
    assert moody.sender._pass_on()
    assert moody.sender.core.doubtful
    comes(moody, "b")
    assert not moody.sender._pass_on(), "nobody has looked yet when the doubt is to be looked at"


def test_hours_that_were_seen_but_not_heeded_hold_an_order_up(moody: Rig) -> None:
    sender = moody.sender
    comes(moody, "a")
    SessionWriter(sender.view._path).publish(CLOSED, 2)
    sender.next_due_ns()  # as the shell asks before it sleeps
    assert sender.ready(), "there is something to heed"
    sender.work()
    assert len(venue(moody).sent) == 3, "it has closed"


def test_a_full_disk_holds_up_what_comes_alone_too(moody: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    sender, journal = moody.sender, moody.sender.journal

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(type(journal.disk), "create", full)
        patched.setattr(journal, "_end", journal.offset + 1000)
        patched.setattr(sender, "_free_offset", 0)  # as the last cycle would have found
        for number in range(5):
            comes(moody, f"full-{number}")
            sender.work()
        assert sender.page["disk_full"] == 1
        assert len(venue(moody).sent) == 3, "nothing is sent that the journal may have no room for"
    sender._full_until_ns = 1
    sender.work()
    assert len(venue(moody).sent) == 8


def test_an_exchange_that_cannot_be_asked_is_polled_with_each_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(NullVenue, "ready")
    with rig(tmp_path, adapter=f"{__name__}:Silent") as made:
        comes(made, "a")
        made.sender.work()
        comes(made, "b")
        polls = venue(made).polls
        made.sender.work()
        assert venue(made).polls > polls


def test_an_exchange_that_does_not_ring_is_polled_in_time(moody: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = moody.sender
    monkeypatch.setattr("oms_actors.actors.sender.RESULTS_WAIT_NS", 10_000_000_000)

    def due_ns() -> int:
        sender._shown_until_ns = 0
        return sender.next_due_ns()

    sender._cycle(stopping=False)
    before_ns, sender._free_until_ns = due_ns(), NEVER_NS
    comes(moody, "a")
    assert sender._pass_on()
    assert due_ns() <= before_ns


def test_however_many_come_alone_there_is_a_cycle_in_between_now_and_then(moody: Rig) -> None:
    comes(moody, "a")
    assert moody.sender._pass_on()
    assert moody.sender._free_until_ns <= monotonic_ns() + POLL_NS, "a silent exchange would not be polled meanwhile"


def test_nothing_is_taken_before_the_hours_are_known(moody: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    intake = moody.intake
    monkeypatch.setattr(intake, "view", SessionView(moody.runtime / "not-yet"))
    monkeypatch.setattr(intake, "_hours", None)  # as in the beginning
    intake.core.rules = replace(intake.core.rules, refused_while_closed=frozenset())
    comes(moody, "a")
    assert intake.page["accepted"] == 3


def published_in_a_cycle(made: Rig, monkeypatch: pytest.MonkeyPatch, state: SessionState) -> None:
    """A cycle of two orders, and the scheduler publishes between its look at the hours and its decision."""
    intake = made.intake
    take = intake.upstreams.take

    def taking(max_bytes: int) -> Any:
        SessionWriter(intake.view._path).publish(state, monotonic_ns())
        return take(max_bytes)

    with monkeypatch.context() as patched:
        patched.setattr(intake.upstreams, "take", taking)
        patched.setattr(intake, "_tick_ns", NEVER_NS)
        for own in ("together-1", "together-2"):
            made.upstream.submit(NewOrder(client_order_id=own, symbol="AAPL", side="BUY", quantity=5, price="7"))
        intake.work()


def test_hours_that_end_inside_a_cycle_hold_for_the_next_order(moody: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    published_in_a_cycle(moody, monkeypatch, CLOSED)
    before = moody.intake.page["accepted"]
    comes(moody, "late")
    assert (moody.intake.page["accepted"], moody.intake.page["rejected"]) == (before, 1)


def test_a_trade_date_that_begins_inside_a_cycle_is_that_of_the_next_order(
    moody: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    SessionWriter(moody.intake.view._path).publish(SessionState(1, 20990101, 0, FOREVER_NS, 0), monotonic_ns())
    moody.intake.work()
    published_in_a_cycle(moody, monkeypatch, SessionState(1, 20990102, 0, FOREVER_NS, 0))
    comes(moody, "tomorrow's")
    assert moody.intake.core.trade_date == 20990102
    assert {key[16:].rstrip(b"\0") for key in moody.intake.core.ids} == {b"tomorrow's"}


def test_small_segments_do_not_keep_an_order_from_the_shortest_way(
    moody: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = moody.sender
    monkeypatch.setattr(sender.journal, "_segment_bytes", 4 << 20)
    monkeypatch.setattr(sender.journal, "_end", sender.journal.offset + (2 << 20))
    sender.journal.prepare()
    sender._cycle(stopping=False)
    comes(moody, "a")
    assert sender._free_offset < sender.journal.offset
    assert sender._pass_on()
