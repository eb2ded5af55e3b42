"""A hostile exchange, and the adapter that reaches it.

The venue is another machine: it knows nothing of our processes, boots and disks, and keeps its own record of every
request that arrived (`arrivals`) and of every call that was made (`calls`); the checker judges by that record alone.
Between it and the desk lies a network: requests on one connection arrive in order or, once it is cut, perhaps not at
all; what the venue says may be late, twice, out of order or lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulation import decode
from simulation.clock import MS

from oms_actors.edges.exchange import encode_response
from oms_actors.errors import NotSent
from oms_actors.messages import ExchangeResponse, OrdStatus, ResponseType

if TYPE_CHECKING:
    from simulation.world import World

ONE = 100_000_000
THE_WORLD: list[World] = []
"""Where adapters find their venue: an adapter is made from a name in the configuration."""


@dataclass
class Call:
    """One call of the adapter's `send`, as the checker sees it."""

    begin_ns: int
    end_ns: int
    request: decode.Request
    wall_seen: int
    """The last wall time that the caller had looked at …"""
    looked_ns: int
    """… and when that was."""
    logged_on: bool


@dataclass
class Arrival:
    """A request that reached the venue."""

    at_ns: int
    request: decode.Request
    effect: bool


@dataclass
class VenueOrder:
    """An order at the venue."""

    key: bytes
    quantity: int
    price: int
    cum: int = 0
    state: str = "open"
    ids: set[bytes] = field(default_factory=set)
    fills: list[tuple[bytes, int, int]] = field(default_factory=list)


class Connection:
    """One connection, seen from both ends."""

    def __init__(self, number: int, deliver: Callable[[ExchangeResponse], None]) -> None:
        self.number, self.deliver = number, deliver
        self.open = True
        self.logged_on = False
        """The desk has been told so, and has neither logged out nor closed."""
        self.arrives_ns = 0
        """Requests do not overtake each other."""


class HostileVenue:
    """`habits` says how bad it is (scenario.Habits)."""

    def __init__(self, world: World) -> None:
        self.world, self.habits, self.dice = world, world.scenario.habits, world.dice
        self.calls: list[Call] = []
        self.arrivals: list[Arrival] = []
        self.logons: list[int] = []
        self.orders: dict[bytes, VenueOrder] = {}
        self.alias: dict[bytes, VenueOrder] = {}
        self.answers: dict[bytes, list[ExchangeResponse]] = {}
        """By the key of a request: everything it was told, for whoever asks again."""
        self.told: list[ExchangeResponse] = []
        """Everything ever said about orders, for those who replay it after a logon."""
        self.connection: Connection | None = None
        self.outbox: list[tuple[int, ExchangeResponse]] = []
        """Of a venue whose session resumes: what the desk has not taken for good."""
        self._half_open: Connection | None = None
        self._connections = self._executions = 0
        self.silent_until_ns = 0
        self.line = 0
        """Frames that have left, for who wants to know whether one has."""

    # -- connections ------------------------------------------------------------------------------------------------

    def connect(self, deliver: Callable[[ExchangeResponse], None]) -> Connection:
        if self.does(self.habits.refuse_connect):
            raise ConnectionRefusedError("the venue does not answer")
        self.hang_up()
        self._half_open = None
        self._connections += 1
        self.connection = Connection(self._connections, deliver)
        return self.connection

    def hang_up(self) -> None:
        """The connection is gone; what was under way may still arrive (see `_in_flight`)."""
        if self.connection is not None:
            self.connection.open = False
            self.connection = None

    def cut(self) -> None:
        """The line breaks. The desk notices, or not."""
        connection = self.connection
        self.hang_up()
        if connection is not None:
            self.world.note("cut", connection.number)
            self._half_open = connection
            if self.dice.random() < 0.8:
                self.notice_dead_line()

    def notice_dead_line(self) -> None:
        """At the latest when keep-alives fail the desk's end learns that its connection is gone."""
        connection, self._half_open = self._half_open, None
        if connection is not None:
            self.world.after(self._latency(), lambda: connection.deliver(_session(ResponseType.DISCONNECTED)))

    def log_on(self, connection: Connection) -> None:
        self.logons.append(connection.number)

        def answer() -> None:
            if not connection.open or self.does(self.habits.ignore_logon):
                return
            if self.does(self.habits.reject_logon):
                connection.deliver(_session(ResponseType.LOGON_REJECT))
                return
            connection.logged_on = True
            connection.deliver(_session(ResponseType.LOGON_ACK))
            if self.habits.replays:
                for response in self.told:
                    self._send_later(connection, response, in_order=True)

        self.world.after(self._latency(), answer)

    def log_out(self, connection: Connection) -> None:
        connection.logged_on = False

        def answer() -> None:
            if connection.open and not self.does(self.habits.ignore_logon):
                connection.deliver(_session(ResponseType.LOGOUT_ACK))

        self.world.after(self._latency(), answer)

    # -- requests ---------------------------------------------------------------------------------------------------

    def under_way(self, connection: Connection, data: bytes) -> None:
        """A request leaves the desk."""
        connection.arrives_ns = max(connection.arrives_ns + 1, self.world.clock.true_ns + self._latency())
        number = connection.number

        def arrive() -> None:
            lost = not connection.open and not self.habits.resumes and self.dice.random() < self.habits.lose_in_flight
            if not lost:
                self.take(decode.request(data))
            else:
                self.world.note("lost", number)

        self.world.after(connection.arrives_ns - self.world.clock.true_ns, arrive)

    def take(self, request: decode.Request) -> None:
        """A request has arrived."""
        key = request.key
        known = key in self.answers
        effect = not known or not self.habits.deduplicates
        self.arrivals.append(Arrival(self.world.clock.true_ns, request, effect))
        self.world.note("arrival", request.kind, key, effect)
        if not effect:
            for response in self.answers[key]:
                self._say(response)
            return
        if not known and self.does(self.habits.lose):
            self.arrivals[-1].effect = False
            return
        self.answers.setdefault(key, [])
        {decode.INTENT_NEW: self._new, decode.INTENT_MODIFY: self._modify, decode.INTENT_CANCEL: self._cancel}[
            request.kind
        ](request)

    def _new(self, request: decode.Request) -> None:
        order = VenueOrder(request.key, request.quantity, request.price, ids={request.key})
        self.orders[request.key] = self.alias[request.key] = order
        if self.does(self.habits.reject):
            order.state = "rejected"
            self._answer(request, ResponseType.REJECT, text="no")
            return
        early = self.does(self.habits.fill_before_ack)
        if early:
            self._fill(order)
        self._answer(request, ResponseType.ACK)
        if self.does(self.habits.fill):
            for _ in range(self.dice.randrange(1, 4)):
                self.world.after(self._latency() * 3, lambda: self._fill(order))
        if self.does(self.habits.unsolicited):
            kind = self.dice.choice((ResponseType.CANCELED, ResponseType.EXPIRED))
            self.world.after(self._latency() * 5, lambda: self._end(order, kind))

    def _fill(self, order: VenueOrder, late: bool = False) -> None:
        left = order.quantity - order.cum
        if (order.state != "open" and not late) or left <= 0:
            return
        lots = left // ONE
        quantity = left if lots <= 1 or self.dice.random() < 0.3 else self.dice.randrange(1, lots) * ONE
        self._executions += 1
        exec_id = f"X{self._executions}"
        order.cum += quantity
        order.fills.append((exec_id.encode(), quantity, order.price))
        if order.cum >= order.quantity and order.state == "open":
            order.state = "filled"
        response = ExchangeResponse(
            type=ResponseType.FILL, client_order_id=_own(order.key), account=_account(order.key), exec_id=exec_id,
            quantity=_units(quantity), price=_units(order.price), cum_quantity=_units(order.cum),
        )  # fmt: skip
        self.answers[order.key].append(response)
        self._say(response)

    def _end(self, order: VenueOrder, kind: ResponseType) -> None:
        if order.state == "open":
            order.state = "expired" if kind == ResponseType.EXPIRED else "canceled"
            response = ExchangeResponse(type=kind, client_order_id=_own(order.key), account=_account(order.key))
            self.answers[order.key].append(response)
            self._say(response)

    def _modify(self, request: decode.Request) -> None:
        order = self.alias.get(request.key[:16] + request.orig)
        if order is None or order.state != "open" or self.does(self.habits.reject):
            self._answer(request, ResponseType.CANCEL_REJECT)
            return
        order.quantity, order.price = request.quantity, request.price
        order.ids.add(request.key)
        self.alias[request.key] = order
        if order.cum >= order.quantity:
            order.state = "filled"
        self._answer(
            request, ResponseType.REPLACED, quantity=_units(order.quantity), price=_units(order.price)
        )

    def _cancel(self, request: decode.Request) -> None:
        order = self.alias.get(request.key[:16] + request.orig)
        if order is None or order.state != "open" or self.does(self.habits.reject):
            self._answer(request, ResponseType.CANCEL_REJECT)
            return
        order.state = "canceled"
        self._answer(request, ResponseType.CANCELED)
        if self.does(self.habits.late_fill):
            self.world.after(self._latency(), lambda: self._fill(order, late=True))

    def query(self, connection: Connection, key: bytes) -> None:
        """Asked what became of a request; the question travels behind the requests of its connection."""
        connection.arrives_ns = max(connection.arrives_ns + 1, self.world.clock.true_ns + self._latency())

        def arrive() -> None:
            order = self.alias.get(key)
            if order is None:
                answer = ExchangeResponse(
                    type=ResponseType.QUERY_NOT_FOUND, client_order_id=_own(key), account=_account(key)
                )
            else:
                status = {"filled": OrdStatus.FILLED, "canceled": OrdStatus.CANCELED, "rejected": OrdStatus.REJECTED,
                          "expired": OrdStatus.EXPIRED}.get(order.state, OrdStatus.NONE)  # fmt: skip
                answer = ExchangeResponse(
                    type=ResponseType.QUERY_FOUND, client_order_id=_own(key), account=_account(key),
                    cum_quantity=_units(order.cum), price=_units(order.price), ord_status=status,
                )  # fmt: skip
            if connection.open and not self.does(self.habits.swallow):
                self._send_later(connection, answer)

        self.world.after(connection.arrives_ns - self.world.clock.true_ns, arrive)

    # -- answers ----------------------------------------------------------------------------------------------------

    def _answer(self, request: decode.Request, kind: ResponseType, **fields: Any) -> None:
        response = ExchangeResponse(
            type=kind, client_order_id=_own(request.key), account=_account(request.key), **fields
        )
        self.answers[request.key].append(response)
        self._say(response)

    def _say(self, response: ExchangeResponse) -> None:
        """Once, twice, or not at all, with whoever is connected when it is said."""
        self.told.append(response)
        if response.type != ResponseType.FILL and self.does(self.habits.swallow):
            return
        times = 2 if self.does(self.habits.duplicate) else 1
        for _ in range(times):
            if self.habits.resumes:
                self.outbox.append((self.world.clock.true_ns + self._latency(), response))
            elif self.connection is not None:
                self._send_later(self.connection, response)

    def _send_later(self, connection: Connection, response: ExchangeResponse, in_order: bool = False) -> None:
        delay = self._latency()
        if in_order:
            delay = 5 * MS
        elif self.does(self.habits.reorder):
            delay *= 8
        delay = max(delay, self.silent_until_ns - self.world.clock.true_ns)

        def arrive() -> None:
            if connection.open:
                connection.deliver(response)

        self.world.after(delay, arrive)

    # -- dice -------------------------------------------------------------------------------------------------------

    def does(self, probability: float) -> bool:
        return not self.world.calm and self.dice.random() < probability

    def _latency(self) -> int:
        return self.dice.randrange(50_000, self.habits.latency_max_ns)


class HostileAdapter:
    """What the sender's configuration names. It lives and dies with the sender's process."""

    def __init__(self) -> None:
        self._world = THE_WORLD[-1]
        self._venue = self._world.venue
        habits = self._habits = self._world.scenario.habits
        self._world.current_adapter = self
        self.deduplicates, self.resumes = habits.deduplicates, habits.resumes
        self._connection: Connection | None = None
        self._taken = 0
        self._on_response: Callable[[ExchangeResponse], None] | None = None
        if habits.can_query:
            self.query = self._query

    def connect(self, on_response: Callable[[ExchangeResponse], None]) -> None:
        self._world.point("adapter.connect")
        self._on_response = on_response
        self._taken = 0
        self._connection = self._venue.connect(self._deliver)
        self._world.point("adapter.connected")

    def _deliver(self, response: ExchangeResponse) -> None:
        """On the adapter's own thread, so to speak: at any time, as long as the process lives."""
        if self._world.current_adapter is self:
            self._hand_out([response])

    def send_logon(self, username: str, password: str) -> None:
        self._world.point("adapter.logon")
        self._venue.log_on(self._live())

    def send_logout(self, username: str) -> None:
        self._world.point("adapter.logout")
        self._venue.log_out(self._live())

    def send(self, request: Any) -> None:
        self._hand_over([bytes(request.record)])

    def _hand_over(self, records: list[bytes]) -> None:
        """One call: all of it leaves, or nothing."""
        world, venue, habits = self._world, self._venue, self._habits
        calls = [self._call(decode.request(data)) for data in records]
        try:
            world.point("adapter.call")
            connection = self._connection
            if connection is None or not connection.open or venue.does(habits.not_sent):
                if connection is not None and not connection.open and venue.does(0.5):
                    raise ConnectionResetError("connection reset by peer")
                raise NotSent("nothing left")
            if venue.does(habits.fail_before):
                raise ConnectionResetError("before anything left")
            if venue.does(habits.block):
                world.let_others_work(world.current, world.dice.randrange(habits.block_max_ns))
            for data in records:
                venue.under_way(connection, data)
            world.point("adapter.left")
            if venue.does(habits.fail_after):
                raise TimeoutError("after it left")
        finally:
            for call in calls:
                call.end_ns = world.clock.true_ns

    def _call(self, request: decode.Request) -> Call:
        """Notes that it was called."""
        world, connection, process = self._world, self._connection, self._world.current
        seen = (process.wall_seen, process.looked_ns) if process else (0, 0)
        call = Call(world.clock.true_ns, 0, request, *seen, connection is not None and connection.logged_on)
        self._venue.calls.append(call)
        world.note("call", request.kind, request.key, request.flags)
        return call

    def _query(self, client_order_id: str, account: str = "") -> None:
        self._world.point("adapter.query")
        if self._venue.does(self._habits.not_sent):
            raise ConnectionResetError("cannot ask")
        self._venue.query(self._live(), _key(account, client_order_id))

    def ready(self) -> bool:
        due = self._taken < len(self._venue.outbox) and self._venue.outbox[self._taken][0] <= self._world.clock.true_ns
        return self._connection is not None and due

    def poll(self) -> None:
        """A resuming session: what was handed out last time is taken for good, then the next."""
        if not self._habits.resumes or self._connection is None:
            return
        self._world.point("adapter.poll")
        outbox, now = self._venue.outbox, self._world.clock.true_ns
        del outbox[: self._taken]
        self._taken = 0
        while self._taken < len(outbox) and outbox[self._taken][0] <= now:
            self._taken += 1
        self._hand_out([response for _, response in outbox[: self._taken]])

    def _hand_out(self, responses: list[ExchangeResponse]) -> None:
        if self._on_response is not None:
            for response in responses:
                self._on_response(response)

    def close(self) -> None:
        self._connection = None
        self._venue.hang_up()

    def _live(self) -> Connection:
        if self._connection is None or not self._connection.open:
            raise ConnectionResetError("not connected")
        return self._connection


class RawHostileAdapter(HostileAdapter):
    """The same for records as they are: frames of INTENTs out, frames of REPORTs in."""

    on_records: Callable[[bytes], None] | None = None

    def send_record(self, record: bytes) -> None:
        self._hand_over([bytes(record)])
        self._venue.line += 1

    def send_records(self, frame: bytes, count: int) -> None:
        self._hand_over([bytes(frame[at : at + 192]) for at in range(0, 192 * count, 192)])
        self._venue.line += 1

    @property
    def position(self) -> int:
        return self._venue.line

    def has_left(self, position: int) -> bool | None:
        return None if self._venue.does(0.2) else self._venue.line > position

    def room(self) -> int:
        return self._world.dice.choice((0, 1, 10, 1_000)) if self._venue.does(0.5) else 1_000

    def _hand_out(self, responses: list[ExchangeResponse]) -> None:
        if self.on_records is not None and responses:
            self.on_records(b"".join(part for response in responses for part in encode_response(response)))


def _session(kind: ResponseType) -> ExchangeResponse:
    return ExchangeResponse(type=kind)


def _own(key: bytes) -> str:
    return key[16:].rstrip(b"\0").decode()


def _account(key: bytes) -> str:
    return key[:16].rstrip(b"\0").decode()


def _key(account: str, own: str) -> bytes:
    return account.encode().ljust(16, b"\0") + own.encode().ljust(36, b"\0")


def _units(value: int) -> str:
    return f"{value // ONE}.{value % ONE:08d}"
