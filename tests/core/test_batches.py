"""Whole frames and one by one: the same records, the same state, whatever is mixed into the stream."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from oms_actors.core.batches import Batches
from oms_actors.core.pairs import FEW
from oms_actors.core.pending import SenderSettings
from oms_actors.core.reports import report
from oms_actors.core.sender import Sender
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.errors import Reason
from oms_actors.messages import CancelOrder, Kind, ModifyOrder, NewOrder, Outcome, ReportFlag, ResponseType
from oms_actors.record import KEY, encode, encode_text, records

MS = 1_000_000
ONE = 10**8
HAS_TEXT = int(ReportFlag.HAS_TEXT)


def expanded(calls: list[Any]) -> list[tuple[int, bytes]]:
    """Calls one by one."""
    found = []
    for sequence, item, frame in calls:
        count = len(item) if isinstance(item, list) else 1
        found += [(sequence + i, bytes(frame[i * 192 : (i + 1) * 192])) for i in range(count)]
    return found


@dataclass
class Side:
    """One of the two cores with its journal."""

    core: Sender
    frames: list[bytes] = field(default_factory=list)

    def flush(self) -> None:
        payload, count = self.core.taken()
        assert count == len(list(records(payload)))
        self.frames.append(payload)

    def call(self, outcome: Outcome, call_ns: int) -> None:
        calls = self.core.calls[:: -1 if outcome == Outcome.NOT_CALLED else 1]
        for sequence, item, _ in calls:
            if isinstance(item, list):
                assert isinstance(self.core, Batches)
                self.core.returned_all(call_ns, call_ns, sequence, item, outcome)
            else:
                self.core.returned(call_ns, call_ns, sequence, item, outcome)
        self.core.calls.clear()

    def view(self) -> tuple[Any, ...]:
        """All that can be seen of it."""
        core = self.core
        return (
            core.state(), core.counters, core.latencies, core.waiting, core.working, core.doubtful,
            sorted(core._intents), sorted(core.alias.items()), len(core.lane), core.throttle.used(core.now),
        )  # fmt: skip


class Pair:
    """The same day, by frames and one by one."""

    def __init__(self, seed: int, rate: int, **changes: Any) -> None:
        settings = replace(SenderSettings(), **changes)
        self.chance = random.Random(seed)
        self.sides = [Side(kind(settings, Throttle(ThrottleLimit(rate=rate)))) for kind in (Batches, Sender)]
        self.now, self.wall, self.admitted = 10**12, 10**18, 0
        self.names: list[tuple[str, str]] = []
        self.requests: list[bytes] = []
        self.sent: list[bytes] = []
        self.executions = 0
        self.prompt = False
        """Is every order filled whole, right behind its acknowledgement?"""

    def frame(self, size: int, odd: float) -> bytes:
        """A frame of intake's journal."""
        parts = []
        for _ in range(size):
            self.admitted += 1
            name, chance = f"N{self.admitted}", self.chance
            account, orig = chance.choice(("", "", "ACC")), ""
            request: Any
            if not self.names or chance.random() >= odd:
                request = NewOrder(client_order_id=name, symbol=chance.choice(("X", "Y")), side="BUY", account=account,
                                   quantity=chance.randrange(1, 9), price=chance.randrange(1, 9))  # fmt: skip
            else:
                orig, account = chance.choice(self.names[-200:])
                request = chance.choice((
                    CancelOrder(client_order_id=name, orig_client_order_id=orig, account=account),
                    ModifyOrder(client_order_id=name, orig_client_order_id=orig, account=account, quantity=5),
                ))  # fmt: skip
            self.names.append((name, account))
            record = bytearray(encode(request))
            record[8:16] = self.admitted.to_bytes(8, "little")
            record[16:20] = chance.randrange(1, 4).to_bytes(4, "little")
            record[40:48] = self.now.to_bytes(8, "little")
            if record[0] == Kind.NEW:
                record[184:192] = self.admitted.to_bytes(8, "little")
            if chance.random() < odd / 4:
                record[28:30] = int(Reason.QUEUE_FULL).to_bytes(2, "little")
            parts.append(bytes(record))
        self.requests += parts
        return b"".join(parts)

    def answers(self, odd: float) -> bytes:
        """What an exchange says to what it has got, in frames; sometimes nonsense."""
        chance, parts = self.chance, []
        for intent in self.sent:
            quantity = int.from_bytes(intent[48:56], "little")
            key = intent[KEY] if chance.random() > odd / 2 else bytes(16) + intent[96:132]
            if chance.random() < odd / 4:
                continue  # never answered
            if chance.random() < odd / 8:
                parts += self.said(key, ResponseType.FILL, 1)  # before its acknowledgement
            kind = ResponseType.ACK
            if chance.random() < odd:
                kind = chance.choice((ResponseType.REJECT, ResponseType.ACK, ResponseType.CANCELED, ResponseType.ACK,
                                      ResponseType.REPLACED, ResponseType.CANCEL_REJECT))  # fmt: skip
            parts += self.said(key, kind, text="no" if chance.random() < odd / 4 else "")
            left = quantity // ONE
            while left > 0 and (self.prompt or chance.random() < 0.8):
                some = chance.randrange(1, left + 1) if not self.prompt and chance.random() < 0.3 else left
                parts += self.said(key, ResponseType.FILL, some)
                left -= some
            if chance.random() < odd / 4:
                parts += parts[-1:] + self.said(key, ResponseType.FILL, chance.choice((0, 1, 9)))
        self.sent = []
        if chance.random() < odd:
            chance.shuffle(parts)
        return b"".join(parts)

    def said(self, key: bytes, kind: ResponseType, quantity: int = 0, text: str = "") -> list[bytes]:
        self.executions += 1
        head = report(
            key=key, exec_type=0, ord_status=0, response_type=kind, last_quantity=quantity * ONE,
            last_price=self.chance.randrange(1, 99) * ONE // 4 if kind != ResponseType.ACK else 0, side=1, epoch=3,
            exec_id=f"e{self.executions}".encode() if kind == ResponseType.FILL else b"", value=self.executions,
            flags=HAS_TEXT if text else 0,
        )  # fmt: skip
        return [head, encode_text(0, text)] if text else [head]

    def cycle(self, requests: int, odd: float) -> None:
        """One cycle of each, and they agree."""
        self.now += self.chance.randrange(1, 400) * MS
        self.wall += 1
        frame = self.frame(requests, odd)
        answers = self.answers(odd) if self.chance.random() < 0.8 else b""
        outcome = Outcome.SENT
        if self.chance.random() < odd:
            outcome = self.chance.choice((Outcome.NOT_SENT, Outcome.FAILED, Outcome.NOT_CALLED))
        limit = self.chance.choice((3, 50, 1000))
        for side in self.sides:
            core = side.core
            core.begin(self.now, self.wall)
            core.latencies.clear()
            core.take(frame)
            if isinstance(core, Batches):
                core.respond_frame(answers)
            else:
                _one_by_one(core, answers)
            core.tick()
            core.release(limit)
        self.compare(outcome)

    def one(self, odd: float) -> bool:
        """A request comes alone, and may pass at once. Has it?"""
        self.now += self.chance.randrange(1, 40) * MS
        self.wall += 1
        frame = self.frame(1, odd)
        passed = False
        for side in self.sides:
            core = side.core
            core.begin(self.now, self.wall)
            core.tick()
            if isinstance(core, Batches) and core.may_pass() and (call := core.pass_on(frame, self.now, self.wall)):
                core.calls.append(call)
                passed = True
                continue
            core.take(frame)
            core.release(1000)
        self.compare(Outcome.SENT)
        return passed

    def compare(self, outcome: Outcome) -> None:
        """Both have decided; now they write and call."""
        for side in self.sides:
            side.flush()
        mine, other = self.sides
        assert mine.frames[-1] == other.frames[-1]
        calls = expanded(mine.core.calls)
        assert calls == expanded(other.core.calls)
        for side in self.sides:
            side.call(outcome, self.now + 5)
        if outcome in (Outcome.SENT, Outcome.FAILED):
            self.sent += [record for _, record in calls]
        assert mine.view() == other.view()


@pytest.mark.parametrize(("rate", "odd"), [(100_000, 0.0), (3, 0.0), (100_000, 0.3), (3, 0.3)])
@pytest.mark.parametrize("crossing", [False, True])
def test_an_order_that_comes_alone_passes_as_it_would_in_line(rate: int, odd: float, crossing: bool) -> None:
    pair = Pair(5, rate, crossing=crossing)
    passed = 0
    for _ in range(30):
        for _ in range(5):
            passed += pair.one(odd)
        pair.cycle(pair.chance.choice((0, 0, 2)), odd)
    assert (passed > 0) is not crossing
    if rate == 3:
        assert passed < 150, "some came while others waited"


def _one_by_one(core: Sender, answers: bytes) -> None:
    at = 0
    while at < len(answers):
        record, text = answers[at : at + 256], None
        if record[5] & HAS_TEXT and at + 256 < len(answers):
            text = answers[at + 256 : at + 512]
            at += 256
        core.respond(record, text)
        at += 256


@pytest.mark.parametrize("rate", [40, 100_000])
@pytest.mark.parametrize("odd", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_a_run_decides_as_its_records_would_one_by_one(seed: int, odd: float, rate: int) -> None:
    pair = Pair(seed, rate)
    for _ in range(40):
        pair.cycle(pair.chance.choice((0, 1, 3, 40, 120)), odd)


@pytest.mark.parametrize("odd", [0.0, 0.005, 0.02, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_pairs_of_answers_decide_as_they_would_one_by_one(seed: int, odd: float) -> None:
    pair = Pair(seed, 100_000)
    pair.prompt = True
    taken, core = [], pair.sides[0].core
    assert isinstance(core, Batches)
    respond_pairs = core.respond_pairs
    core.respond_pairs = lambda frame: taken.append(respond_pairs(frame)) or taken[-1]  # type: ignore[method-assign]
    for _ in range(40):
        pair.cycle(pair.chance.choice((3, 4, 40, 120)), odd)
    assert max(taken) >= FEW * 512
    assert odd or sum(taken) > 0.9 * 256 * core.counters["responses"]


def test_a_pair_that_is_none_goes_the_long_way() -> None:
    """Each deviation in the midst of a frame of pairs."""
    head = {"kind": 0, "flags": 5, "response": 7, "fill of an acknowledgement": 48, "key": 96, "second key": 352,
            "second kind": 256}  # fmt: skip
    bytes_of = {"quantity": (304, 8), "no execution": (456, 24)}
    for what in (*head, *bytes_of):
        for tenth in (0, 9):
            pair = Pair(1, 100_000)
            pair.prompt = True
            pair.cycle(40, 0.0)
            answers = bytearray(pair.answers(0.0))
            if what in head:
                answers[tenth * 512 + head[what]] ^= 1
            else:
                at, size = bytes_of[what]
                answers[tenth * 512 + at : tenth * 512 + at + size] = bytes(size)
            pair.answers = lambda odd, said=bytes(answers): said  # type: ignore[method-assign, assignment]
            pair.sent = []
            for _ in range(4):  # the frame comes more than once
                pair.cycle(10, 0.0)


def test_finished_orders_are_forgotten_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms_actors.core.ledger.DONE_WINDOW", 50)
    pair = Pair(7, 100_000)
    for _ in range(20):
        pair.cycle(60, 0.02)
    assert [len(side.core._done) for side in pair.sides] == [50, 50]


def test_a_day_by_frames_replays_one_by_one_to_the_same_state() -> None:
    pair = Pair(3, 100_000)
    replayed, mine = Sender(SenderSettings(), Throttle(ThrottleLimit(rate=100_000))), pair.sides[0]
    done = 0
    for _ in range(20):
        pair.cycle(40, 0.0)
        replayed.begin(pair.now, pair.wall)
        replayed.replay(mine.frames[-1], pair.requests[done:])
        done = len(pair.requests)
    mine.flush()  # what the last calls did
    replayed.replay(mine.frames[-1], [])
    assert replayed.state() == mine.core.state()


def test_plain_traffic_goes_out_in_one_call() -> None:
    pair = Pair(1, 100_000)
    core = pair.sides[0].core
    core.begin(pair.now, pair.wall)
    core.take(pair.frame(100, 0.0))
    core.release(1000)
    assert [len(orders) for _, orders, _ in core.calls] == [100]


def test_what_is_never_answered_becomes_doubtful_in_its_time() -> None:
    pair = Pair(1, 100_000, ack_timeout_ns=1000 * MS)
    for _ in range(30):
        pair.cycle(60, 0.3)
    assert pair.sides[0].core.counters["doubts"] > 0
