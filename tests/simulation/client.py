"""An upstream: submits requests, takes reports, forgets nothing, dies now and then.

It speaks through the product's own `Upstream`. What it has seen and sent is kept outside of its process, as a careful
upstream would: a request without any answer is submitted again after a while, marked as a possible resend.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulation import decode
from simulation.clock import MS, S
from simulation.process import Process

from ipc.errors import IpcError
from oms_actors.errors import DeskDown
from oms_actors.messages import CancelOrder, ModifyOrder, NewOrder, Request
from oms_actors.record import encode
from oms_actors.upstream import RingFull, Upstream

if TYPE_CHECKING:
    from simulation.world import World


@dataclass
class Submission:
    """A request as the client knows it."""

    record: bytes
    at_ns: int
    times: int = 1
    answered: bool = False


class ClientRole:
    """One life of an upstream: a role like the others. `memory` outlives it."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self.world = memory, memory.world
        self._upstream: Upstream | None = None
        self._attach_ns = 0

    def start(self) -> None:
        """Attaches later, when there is a desk."""

    def stop(self) -> None:
        if self._upstream is not None:
            self._upstream.close()

    def ready(self) -> bool:
        return self._upstream is not None and self.memory.reads() and self._upstream._client.reports.ready()

    def next_due_ns(self) -> int:
        return max(1, self.memory.wait_ns - self.world.clock.booted_ns)

    def work(self) -> bool:
        memory = self.memory
        if self._upstream is None and not self._attach():
            return False
        try:
            return self._submit() | self._read()
        except DeskDown:
            assert self._upstream is not None
            self._upstream.close()
            self._upstream = None
            memory.world.note("desk down", memory.name)
            return False

    def _attach(self) -> bool:
        try:
            self._upstream = Upstream.attach(self.world.instance, self.memory.name)
        except (DeskDown, IpcError):
            self.memory.wait_ns = self.world.clock.true_ns + 20 * MS
            return False
        self.world.touch_upstreams()
        return True

    def _submit(self) -> bool:
        assert self._upstream is not None
        wave = self.memory.next_wave()
        if not wave:
            return False
        sent = 0
        try:
            self._upstream.submit_records(b"".join(wave))
            sent = len(wave)
        except RingFull as error:
            sent = error.submitted
        self.memory.submitted(wave[:sent])
        return sent > 0

    def _read(self) -> bool:
        assert self._upstream is not None
        if not self.memory.reads():
            return False
        frames = self._upstream.raw_reports()
        for frame in frames:
            self.memory.took(frame)
        return bool(frames)


class Memory:
    """What an upstream remembers, and what it is going to do."""

    def __init__(self, world: World, name: str, plan: list[int], life: bool = True) -> None:
        self.world, self.name, self.dice = world, name, world.dice
        self.plan = sorted(plan)
        """When it submits a wave of requests (true time)."""
        self.submissions: dict[bytes, list[Submission]] = {}
        self.seen: list[bytes] = []
        """Every report and text ever taken, as it came."""
        self.orders: list[bytes] = []
        """Keys that a change may name."""
        self.accepted: dict[bytes, set[int]] = defaultdict(set)
        self.refused: dict[bytes, set[int]] = defaultdict(set)
        self.finals: dict[bytes, set[int]] = defaultdict(set)
        """By the key of a request where in the journals it is accepted, refused by intake, answered by the sender."""
        self.wait_ns = 1
        """When it looks again whether there is something to do."""
        self.slow_until_ns = 0
        self._backlog: list[bytes] = []
        self._count = 0
        self._retry_ns = 0

    def process(self) -> Process:
        """Its process in the world."""
        return Process(self.world, self.name, lambda context: ClientRole(self))

    # -- plans ------------------------------------------------------------------------------------------------------

    def reads(self) -> bool:
        """Does it look at its reports?"""
        return self.world.calm or self.world.clock.true_ns >= self.slow_until_ns

    def next_wave(self) -> list[bytes]:
        """What it submits now."""
        now = self.world.clock.true_ns
        while self.plan and self.plan[0] <= now:
            self.plan.pop(0)
            self._backlog += [self._invent() for _ in range(self.dice.randrange(1, self.world.scenario.wave_max))]
        if now >= self._retry_ns:
            self._retry_ns = now + S
            self._backlog += self._unanswered(now)
        wave, self._backlog = self._backlog[:20], self._backlog[20:]
        self.wait_ns = now + (self.dice.randrange(1, 20) if wave else 200 if self.world.calm else 50) * MS
        return wave

    def _unanswered(self, now: int) -> list[bytes]:
        """Requests that nobody has acknowledged for two seconds."""
        found = []
        for submissions in self.submissions.values():
            last = submissions[-1]
            if not last.answered and now - last.at_ns > 2 * S:
                last.at_ns = now
                found.append(last.record[:5] + bytes((last.record[5] | decode.POSSIBLE_RESEND,)) + last.record[6:])
        return found

    def submitted(self, wave: list[bytes]) -> None:
        """The desk's ring has them (or may have, if we die now)."""
        now = self.world.clock.true_ns
        for record in wave:
            request = decode.request(record)
            same = self.submissions.setdefault(request.key, [])
            if same and request.flags & decode.POSSIBLE_RESEND:
                same[-1].times += 1
            else:
                same.append(Submission(record, now))
            if request.kind == decode.NEW:
                self.orders.append(request.key)

    def _invent(self) -> bytes:
        dice, scenario = self.dice, self.world.scenario
        self._count += 1
        own = f"{self.name}-{self._count}"
        chance = dice.random()
        if chance < scenario.repeats and self.submissions:
            return dice.choice(list(self.submissions.values()))[-1].record
        if self.orders and chance < scenario.modifies + scenario.cancels:
            orig = dice.choice(self.orders[-12:])
            account = orig[:16].rstrip(b"\0").decode()
            named = orig[16:].rstrip(b"\0").decode()
            request: Request = CancelOrder(client_order_id=own, orig_client_order_id=named, account=account)
            if chance < scenario.modifies:
                price = dice.choice((None, f"{dice.randrange(90, 110)}"))
                quantity = dice.randrange(1, 300) if price is None or dice.random() < 0.5 else None
                request = ModifyOrder(
                    client_order_id=own, orig_client_order_id=named, account=account, quantity=quantity, price=price
                )
            self.orders.append(orig[:16] + own.encode().ljust(36, b"\0"))
            return encode(request)
        return encode(NewOrder(
            client_order_id=own, symbol=dice.choice(("AAA", "BBB")), side=dice.choice(("BUY", "SELL")),
            quantity=dice.randrange(1, 200), price=f"{dice.randrange(90, 110)}",
            account=dice.choice(("", "ACC1", "ACC2")),
        ))  # fmt: skip

    # -- reports ----------------------------------------------------------------------------------------------------

    def took(self, frame: bytes) -> None:
        """Reports, as they come out of `raw_reports`."""
        for data in decode.records(frame):
            self.seen.append(data)
            if data[0] != decode.REPORT:
                continue
            report = decode.report(data)
            self.world.note("report", self.name, report.exec_type, report.key, report.origin, report.sequence)
            for submission in self.submissions.get(report.key, ())[-1:]:
                if report.request_kind == submission.record[0]:
                    submission.answered = True
            if report.request_kind and (report.final or report.exec_type in "AE6"):
                of_intake = self.refused if report.final else self.accepted
                answers = of_intake if report.origin == "intake" else self.finals
                answers[report.key].add(report.sequence or -len(self.seen))

    def settled(self) -> bool:
        """Has everything its final answer? (A request that comes again may be refused or accepted by itself.)"""
        if self.plan or self._backlog:
            return False
        return all(
            len(self.finals[key]) >= len(self.accepted[key])
            and len(self.accepted[key]) + len(self.refused[key]) >= len(same)
            for key, same in self.submissions.items()
        )
