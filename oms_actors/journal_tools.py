"""Looking at journals, also while their writers run: `cat` (records), `verify` (every byte), `stat` (segments).

They only read. What lies behind the last valid frame is told as a tail, for a live writer may be about to finish it;
only what something later vouches for is a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from oms_actors.edges.disk import Disk, OsDisk
from oms_actors.edges.journal import Frame, JournalCorrupt, JournalError, JournalReader, Position
from oms_actors.edges.journal_format import (
    HEAD,
    LOST,
    REMEDY,
    Segment,
    frame_at,
    read_head,
    segment_names,
    vouched_for,
)
from oms_actors.edges.retention import recovery_needs
from oms_actors.errors import Reason, decimal_text
from oms_actors.messages import (
    ExecType,
    Kind,
    OrderType,
    OrdStatus,
    Outcome,
    ResponseType,
    SessionEvent,
    Side,
    TimeInForce,
)
from oms_actors.record import (
    MATCH,
    RAW,
    REPORT,
    REPORT_NAMES,
    REQUEST,
    REQUEST_NAMES,
    RESULT,
    SESSION,
    UPSTREAM,
    decode_text,
    records,
    text,
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record as `cat` shows it. Times are ns since the epoch (UTC); decimals are text."""

    sequence: int
    kind: str
    wall_ns: int
    """When its frame was written."""
    fields: dict[str, Any]


class SegmentStat(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a journal. `used_bytes` of its `file_bytes` are valid frames and the head."""

    name: str
    generation: int
    start: int
    file_bytes: int
    used_bytes: int
    frames: int
    first_sequence: int
    next_sequence: int
    first_wall_ns: int
    last_wall_ns: int
    tail_bytes: int
    """Bytes behind the last valid frame that are not zero: torn, damaged, or being written."""
    recovery: bool = True
    """A restart may read it. One that it does not waits only for database, upstreams and `journal_keep_days`."""
    problem: str = ""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found. No `problems` = every byte that was ever durable checks out."""

    role: str
    segments: int
    frames: int
    records: int
    bytes: int
    next_sequence: int
    tail_bytes: int
    lost: list[str]
    """Segments that a recovery has put aside behind the valid end."""
    problems: list[str]


def roles(folder: Path) -> list[str]:
    """Whose journals are in the folder."""
    names = OsDisk(folder).names() if folder.is_dir() else []
    found = {name.rsplit("-", 2)[0] for name in names if name.endswith(".journal")}
    return sorted(found)


# -- cat --------------------------------------------------------------------------------------------------------------


def cat(folder: Path, role: str, first: int = 1, limit: int | None = None) -> Iterator[Entry]:
    """The records from sequence `first` on, at most `limit`. Raises JournalError where the journal cannot be read, or
    ends though more of it was durable."""
    disk = OsDisk(folder)
    reader = JournalReader(disk, role, _position_before(disk, role, first))
    try:
        while (limit is None or limit > 0) and (frames := reader.read()):
            for entry in (entry for frame in frames for entry in entries(frame)):
                if entry.sequence >= first and (limit is None or limit > 0):
                    yield entry
                    limit = None if limit is None else limit - 1
        if limit is None or limit > 0:
            require_whole_end(disk, role)
    finally:
        reader.close()


def _position_before(disk: Disk, role: str, sequence: int) -> Position | None:
    """The start of the segment that holds a record."""
    position = None
    for start, name in segment_names(disk, role):
        if read_head(disk, name).sequence <= sequence:
            position = start
    return position


def entries(frame: Frame) -> Iterator[Entry]:
    """The records of a frame; one that cannot be decoded says so and ends it."""
    try:
        for number, record in enumerate(records(frame.payload), frame.sequence):
            kind = Kind(record[0])
            yield Entry(sequence=number, kind=kind.name, wall_ns=frame.wall_ns, fields=_DECODERS[kind](record))
    except ValueError as error:
        yield Entry(sequence=frame.sequence, kind="?", wall_ns=frame.wall_ns, fields={"error": str(error)})


_DECIMALS = frozenset({
    "quantity", "price", "stop_price", "last_quantity", "last_price", "cum_quantity", "leaves_quantity", "avg_price",
})  # fmt: skip
_ENUMS: dict[str, Any] = {
    "side": Side, "order_type": OrderType, "time_in_force": TimeInForce, "exec_type": ExecType,
    "ord_status": OrdStatus, "request_kind": Kind, "response_type": ResponseType, "reason": Reason,
}  # fmt: skip
_HIDDEN = frozenset({"kind", "version", "partition", "sequence", "epoch"})


def _shown(names: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    """Names and decimals for people; what is zero or empty is left out."""
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        if isinstance(value, bytes):
            value = text(value)
        if not value or name in _HIDDEN:
            continue
        if name in _DECIMALS:
            value = decimal_text(value)
        elif name in _ENUMS:
            member = _ENUMS[name]._value2member_map_.get(value)
            value = member.name if member is not None else value
        found[name] = value
    return found


def _request(record: bytes) -> dict[str, Any]:
    return _shown(REQUEST_NAMES, REQUEST.unpack(record))


def _report(record: bytes) -> dict[str, Any]:
    return _shown(REPORT_NAMES, REPORT.unpack(record))


def _result(record: bytes) -> dict[str, Any]:
    _, _, outcome, attempt, sequence, call_ns, return_ns = RESULT.unpack(record)
    name = Outcome(outcome).name if outcome in Outcome._value2member_map_ else outcome
    return {"outcome": name, "attempt": attempt, "intent": sequence, "duration_ns": return_ns - call_ns}


def _session(record: bytes) -> dict[str, Any]:
    _, _, event, _, time_ns, _, opens, closes, date, words = SESSION.unpack(record)
    name = SessionEvent(event).name if event in SessionEvent._value2member_map_ else event
    return {"event": name, "time_ns": time_ns} | _shown(
        ("open_ns", "close_ns", "trade_date", "text"), (opens, closes, date, words)
    )


def _upstream(record: bytes) -> dict[str, Any]:
    _, _, _, number, intakes, senders, name = UPSTREAM.unpack(record)
    return {"upstream": number, "name": text(name), "committed": [intakes, senders]}


def _raw(record: bytes) -> dict[str, Any]:
    _, _, length, upstream, _, time_ns, _, data = RAW.unpack(record)
    return {"upstream": upstream, "length": length, "time_ns": time_ns, "data": data[:length].hex()}


def _match(record: bytes) -> dict[str, Any]:
    _, _, _, _, _, time_ns, quantity, price, buy, sell, _, _, symbol = MATCH.unpack(record)
    return {
        "time_ns": time_ns, "quantity": decimal_text(quantity), "price": decimal_text(price), "buy": buy, "sell": sell,
        "symbol": text(symbol),
    }  # fmt: skip


def _other(record: bytes) -> dict[str, Any]:
    return {"data": record.rstrip(b"\0").hex()}


_DECODERS: dict[Kind, Callable[[bytes], dict[str, Any]]] = dict.fromkeys(Kind, _other) | {
    Kind.NEW: _request, Kind.MODIFY: _request, Kind.CANCEL: _request, Kind.INTENT_NEW: _request,
    Kind.INTENT_MODIFY: _request, Kind.INTENT_CANCEL: _request, Kind.REPORT: _report, Kind.RESULT: _result,
    Kind.SESSION: _session, Kind.UPSTREAM: _upstream, Kind.RAW: _raw, Kind.MATCH: _match,
    Kind.TEXT: lambda record: {"text": decode_text(record)},
}  # fmt: skip


# -- stat and verify --------------------------------------------------------------------------------------------------


def stat(folder: Path, role: str) -> list[SegmentStat]:
    """Every segment of a role's journal, in order."""
    disk = OsDisk(folder)
    names = segment_names(disk, role)
    needs = (recovery_needs(folder) or {}).get(role, Position(0, 0))
    free = {name for (_, name), (following, _) in pairwise(names) if following <= needs}
    return [msgspec.structs.replace(_stat(disk, name), recovery=name not in free) for _, name in names]


def verify(folder: Path, role: str) -> Verified:
    """Checks every frame of every segment, that they follow each other, and that what was durable is there."""
    disk = OsDisk(folder)
    found = [_stat(disk, name) for _, name in segment_names(disk, role)]
    problems = [f"{each.name}: {each.problem}" for each in found if each.problem]
    for before, after in pairwise(found):
        end = before.start + before.used_bytes - HEAD.size
        if not (before.problem or after.problem) and (end, before.next_sequence) != (after.start, after.first_sequence):
            problems.append(
                f"{before.name}: ends at offset {end} before record {before.next_sequence}, but {after.name} begins at "
                f"{after.start} with record {after.first_sequence}"
            )
    return Verified(
        role=role, segments=len(found), frames=sum(each.frames for each in found),
        records=sum(each.next_sequence - each.first_sequence for each in found),
        bytes=sum(each.file_bytes for each in found), next_sequence=found[-1].next_sequence if found else 1,
        tail_bytes=found[-1].tail_bytes if found else 0,
        lost=[name for name in disk.names() if name.startswith(f"{role}-") and name.endswith(LOST)], problems=problems,
    )  # fmt: skip


def require_whole_end(disk: Disk, role: str) -> None:
    """JournalCorrupt unless a reader that has come to the end of a journal has come to what it should be: in the midst
    of the last segment nothing but a later frame tells damage from a torn tail."""
    names = segment_names(disk, role)
    if names and (problem := _stat(disk, names[-1][1]).problem):
        raise JournalCorrupt(f"{names[-1][1]}: {problem}: {REMEDY}")


def _stat(disk: Disk, name: str) -> SegmentStat:
    found = _looked_at(disk, name)
    # A live writer may have filled in a frame behind our eyes and the next one before them: a second look sees both.
    return _looked_at(disk, name) if found.problem else found


def _looked_at(disk: Disk, name: str) -> SegmentStat:
    file = disk.open(name)
    try:
        data = file.pread(file.size(), 0)
    finally:
        file.close()
    try:
        segment = read_head(disk, name)
    except JournalError as error:
        return SegmentStat(
            name=name, generation=0, start=0, file_bytes=len(data), used_bytes=0, frames=0, first_sequence=0,
            next_sequence=0, first_wall_ns=0, last_wall_ns=0, tail_bytes=len(data), problem=str(error),
        )  # fmt: skip
    return _walk(segment, data)


def _walk(segment: Segment, data: bytes) -> SegmentStat:
    at, sequence, frames, first_ns, last_ns = HEAD.size, segment.sequence, 0, 0, 0
    while frame := frame_at(data, at, segment.generation, sequence, 0):
        at, sequence, frames = at + frame.end, frame.sequence + frame.records, frames + 1
        first_ns, last_ns = first_ns or frame.wall_ns, frame.wall_ns
    end = segment.start + at - HEAD.size
    damaged = vouched_for(data, at, segment.generation) > end
    problem = f"the frame at offset {end} was durable and does not check out" if damaged else ""
    return SegmentStat(
        name=segment.name, generation=segment.generation, start=segment.start, file_bytes=len(data), used_bytes=at,
        frames=frames, first_sequence=segment.sequence, next_sequence=sequence, first_wall_ns=first_ns,
        last_wall_ns=last_ns, tail_bytes=len(data[at:].rstrip(b"\0")), problem=problem,
    )  # fmt: skip
