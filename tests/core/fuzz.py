"""Random records at every door of the desk's cores: requests, the exchange's answers, operators. `make fuzz` runs many.

A day is a desk of its own: intake's core, the sender's with its session, persistence's fold. What comes is partly
right, partly scratched, partly noise. Nothing may raise; at the end of a day the journal must replay to the same state,
and a snapshot load to it; no request may have had two final answers; and what the exchange says of ids that nobody
knows must have changed nothing.

    python -m tests.core.fuzz [--records 1000000] [--seed 1]
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter
from random import Random
from typing import Any

import msgspec

from oms_actors.actors.session import Session
from oms_actors.config import SessionConfig
from oms_actors.core.answers import runs
from oms_actors.core.batches import Batches
from oms_actors.core.exposure import Exposure
from oms_actors.core.fold import Fold
from oms_actors.core.hours import ALWAYS, SessionState
from oms_actors.core.intake import Intake, IntakeRules, Piece, Upstream
from oms_actors.core.mass_action import Mass, mass_action
from oms_actors.core.pending import SenderSettings
from oms_actors.core.recovery import requests_of
from oms_actors.core.reports import report
from oms_actors.core.risk import NO_LIMITS, Limits, Risk, RiskLimits, kill_flag
from oms_actors.core.session import Link
from oms_actors.core.snapshot import dump, load
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.edges.exchange import Responses
from oms_actors.errors import Reason, require
from oms_actors.messages import (
    CancelOrder,
    ExchangeResponse,
    Kind,
    ModifyOrder,
    NewOrder,
    OrderType,
    Outcome,
    ReportFlag,
    ResponseType,
    TimeInForce,
)
from oms_actors.record import KEY, REPORT_BYTES, REQUEST_BYTES, encode, key_of, records

MS = 1_000_000
ONE = 10**8
DAY_RECORDS = 10_000
CLOSED = SessionState(0, 0, 0, 0, 777)
TIGHT = RiskLimits(
    desk=Limits(max_quantity=50 * ONE, max_open_orders=200, price_collar_percent=900 * ONE), messages_per_s=500,
    duplicate_window_ns=MS, repeated_fills=40, repeated_fills_ns=10 * MS,
)  # fmt: skip
_FINAL = int(ReportFlag.FINAL)
_AT_CUM = 64


class _Exchange:
    """Takes every call, so that a session has somebody to talk to."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


class _AlwaysOpen:
    known = True

    def read(self) -> SessionState:
        return ALWAYS


class Day:
    """One desk and its fuzzer."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = Random(seed)
        self.limits = dice.choice((NO_LIMITS, TIGHT))
        rules = IntakeRules(capacity=dice.choice((50, 100_000)))
        self.intake = Intake(rules, exposure=Exposure(Risk(self.limits)))
        for number in (1, 2):
            self.intake.upstreams[number] = Upstream(number, b"u%d" % number)
        self.settings = SenderSettings(
            after_send_forward=dice.random() < 0.8, modify_loses_place=dice.random() < 0.3,
            max_queue_age_ns=dice.choice((0, 20 * MS)), ack_timeout_ns=dice.choice((0, 30 * MS)),
            cancel_lane=dice.random() < 0.3, crossing=dice.random() < 0.3, deduplicates=dice.random() < 0.5,
            query_settle_ns=MS, query_interval_ns=MS, retry_delay_ns=MS,
        )  # fmt: skip
        self.rate = dice.choice((20, 1_000, 100_000))
        self.sender = self._core()
        self.responses = Responses()
        self.session = Session(
            SessionConfig(), self.sender, _Exchange(), self.responses, _AlwaysOpen(), logging.getLogger("fuzz")  # type: ignore[arg-type]
        )
        self.fold = Fold()
        self.now, self.wall = 10**12, 10**18
        self.sequence, self.place, self.seen, self.names = 1, 0, 0, 0
        self.journal: list[tuple[bytes, list[bytes], int, int]] = []
        self.unjournalled: list[bytes] = []
        self.sent: list[bytes] = []
        self.finals: Counter[bytes] = Counter()

    def _core(self) -> Batches:
        return Batches(self.settings, Throttle(ThrottleLimit(rate=self.rate)), Risk(self.limits))

    # -- what comes -----------------------------------------------------------------------------------------------

    def request(self) -> bytes:
        dice, luck = self.dice, self.dice.random()
        if luck < 0.1:
            return dice.randbytes(REQUEST_BYTES)
        record = self._right_request()
        return self._scratched(record) if luck < 0.3 else record

    def _right_request(self) -> bytes:
        dice = self.dice
        self.names += dice.random() < 0.9
        name, orig = f"N{self.names}", f"N{max(0, self.names - dice.randrange(40))}"
        account, luck = dice.choice(("", "", "ACC")), dice.random()
        if luck < 0.6:
            kind = dice.choice((OrderType.LIMIT,) * 5 + tuple(OrderType))
            tif = dice.choice((TimeInForce.DAY,) * 5 + tuple(TimeInForce))
            return encode(NewOrder(
                client_order_id=name, symbol=dice.choice("XY"), side=dice.choice(("BUY", "SELL")), order_type=kind,
                quantity=dice.randrange(1, 60), price=dice.randrange(1, 20) if kind % 2 == 0 else None,
                stop_price=5 if kind >= OrderType.STOP else None, time_in_force=tif, account=account,
                expire_time_ns=self.wall + 5 if tif is TimeInForce.GTD else 0, possible_resend=dice.random() < 0.05,
            ))  # fmt: skip
        if luck < 0.8:
            return encode(ModifyOrder(client_order_id=name, orig_client_order_id=orig, account=account,
                                      quantity=dice.randrange(1, 60), price=dice.choice((None, 7))))  # fmt: skip
        return encode(CancelOrder(client_order_id=name, orig_client_order_id=orig, account=account))

    def _scratched(self, record: bytes) -> bytes:
        found = bytearray(record)
        for _ in range(self.dice.randrange(1, 4)):
            found[self.dice.randrange(len(found))] = self.dice.choice((0, 1, 2, 32, 65, 127, 128, 255))
        return bytes(found)

    def said(self, count: int) -> None:
        """The exchange speaks, by records and by what an adapter hands over."""
        dice = self.dice
        parts = []
        for _ in range(count):
            luck = dice.random()
            if luck < 0.1:
                parts.append(b"@" + dice.randbytes(REPORT_BYTES - 1) if luck < 0.05 else dice.randbytes(REPORT_BYTES))
            else:
                record = self._right_answer()
                parts.append(self._scratched(record) if luck < 0.3 else record)
        self.responses.on_records(b"".join(parts) + (b"?" if dice.random() < 0.01 else b""))
        if dice.random() < 0.2:
            self.responses.on_response(self._odd_response())

    def _right_answer(self) -> bytes:
        dice = self.dice
        intent = dice.choice(self.sent[-200:]) if self.sent else self._right_request()
        kind = dice.choice((ResponseType.ACK,) * 4 + (ResponseType.FILL,) * 4 + tuple(ResponseType))
        key = intent[KEY] if dice.random() < 0.9 else bytes(16) + intent[KEY][16:]
        record = report(
            key=key, exec_type=0, ord_status=dice.choice((0, 0, 50, 52)), response_type=kind,
            last_quantity=dice.randrange(60) * ONE, last_price=dice.randrange(20) * ONE,
            exec_id=b"e%d" % dice.randrange(10**6),
        )  # fmt: skip
        cum = (dice.randrange(60) * ONE if kind == ResponseType.QUERY_FOUND else 0).to_bytes(8, "little")
        return record[:_AT_CUM] + cum + record[_AT_CUM + 8 :]

    def _odd_response(self) -> Any:
        dice = self.dice
        odd = (None, -1, 1.5, "x" * 100, b"\xff", "", float("nan"), 10**30, [], object())
        if dice.random() < 0.2:
            return dice.choice(odd)
        right: dict[str, Any] = {"type": ResponseType.FILL, "client_order_id": "N1", "quantity": 1, "price": 1}
        for name in dice.sample(("type", "client_order_id", "quantity", "price", "exec_id", "text", "time_ns"), 2):
            right[name] = dice.choice(odd)
        return ExchangeResponse(**right)

    def operates(self) -> None:
        """People and the clock."""
        core, dice = self.sender, self.dice
        key = key_of(dice.choice(("", "ACC")), f"N{dice.randrange(self.names + 1)}")
        what = dice.randrange(8)
        if what == 0:
            mass = dice.choice((Mass.CANCEL, Mass.CANCEL_WAITING, Mass.CANCEL_WORKING, Mass.EXPIRE_WAITING,
                                Mass.GIVE_UP))  # fmt: skip
            core.wish(mass_action(mass, Reason.MASS_CANCEL, dice.randrange(3), "", dice.choice(("", "X"))))
        elif what == 1:
            flags = dice.choice(((), (kill_flag(),), (kill_flag(symbol="X"),), (kill_flag("ACC"),)))
            core.set_kill(flags)
            self.intake.exposure.set_kill(flags)
        elif what == 2:
            core.resolve(key, dice.random() < 0.5)
        elif what == 3:
            core.connection_lost()
        elif what == 4:
            core.re_enable(dice.randrange(3))
        elif what == 5:
            core.ask_again()
        elif what == 6:
            core.standing(key)
        else:
            core.reload(self.limits, "the same")

    # -- a cycle --------------------------------------------------------------------------------------------------

    def cycle(self) -> int:
        """Returns how many records came."""
        dice = self.dice
        self.now += dice.randrange(1, 5 * MS)
        self.wall += dice.randrange(1, 5 * MS)
        count = dice.choice((0, 1, 3, 40))
        frame = b"".join(self.request() for _ in range(count)) + (b"odd" if dice.random() < 0.02 else b"")
        payload = self._admitted(frame)
        core = self.sender
        core.begin(self.now, self.wall)
        core.take(payload)
        answers = dice.choice((0, 1, 3, 40))
        self.said(answers)
        self.session.machine.link = Link.ON  # so that what it says of the session means something
        for part in self.responses.drain_frames():
            self.session.respond(part)
        core.latencies.clear()
        if dice.random() < 0.1:
            self.operates()
        core.tick()
        core.go_on(dice.choice((5, 1000)))
        core.matching = dice.random() < 0.7
        core.match(dice.choice((5, 1000)))
        core.queries(dice.random() < 0.5)
        core.release(dice.choice((3, 1000)), cancels_only=dice.random() < 0.05)
        self._flush()
        self._call()
        return count + answers

    def _admitted(self, frame: bytes) -> bytes:
        self.place += 16
        session = CLOSED if self.dice.random() < 0.05 else ALWAYS
        batch = self.intake.batch(self.sequence, self.now, self.wall, session)
        batch.take([Piece(self.dice.choice((1, 2)), self.place, frame)] if frame else [])
        payload = batch.payload()
        require(len(list(records(payload))) == batch.records, "a batch says how many records it has")
        if not batch.records:
            return b""
        list(batch.answers())
        self.intake.apply(payload, self.sequence)
        self.fold.intake(payload, self.wall, self.now)
        self.sequence += batch.records
        self.unjournalled += requests_of(payload)
        return payload

    def _flush(self) -> None:
        first = self.sender.base
        payload, count = self.sender.taken()
        require(len(list(records(payload))) == count, "the core says how many records it has")
        self.journal.append((payload, self.unjournalled, self.sender.now, self.wall))
        self.unjournalled = []
        self.fold.sender(payload, first, self.wall)
        self.fold.take()
        self.intake.departed(list(runs(payload)), self.now)
        for record in records(payload):
            if record[0] == Kind.REPORT and record[5] & _FINAL and record[6]:
                self.finals[record[96:148] + record[6:7]] += 1

    def _call(self) -> None:
        core = self.sender
        outcome = self.dice.choice((Outcome.SENT,) * 20 + (Outcome.NOT_SENT, Outcome.FAILED, Outcome.NOT_CALLED))
        for sequence, item, intents in core.calls[:: -1 if outcome == Outcome.NOT_CALLED else 1]:
            (core.returned_all if isinstance(item, list) else core.returned)(
                self.now, self.now + 5, sequence, item, outcome
            )
            self.sent += [intents[at : at + REQUEST_BYTES] for at in range(0, len(intents), REQUEST_BYTES)]
        core.calls.clear()
        del self.sent[:-500]

    # -- what must hold -------------------------------------------------------------------------------------------

    def strangers_change_nothing(self) -> None:
        """Answers about ids that nobody knows are stored, counted, and that is all."""
        before = self.sender.state()
        kinds = [kind for kind in ResponseType if kind > ResponseType.DISCONNECTED]
        frame = b"".join(
            report(key=key_of("", f"stranger{n}"), exec_type=0, ord_status=0, response_type=self.dice.choice(kinds),
                   last_quantity=ONE, last_price=ONE, exec_id=b"s%d" % n)
            for n in range(20)
        )  # fmt: skip
        self.sender.respond_frame(frame)
        require(self.sender.state() == before, "an answer about an unknown id has changed something")
        self._flush()

    def ends(self) -> None:
        """The day is over."""
        self.strangers_change_nothing()
        state = self.sender.state()
        core = self._core()
        for payload, requests, now, wall in self.journal:
            core.begin(now, wall)
            core.replay(payload, requests)
        require(core.state() == state, "the journal replays to another state")
        again = self._core()
        require(load(again, msgspec.msgpack.decode(msgspec.msgpack.encode(dump(self.sender)))), "no snapshot")
        require(again.state() == state, "the snapshot is of another state")
        twice = [key for key, count in self.finals.items() if count > 1 and key[16]]
        require(not twice, f"two final answers: {twice[:3]}")


def fuzz(count: int, seed: int) -> int:
    """At least so many records, day after day; returns how many there were."""
    total = 0
    while total < count:
        day, had = Day(seed), 0
        try:
            while had < min(DAY_RECORDS, count - total):
                had += day.cycle()
            day.ends()
        except Exception as error:
            error.add_note(f"python -m tests.core.fuzz --seed {seed} --records {DAY_RECORDS}")
            raise
        total += had
        seed += 1
    return total


def main() -> None:
    """For the command line."""
    logging.disable(logging.CRITICAL)
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    began = time.process_time()
    total = fuzz(given.records, given.seed)
    print(f"{total:,} records, nothing raised, every day replayed: {time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
