"""What must be true of any run, judged from outside: by what the upstreams sent and saw, by the venue's own record, by
the bytes of the journals and the rows of the database. Shares no code with the product.

`verify(evidence)` returns every violation as a sentence; none = the run was good.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulation import decode
from simulation.decode import Report, Request

KINDS = {decode.INTENT_NEW: decode.NEW, decode.INTENT_MODIFY: decode.MODIFY, decode.INTENT_CANCEL: decode.CANCEL}
FILL = 7
"""ResponseType of an execution."""
LIVE = frozenset("01A?")
"""Statuses with something left. (A change that is pending shows also on an order that is done.)"""


@dataclass
class SeenBy:
    """One upstream's side."""

    name: str
    submitted: dict[bytes, int]
    """By key of a request: how often it was submitted."""
    seen: list[bytes]
    """Reports in the order in which it took them, repeats included."""
    lives: int = 1


@dataclass
class Call:
    """One call of the exchange interface."""

    begin_ns: int
    end_ns: int
    request: Request
    wall_seen: int
    """The last wall time that the caller looked at …"""
    looked_ns: int
    """… and when that was."""
    logged_on: bool


@dataclass
class Killed:
    """A flag of the kill switch: from when to when, for whom (b"" = everybody)."""

    begin_ns: int
    end_ns: int
    account: bytes
    symbol: bytes


@dataclass
class Limit:
    """At most `rate` calls in any `per_ns`, of the desk, of an account or of a symbol; `name` b"" = of each of them."""

    scope: str
    name: bytes
    rate: int
    per_ns: int

    def group(self, request: Request) -> bytes | None:
        """What a request counts for; None: not for this limit."""
        own = {"desk": b"", "account": request.key[:16], "symbol": request.symbol}[self.scope]
        return own if not self.name or own.rstrip(b"\0") == self.name else None


@dataclass
class Evidence:
    """Everything that is left of a run."""

    journals: dict[str, bytes]
    upstreams: list[SeenBy]
    calls: list[Call]
    arrivals: list[tuple[Request, bool]]
    """Requests at the venue, in order; True: it had an effect."""
    fills: dict[bytes, list[tuple[bytes, int, int]]]
    """By the key of an order's NEW: exec id, quantity, price, as the venue knows them."""
    logons: list[int]
    """The connection of each logon."""
    requests: dict[int, str]
    """Rows of the database, by sequence: the client order ids of requests …"""
    sends: dict[int, int]
    """… order numbers of sends …"""
    reports: set[int]
    """… reports and executions."""
    cum: dict[int, int]
    """… filled quantity by order number."""
    limits: list[Limit]
    deduplicates: bool
    lossless: bool
    """What the venue says about orders arrives in the end."""
    truncated: bool = False
    """A power cut was allowed to take acknowledged things away."""
    kills: list[Killed] = field(default_factory=list)
    sessions: list[tuple[int, int]] = field(default_factory=list)
    """Trading hours (wall clock ns), if there are any."""
    stepped: bool = False
    """The wall clock was set: hours are not judged."""


@dataclass
class _Admitted:
    request: Request
    finals: int = 0
    number: int = 0
    date: int = 0
    """The how-manieth trade date that was: an id may be used again on the next one."""


class Facts:
    """The evidence, indexed."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.admitted: dict[bytes, list[_Admitted]] = defaultdict(list)
        self.requests: list[Request] = []
        self.said: dict[int, dict[tuple[str, int], bytes]] = defaultdict(dict)
        """By upstream: what it must have been told, by origin and sequence; b"" = an acceptance."""
        self.repeats = Counter[tuple[int, bytes, int]]()
        """Possible resends of known requests, by upstream, key and kind: the sender answers them."""
        self.date = 0
        self.numbers: dict[str, int] = {}
        self.intake_reports: list[Report] = []
        self.reports: list[Report] = []
        self.intents: list[Request] = []
        self.results: dict[int, decode.Result] = {}
        self.matches: list[decode.Match] = []
        self.own: set[bytes] = set()
        self.order_of: dict[bytes, int] = {}
        """Key of a NEW → order number."""
        self.problems: list[str] = []
        self._read_intake()
        self._read_sender()

    def _read_intake(self) -> None:
        expected = 1
        for frame in decode.journal(self.evidence.journals, "intake"):
            if frame.sequence != expected:
                self.problems.append(f"intake's journal has {frame.sequence} where {expected} should be")
            for at, data in enumerate(frame.records, frame.sequence):
                self._intake_record(at, data)
            expected = frame.sequence + len(frame.records)

    def _intake_record(self, at: int, data: bytes) -> None:
        if data[0] in (decode.NEW, decode.MODIFY, decode.CANCEL):
            request = decode.request(data)
            self.requests.append(request)
            if request.reason == 0:
                self.admitted[request.key].append(_Admitted(request, number=request.order_number, date=self.date))
                self.said[request.upstream]["intake", at] = b""
                if request.kind == decode.NEW:
                    self.order_of[request.key] = request.order_number
        elif data[0] == decode.REPORT:
            report = decode.report(data)
            self.intake_reports.append(report)
            if report.exec_type == "I" and report.flags & decode.POSSIBLE_DUPLICATE:
                self.repeats[report.upstream, report.key, report.request_kind] += 1
            else:
                self.said[report.upstream]["intake", at] = data
        elif data[0] == decode.SESSION:
            self.date += 1
        elif data[0] == decode.UPSTREAM:
            number = int.from_bytes(data[4:8], "little")
            self.numbers[data[24:88].rstrip(b"\0").decode()] = number

    def _read_sender(self) -> None:
        expected = 1
        for frame in decode.journal(self.evidence.journals, "sender"):
            if frame.sequence != expected:
                self.problems.append(f"sender's journal has {frame.sequence} where {expected} should be")
            for at, data in enumerate(frame.records, frame.sequence):
                self._sender_record(at, data)
            expected = frame.sequence + len(frame.records)

    def _sender_record(self, at: int, data: bytes) -> None:
        if data[0] == decode.REPORT:
            report = decode.report(data)
            if report.sequence != at:
                self.problems.append(f"report {at} says that it is {report.sequence}")
            self.reports.append(report)
            if report.upstream:
                self.said[report.upstream]["sender", at] = data
            if report.final and report.request_kind:
                self._final(report)
        elif data[0] in KINDS:
            self.intents.append(decode.request(data))
        elif data[0] == decode.RESULT:
            result = decode.result(data)
            self.results[result.intent] = result
        elif data[0] == decode.MATCH:
            self.matches.append(decode.match(data))
        elif data[0] == decode.CANCEL:
            self.own.add(data[80:132])

    def is_ambiguous(self, key: bytes) -> bool:
        """Does the id name several things, of several trade dates? The venue knows no dates."""
        return len(self.admitted.get(key, ())) > 1

    def _final(self, report: Report) -> None:
        found = [a for a in self.admitted.get(report.key, ()) if a.request.kind == report.request_kind]
        found = [a for a in found if a.number in (0, report.order_number)] or found
        if found:
            min(found, key=lambda a: a.finals).finals += 1
            return
        if report.key not in self.own:
            self.problems.append(f"a final answer to {decode.name(report.key)}, which was not admitted")


def verify(evidence: Evidence) -> list[str]:
    """Every violation."""
    facts = Facts(evidence)
    problems = [*facts.problems]
    for check in (
        acknowledged_is_kept, told_everything_once, one_final_answer, one_answer_to_a_repeat, one_effect,
        only_what_was_asked, within_the_limit, within_the_session, nothing_while_killed, in_causal_order,
        quantities_agree, matches_are_told, rows_are_there_once,
    ):  # fmt: skip
        problems += [f"{check.__name__}: {problem}" for problem in check(facts)]
    return problems


def acknowledged_is_kept(facts: Facts) -> Iterator[str]:
    """What an upstream has seen accepted is in intake's journal."""
    if facts.evidence.truncated:
        return
    for upstream in facts.evidence.upstreams:
        for data in upstream.seen:
            report = decode.report(data) if data[0] == decode.REPORT else None
            if report is None or report.exec_type not in "AE6" or report.origin != "intake" or report.sequence == 0:
                continue
            if not any(a.request.sequence == report.sequence for a in facts.admitted.get(report.key, ())):
                yield f"{upstream.name} saw {decode.name(report.key)} accepted as {report.sequence}: it is not there"


def told_everything_once(facts: Facts) -> Iterator[str]:
    """Each upstream was told exactly what the journals say, in order, acceptance first."""
    if facts.evidence.truncated:
        return
    for upstream in facts.evidence.upstreams:
        said = facts.said.get(facts.numbers.get(upstream.name, -1), {})
        told: dict[tuple[str, int], Report] = {}
        last = {"intake": 0, "sender": 0}
        accepted: set[tuple[bytes, int]] = set()
        for data in upstream.seen:
            if data[0] != decode.REPORT:
                continue
            report = decode.report(data)
            place = report.origin, report.sequence
            if report.sequence == 0 or place in told:
                continue
            if report.sequence < last[report.origin]:
                yield f"{upstream.name} was told {place} after {last[report.origin]}"
            last[report.origin] = report.sequence
            told[place] = report
            if place not in said:
                yield f"{upstream.name} was told {place}, of which the journals know nothing"
            elif said[place] and said[place] != data:
                yield f"{upstream.name} was told {place} otherwise than the journal has it"
            if report.origin == "intake":
                accepted.add((report.key, report.request_kind))
            elif report.request_kind and (report.key, report.request_kind) not in accepted:
                yield f"{upstream.name} heard the sender about {decode.name(report.key)} before it was accepted"
        missing = said.keys() - told.keys()
        if missing:
            yield f"{upstream.name} was never told {sorted(missing)[:5]} ({len(missing)} in all)"


def one_final_answer(facts: Facts) -> Iterator[str]:
    """Each request gets one; an operator has seen to those whose outcome nobody else could find out."""
    evidence = facts.evidence
    for key, several in facts.admitted.items():
        if len({a.date for a in several}) < len(several) and not evidence.truncated:
            yield f"{decode.name(key)} was admitted {len(several)} times"
        for admitted in several:
            if admitted.finals > 1:
                yield f"{decode.name(key)} got {admitted.finals} final answers"
            elif admitted.finals == 0 and not evidence.truncated:
                yield f"{decode.name(key)} got no final answer"
    for upstream in evidence.upstreams:
        finals = Counter[bytes]()
        places = set()
        for data in upstream.seen:
            report = decode.report(data) if data[0] == decode.REPORT else None
            if report is None or not report.final or not report.request_kind:
                continue
            place = (report.origin, report.sequence)
            if report.sequence and place in places:
                continue
            places.add(place)
            finals[report.key] += 1
        for key, count in finals.items():
            if count > upstream.submitted.get(key, 0) and upstream.lives == 1:
                yield f"{upstream.name} got {count} final answers to {decode.name(key)}, submitted less often"


def one_answer_to_a_repeat(facts: Facts) -> Iterator[str]:
    """Who asks again, marked as a possible resend, is told once how the order stands."""
    if facts.evidence.truncated:
        return
    states = Counter(
        (report.upstream, report.key, report.request_kind) for report in facts.reports
        if report.exec_type == "I" and report.request_kind and not report.flags & decode.FROM_VENUE
    )  # fmt: skip
    for repeat in facts.repeats | states:
        asked, told = facts.repeats[repeat], states[repeat]
        if asked != told:
            yield f"{decode.name(repeat[1])} came again {asked} times and {told} times its state was told"


def one_effect(facts: Facts) -> Iterator[str]:
    """No request has two effects; it arrives again only where that is harmless, and says so."""
    first: dict[bytes, Request] = {}
    effects = Counter[bytes]()
    for request, effect in facts.evidence.arrivals:
        effects[request.key] += effect
        before = first.setdefault(request.key, request)
        if before is request:
            continue
        name = decode.name(request.key)
        if facts.is_ambiguous(request.key):
            continue
        if not facts.evidence.deduplicates:
            yield f"{name} was sent twice to a venue that does not recognise it"
        if not request.flags & decode.POSSIBLE_RESEND:
            yield f"{name} was sent again without being marked"
        if before.kind != request.kind:
            yield f"{name} was sent as two different requests"
    for key, count in effects.items():
        if count > max(1, len(facts.admitted.get(key, ()))):
            yield f"{decode.name(key)} had {count} effects"


def only_what_was_asked(facts: Facts) -> Iterator[str]:
    """Whatever is called was admitted, and journalled as an INTENT."""
    intents = {(intent.sequence, intent.key) for intent in facts.intents}
    for call in facts.evidence.calls:
        request = call.request
        if request.key not in facts.admitted and request.key not in facts.own and not facts.evidence.truncated:
            yield f"{decode.name(request.key)} was sent, but never admitted"
        if (request.sequence, request.key) not in intents and not facts.evidence.truncated:
            yield f"{decode.name(request.key)} was sent without an INTENT in the journal"


def within_the_limit(facts: Facts) -> Iterator[str]:
    """Wherever inside of its call a request arrives: never more than `rate` in any window."""
    calls = sorted(facts.evidence.calls, key=lambda call: call.begin_ns)
    for limit in facts.evidence.limits:
        groups: dict[bytes | None, list[Call]] = defaultdict(list)
        for call in calls:
            groups[limit.group(call.request)].append(call)
        groups.pop(None, None)
        for group in groups.values():
            yield from _too_many(limit, group)


def _too_many(limit: Limit, calls: list[Call]) -> Iterator[str]:
    for old, new in zip(calls, calls[limit.rate :], strict=False):
        if new.begin_ns - old.end_ns < limit.per_ns:
            gap = (new.begin_ns - old.end_ns) / 1e6
            yield f"{limit.rate + 1} calls of one {limit.scope} within {gap:.3f} ms, at {new.begin_ns / 1e9:.6f}"
            return


def within_the_session(facts: Facts) -> Iterator[str]:
    """Nothing outside of logon … logout, nor of trading hours; one logon per connection."""
    evidence = facts.evidence
    for call in evidence.calls:
        if not call.logged_on:
            yield f"{decode.name(call.request.key)} was sent without being logged on, at {call.begin_ns / 1e9:.6f}"
        hours = evidence.sessions
        if hours and not evidence.stepped and not any(begin <= call.wall_seen < end for begin, end in hours):
            yield f"{decode.name(call.request.key)} was sent outside of trading hours, at {call.begin_ns / 1e9:.6f}"
    for connection, count in Counter(evidence.logons).items():
        if count > 1:
            yield f"{count} logons on connection {connection}"


def nothing_while_killed(facts: Facts) -> Iterator[str]:
    """A caller that looked after the switch was thrown sends nothing but cancels."""
    for call in facts.evidence.calls:
        request = call.request
        for kill in facts.evidence.kills if request.kind != decode.INTENT_CANCEL else ():
            concerned = kill.account in (b"", request.key[:16]) and kill.symbol in (b"", request.symbol)
            if concerned and kill.begin_ns < call.looked_ns <= call.begin_ns < kill.end_ns:
                yield f"{decode.name(request.key)} was sent while killed, at {call.begin_ns / 1e9:.6f}"


def in_causal_order(facts: Facts) -> Iterator[str]:
    """For one order the venue gets the NEW before its changes, and modifies as they were asked for."""
    there: set[int] = set()
    modified: dict[int, int] = {}
    seen: set[bytes] = set()
    for request, _ in facts.evidence.arrivals:
        if request.key in seen:
            continue
        seen.add(request.key)
        number, name = request.order_number, decode.name(request.key)
        if request.kind == decode.INTENT_NEW:
            there.add(number)
            continue
        if number not in there and not _may_be_lost(facts, number):
            yield f"{name}, a change of order {number}, was sent before its NEW"
        admitted = facts.admitted.get(request.key)
        if request.kind == decode.INTENT_MODIFY and admitted and not facts.is_ambiguous(request.key):
            sequence = admitted[0].request.sequence
            if sequence < modified.get(number, 0):
                yield f"{name} was sent after a later modify of order {number}"
            modified[number] = sequence


def _may_be_lost(facts: Facts, number: int) -> bool:
    """Was the NEW called at all before? (The network may have lost it.)"""
    return any(c.request.order_number == number and c.request.kind == decode.INTENT_NEW for c in facts.evidence.calls)


def quantities_agree(facts: Facts) -> Iterator[str]:
    """The desk has each execution once, as the venue has it; and cum + leaves = quantity."""
    evidence = facts.evidence
    at_venue = {
        facts.order_of[key]: {fill[0]: fill[1:] for fill in fills}
        for key, fills in evidence.fills.items() if key in facts.order_of
    }  # fmt: skip
    unclear = {a.number for key, several in facts.admitted.items() if facts.is_ambiguous(key) for a in several}
    aside = _fills_of_former_dates(facts)
    traded: dict[int, dict[bytes, tuple[int, int]]] = defaultdict(dict)
    last: dict[int, Report] = {}
    for report in facts.reports:
        number = report.order_number
        if not number or foreign(report) or number in unclear:
            continue
        last[number] = report
        if report.ord_status in LIVE and report.cum + report.leaves != max(report.quantity, report.cum):
            yield f"order {number}: cum {report.cum} + leaves {report.leaves} is not {report.quantity}"
        if report.exec_type == "F":
            exec_id = report.exec_id.rstrip(b"\0")
            if exec_id in traded[number]:
                yield f"order {number} has execution {exec_id!r} twice"
            traded[number][exec_id] = (report.last_quantity, report.last_price)
            if exec_id.startswith(b"X-"):  # inside
                at_venue.setdefault(number, {})[exec_id] = traded[number][exec_id]
            if at_venue.get(number, {}).get(exec_id) != traded[number][exec_id]:
                yield f"order {number} has execution {exec_id!r}, which the venue does not know so"
    for number, report in last.items():
        filled = sum(fill[0] for exec_id, fill in at_venue.get(number, {}).items() if exec_id not in aside)
        if report.cum > filled or (evidence.lossless and report.cum != filled):
            yield f"order {number} has {report.cum} filled, the venue {filled}"
    if evidence.lossless:
        for number, fills in at_venue.items():
            if fills.keys() - aside != traded[number].keys() - aside and number not in unclear:
                yield f"order {number} has {len(traded[number])} executions, the venue {len(fills)}"


def matches_are_told(facts: Facts) -> Iterator[str]:
    """What met inside is an execution of both, at a price that suits both, and only while the desk is open."""
    evidence = facts.evidence
    told: dict[bytes, dict[int, Report]] = defaultdict(dict)
    for report in facts.reports:
        if report.exec_type == "F" and not report.flags & decode.FROM_VENUE:
            told[report.exec_id.rstrip(b"\0")][report.order_number] = report
    for match in facts.matches:
        sides = told.pop(b"X-%d" % match.sequence, {})
        if set(sides) != {match.buy, match.sell}:
            yield f"match {match.sequence} of {match.buy} and {match.sell} was told to {sorted(sides)}"
        for report in sides.values():
            if (report.last_quantity, report.last_price) != (match.quantity, match.price):
                yield f"match {match.sequence} was told otherwise to {report.order_number}"
        hours = evidence.sessions
        if hours and not evidence.stepped and not any(begin <= match.time_ns < end for begin, end in hours):
            yield f"match {match.sequence} was made outside of trading hours"
    if told:
        yield f"executions {sorted(told)} are of no exchange and of no match"


def _fills_of_former_dates(facts: Facts) -> set[bytes]:
    """Executions that came when the order's trade date was over: the desk keeps them as they came."""
    if facts.date < 2:
        return set()
    fills = [report for report in facts.reports if report.response_type == FILL]
    known = {report.exec_id.rstrip(b"\0") for report in fills if not foreign(report)}
    return {report.exec_id.rstrip(b"\0") for report in fills if report.flags & decode.UNMATCHED} - known


def foreign(report: Report) -> bool:
    """Kept as the exchange said it; it says nothing about the order's state."""
    return bool(report.flags & decode.UNMATCHED) or (report.exec_type == "I" and report.ord_status == "\0")


def rows_are_there_once(facts: Facts) -> Iterator[str]:
    """The database says what the journals say: each record has its row, and there are no others."""
    evidence = facts.evidence
    journalled = {request.sequence: decode.name(bytes(16) + request.key[16:]) for request in facts.requests}
    for what, rows, records in (
        ("requests", evidence.requests, journalled),
        ("sends", evidence.sends, {intent.sequence: intent.order_number for intent in facts.intents}),
        ("reports", evidence.reports, {report.sequence for report in facts.reports}),
    ):  # fmt: skip
        if rows != records:
            lost, alien = sorted(set(records) - set(rows)), sorted(set(rows) - set(records))
            yield f"{what}: not in the database {lost[:5]}, only there {alien[:5]}, or different"
    cum = {}
    for report in facts.reports:
        if report.order_number and not foreign(report):
            cum[report.order_number] = report.cum
    for number, quantity in cum.items():
        if evidence.cum.get(number) != quantity:
            yield f"order {number} has {evidence.cum.get(number)} filled in the database, {quantity} in the journal"
