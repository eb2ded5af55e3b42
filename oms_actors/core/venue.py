"""The simulated exchange, pure: who is logged on, and what becomes of the frames that come over each link.

A *link* is a pair of rings, known by its session's name; a *member* is the user who logged on over it. Requests of a
member go to the model (`core.fill`, `core.engine`); orders, ids and reports belong to the member, so they survive the
link. Whether a password is right is decided outside: a logon comes in as the fact LOGGED_ON or LOGON_REJECTED.
The same frames at the same times give the same members, orders and reports, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from oms_actors import record
from oms_actors.core.book import State
from oms_actors.core.controls import COMMAND, Verb, decode_session
from oms_actors.core.execution import INTENT, INTENT_BYTES, KEY_BYTES, KINDS, Counts, Member
from oms_actors.errors import Field, Reason
from oms_actors.messages import SYMBOL_MAX, ExecType, Kind, OrdStatus, ResponseType, SessionEvent

OPERATOR = ""
"""The name of the link over which the operator speaks; no session can have it."""
_STATES: dict[int, State] = {Verb.HALT: State.HALTED, Verb.RESUME: State.CONTINUOUS, Verb.CLOSE: State.CLOSED}
_NO_IDS = bytes(104)
_NO_MORE_IDS = bytes(104 - KEY_BYTES)
_ANSWERS = {
    SessionEvent.LOGGED_ON: ResponseType.LOGON_ACK,
    SessionEvent.LOGON_REJECTED: ResponseType.LOGON_REJECT,
    SessionEvent.LOGOUT_SENT: ResponseType.LOGOUT_ACK,
    SessionEvent.DISCONNECTED: ResponseType.DISCONNECTED,
}
_ENDS = (SessionEvent.LOGOUT_SENT, SessionEvent.DISCONNECTED, SessionEvent.CONNECTED)


class Model(Protocol):
    """What the venue does with orders."""

    counts: Counts

    def step(self, member: Member, frame: bytes, now_ns: int) -> None: ...
    def query(self, member: Member, ids: bytes, now_ns: int) -> None: ...
    def mass_cancel(self, member: Member, account: bytes, now_ns: int) -> None: ...
    def refuse(self, member: Member, ids: bytes, now_ns: int) -> None: ...
    def tick(self, now_ns: int) -> None: ...
    def next_tick_ns(self) -> int: ...
    def switch(self, symbol: bytes, state: int) -> None: ...
    def end_day(self, members: Iterable[Member], now_ns: int) -> None: ...
    def dump(self) -> list[Any]: ...
    def load(self, data: list[Any]) -> None: ...
    def dump_known(self, member: Member) -> list[Any]: ...
    def load_known(self, member: Member, data: list[Any], beat: Callable[[], object]) -> None: ...


def is_intents(frame: bytes) -> bool:
    """Does the frame hold nothing but INTENT records?"""
    return not len(frame) % INTENT_BYTES and not frame[::INTENT_BYTES].strip(KINDS)


class Link:
    """One pair of rings. `member` gets its reports over it, also after a logout; `stranger` collects what is said to
    nobody in particular."""

    __slots__ = ("is_on", "member", "name", "stranger")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_on = False
        self.member: Member | None = None
        self.stranger = Member(0, name)


class Venue:
    """See above. `speakers` yields everybody who may have something to say."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.members: dict[str, Member] = {}
        self.links: dict[str, Link] = {}

    def step(self, link_name: str, frame: bytes, now_ns: int) -> None:
        """Takes one frame of INTENTs and controls; answers are in the members' `out`."""
        link = self.links.get(link_name)
        if link is None:
            link = self.links[link_name] = Link(link_name)
        if link.is_on and link.member is not None and is_intents(frame):
            self.model.step(link.member, frame, now_ns)
            return
        try:
            for data in record.records(frame):
                self._one(link, data, now_ns)
        except ValueError:  # the rest of the frame cannot be read
            self.model.counts.malformed += 1

    def tick(self, now_ns: int) -> None:
        """Lets time pass without any input."""
        self.model.tick(now_ns)

    def dump(self) -> bytes:
        """The whole state but for reports that were not taken yet: canonical, so it can be compared and hashed."""
        members = [[m.name, m.sequence, self.model.dump_known(m)] for m in self.members.values()]
        links = [[x.name, x.is_on, x.member.name if x.member else "", x.stranger.sequence] for x in self.links.values()]
        return msgspec.msgpack.encode([self.model.dump(), members, links])

    def load(self, data: bytes, beat: Callable[[], object] = bool) -> None:
        """What `dump` gave, into a fresh venue; `beat` is called every now and then, for this may take seconds."""
        model, members, links = msgspec.msgpack.decode(data)
        self.model.load(model)
        for name, sequence, known in members:
            member = self.members[name] = Member(len(self.members) + 1, name)
            member.sequence = sequence
            self.model.load_known(member, known, beat)
        for name, is_on, member_name, sequence in links:
            link = self.links[name] = Link(name)
            link.is_on, link.member, link.stranger.sequence = is_on, self.members.get(member_name), sequence

    def state_hash(self) -> str:
        """Equal for venues that have seen the same."""
        return blake2b(self.dump(), digest_size=16).hexdigest()

    def link_of(self, member: Member) -> Link | None:
        """Where a member was last logged on."""
        return next((link for link in self.links.values() if link.member is member), None)

    def speakers(self) -> Iterator[Member]:
        """Members and strangers with reports to take."""
        for member in self.members.values():
            if member.out:
                yield member
        for link in self.links.values():
            if link.stranger.out:
                yield link.stranger

    def _one(self, link: Link, data: bytes, now_ns: int) -> None:
        kind = data[0]
        if kind in KINDS:
            if link.is_on and link.member is not None:
                self.model.step(link.member, data, now_ns)
            else:
                self._refuse(link, data, now_ns)
        elif kind == Kind.SESSION:
            self._session(link, data, now_ns)
        elif kind == Kind.COMMAND and link.name == OPERATOR:
            self._operate(data, now_ns)
        elif kind == Kind.COMMAND and link.is_on and link.member is not None:
            self._command(link.member, data, now_ns)
        else:
            self.model.counts.malformed += 1

    def _refuse(self, link: Link, data: bytes, now_ns: int) -> None:
        _, _, side, *_, ids, number = INTENT.unpack(data)
        counts = self.model.counts
        counts.took(data)
        counts.rejects += 1
        fault = (Reason.NOT_LOGGED_ON, Field.SESSION, 0, 0)
        (link.member or link.stranger).refuse(data[0], ids, now_ns, fault, side, number)

    def _session(self, link: Link, data: bytes, now_ns: int) -> None:
        event, name, _ = decode_session(data)
        if event == SessionEvent.LOGGED_ON:
            self._log_on(link, name)
        answer = _ANSWERS.get(SessionEvent(event))
        if answer:
            to = link.stranger if event == SessionEvent.DISCONNECTED else link.member or link.stranger
            to.say(answer, ExecType.ORDER_STATUS, OrdStatus.NONE, _NO_IDS, now_ns)
        if event in _ENDS:
            link.is_on = False
        if event == SessionEvent.CONNECTED:
            link.member = None

    def _log_on(self, link: Link, name: str) -> None:
        member = self.members.get(name)
        if member is None:
            member = self.members[name] = Member(len(self.members) + 1, name)
        elsewhere = self.link_of(member)
        if elsewhere:
            elsewhere.member, elsewhere.is_on = None, False
        link.member, link.is_on = member, True

    def _operate(self, data: bytes, now_ns: int) -> None:
        _, _, verb, _, _, symbol = COMMAND.unpack(data)
        if verb == Verb.END_DAY:
            self.model.end_day(self.members.values(), now_ns)
        elif verb in _STATES:
            self.model.switch(symbol[:SYMBOL_MAX], _STATES[verb])

    def _command(self, member: Member, data: bytes, now_ns: int) -> None:
        _, _, verb, _, account, client_order_id = COMMAND.unpack(data)
        if verb == Verb.QUERY:
            self.model.query(member, account + client_order_id + _NO_MORE_IDS, now_ns)
        elif verb == Verb.MASS_CANCEL:
            self.model.mass_cancel(member, account, now_ns)
        elif verb == Verb.REFUSE:
            self.model.refuse(member, account + client_order_id + _NO_MORE_IDS, now_ns)
        elif verb == Verb.CONCURRENT_CALL:
            self.model.counts.concurrent_calls += 1
        else:
            self.model.counts.malformed += 1
