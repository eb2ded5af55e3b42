"""What a frame of intake's or the sender's journal says to upstreams.

Theory of operation. Reports to an upstream are a function of the journals: intake's acceptances follow from the request
as it was journalled, everything else is a REPORT record (with the TEXT behind it) that names its upstream. So a report
that found no room is made again from the journal, byte for byte, whenever there is room.

Frames are read by runs of records of one size, not record by record: where such a run begins at `at`, the kinds in it
are `payload[at::size]`, for the first byte that is no such kind ends it. `runs` is done once per frame, and everything
else looks at the runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress, count, islice
from operator import ne

from oms_actors.errors import Reason
from oms_actors.messages import ExecType, Kind, OrdStatus, ReportFlag
from oms_actors.record import (
    AT_ACCOUNT,
    AT_FLAGS,
    AT_ORDER_NUMBER,
    AT_PRICE,
    AT_QUANTITY,
    AT_SEQUENCE,
    AT_UPSTREAM,
    REPORT_BYTES,
    REQUEST_BYTES,
    SIZES,
    VERSION,
)

_REQUESTS, _INTENTS, _REPORTS, _RESULTS = b"\1\2\3", b'!"#', b"@A", b"D"
_RUNS = {kind: run for run in (_REQUESTS, _INTENTS, _REPORTS, _RESULTS) for kind in run}
_WINDOW = 1024
"""Records of a run looked at in one go."""

_EXEC_TYPE = bytes((0, ExecType.PENDING_NEW, ExecType.PENDING_REPLACE, ExecType.PENDING_CANCEL)) + bytes(252)
_ORD_STATUS = bytes((0, OrdStatus.PENDING_NEW, OrdStatus.PENDING_REPLACE, OrdStatus.PENDING_CANCEL)) + bytes(252)
_TEMPLATE = bytes((Kind.REPORT, VERSION)) + bytes(REPORT_BYTES - 2)
_IS_REPORT = bytes(code == Kind.REPORT for code in range(256))
_IS_NEW = bytes(code == Kind.NEW for code in range(256))
_IS_FINAL = bytes(bool(code & ReportFlag.FINAL) for code in range(256))
_IN, _OUT = REQUEST_BYTES // 8, REPORT_BYTES // 8
_REASON_WORD, _REASON_SHIFT = 3, 32  # word 3 of a request: epoch, reason, field
_TIME_WORD = 4
# Words of a report and the words of the request that they repeat: sequence, upstream, leaves, quantity, the ids
# (account, client order id, original id, symbol: 13 words), price, order number.
_COPIES = ((1, 1), (2, 2), (9, 6), (11, 6), *((12 + i, 10 + i) for i in range(13)), (30, 7), (31, 23))

Run = tuple[bytes, bytes]
"""The run's kinds and its records."""


def runs(payload: bytes) -> list[Run]:
    """The payload as runs of records of one size: requests, intents, results, or reports with their texts; any other
    record comes alone. A kind that is not known ends it."""
    found: list[Run] = []
    at, end = 0, len(payload)
    while at < end:
        kind = payload[at]
        size = SIZES[kind] << 5
        if not size:
            break
        after, allowed = at + size, _RUNS.get(kind, b"")
        if after >= end or payload[after] not in allowed:
            found.append((payload[at : at + 1], payload[at:after]))
            at = after
            continue
        kinds = payload[at : min(end, at + _WINDOW * size) : size]
        others = kinds.lstrip(allowed)
        if others:
            kinds = kinds[: -len(others)]
        elif len(kinds) == _WINDOW and kinds[-1] == Kind.REPORT:
            kinds = kinds[:-1]  # its text may follow, and they stay together
        after = at + len(kinds) * size
        found.append((kinds, payload[at:after]))
        at = after
    return found


def reasons(requests: bytes) -> list[int]:
    """The reason (and, above it, the field) of each request of a run: 0 = admitted."""
    with memoryview(requests).cast("Q") as words:
        return [word >> _REASON_SHIFT for word in words[_REASON_WORD::_IN].tolist()]


def acceptances(kinds: bytes | bytearray, requests: bytes | bytearray, wall_ns: int) -> bytearray:
    """The reports that tell the upstreams of these requests that they are accepted."""
    if len(kinds) == 1:
        return acceptance(requests, wall_ns)
    reports = bytearray(_TEMPLATE * len(kinds))
    reports[2::REPORT_BYTES] = requests[2::REQUEST_BYTES]
    reports[3::REPORT_BYTES] = kinds.translate(_EXEC_TYPE)
    reports[4::REPORT_BYTES] = kinds.translate(_ORD_STATUS)
    reports[6::REPORT_BYTES] = kinds
    with memoryview(reports).cast("Q") as out, memoryview(requests).cast("Q") as words:
        for to, source in _COPIES:
            out[to::_OUT] = words[source::_IN]
        out[_TIME_WORD::_OUT] = memoryview(wall_ns.to_bytes(8, "little") * len(kinds)).cast("Q")
    return reports


def acceptance(request: bytes | bytearray, wall_ns: int) -> bytearray:
    """The same for one request, in a sixth of the time."""
    kind, quantity = request[0], request[AT_QUANTITY:AT_PRICE]
    return bytearray().join((
        bytes((Kind.REPORT, VERSION, request[2], _EXEC_TYPE[kind], _ORD_STATUS[kind], 0, kind, 0)), request[8:24],
        bytes(8), wall_ns.to_bytes(8, "little"), bytes(32), quantity, bytes(8), quantity,
        request[AT_ACCOUNT:AT_ORDER_NUMBER], bytes(40), request[AT_PRICE : AT_PRICE + 8], request[AT_ORDER_NUMBER:],
    ))  # fmt: skip


def reports_of(found: Iterable[Run], wall_ns: int) -> list[bytes | bytearray]:
    """All reports of a frame in order, in pieces; each piece is whole reports with their texts."""
    pieces: list[bytes | bytearray] = []
    reports: list[bytes] = []  # that follow each other
    for kinds, data in found:
        if kinds[0] in _REPORTS:
            if not _is_for_the_sender(data):
                reports.append(data)
        elif kinds[0] in _REQUESTS and (accepted := _accepted(kinds, data, wall_ns)):
            if reports:
                pieces.append(b"".join(reports))
                reports = []
            pieces.append(accepted)
    if reports:
        pieces.append(b"".join(reports))
    return pieces


def _is_for_the_sender(report: bytes) -> bool:
    """Does the sender answer instead? It knows how the order of a possible resend stands; in intake's journal this says
    that the request is none."""
    mine = report[AT_FLAGS] & (ReportFlag.POSSIBLE_DUPLICATE | ReportFlag.FROM_SENDER)
    return mine == ReportFlag.POSSIBLE_DUPLICATE and report[3] == ExecType.ORDER_STATUS


def _accepted(kinds: bytes, requests: bytes, wall_ns: int) -> bytearray | None:
    refused = reasons(requests)
    if not any(refused):
        return acceptances(kinds, requests, wall_ns)
    admitted = [at * REQUEST_BYTES for at, reason in enumerate(refused) if not reason]
    if not admitted:
        return None
    requests = b"".join([requests[at : at + REQUEST_BYTES] for at in admitted])
    return acceptances(requests[::REQUEST_BYTES], requests, wall_ns)


def by_upstream(reports: bytes | bytearray) -> dict[int, bytes | bytearray]:
    """One piece sorted by the upstream it goes to, each in order; a text goes with the report before it."""
    with memoryview(reports).cast("Q") as words:
        numbers = [word & 0xFFFFFFFF for word in words[AT_UPSTREAM // 8 :: _OUT].tolist()]
    kinds = reports[::REPORT_BYTES]
    owners = set(numbers) if Kind.TEXT not in kinds else set(_chosen(kinds, Kind.REPORT, numbers))
    if len(owners) == 1:
        return {owners.pop(): reports}
    for i, kind in enumerate(kinds) if Kind.TEXT in kinds else ():
        if kind == Kind.TEXT:
            numbers[i] = numbers[i - 1] if i else 0
    parts: dict[int, list[bytes | bytearray]] = {}
    begin = 0
    for end in (*compress(count(1), map(ne, numbers, islice(numbers, 1, None))), len(numbers)):
        parts.setdefault(numbers[begin], []).append(reports[begin * REPORT_BYTES : end * REPORT_BYTES])
        begin = end
    return {number: b"".join(part) for number, part in parts.items()}


def for_upstream(payload: bytes, wall_ns: int, upstream: int, after: int) -> bytes:
    """What a frame says to one upstream beyond the sequence `after`."""
    found = [by_upstream(piece).get(upstream, b"") for piece in reports_of(runs(payload), wall_ns)]
    reports = b"".join(found)
    if not reports or sequence_of(reports, 0) > after:
        return reports
    for at in range(0, len(reports), REPORT_BYTES):
        if reports[at] == Kind.REPORT and sequence_of(reports, at) > after:
            return reports[at:]
    return b""


def sequence_of(records: bytes | bytearray, at: int) -> int:
    """The sequence of the request or report at byte `at`."""
    return int.from_bytes(records[at + AT_SEQUENCE : at + AT_SEQUENCE + 8], "little")


def departed(found: Iterable[Run]) -> set[int]:
    """Numbers of the orders that the waiting queue has let go in a frame of the sender's journal: a NEW was sent, or
    has its final answer."""
    intents = b"".join([data for kinds, data in found if kinds[0] in _INTENTS])
    reports = b"".join([data for kinds, data in found if kinds[0] in _REPORTS])
    gone: set[int] = set()
    if intents:
        kinds, numbers = intents[::REQUEST_BYTES], _words(intents, _IN - 1, _IN)
        gone.update(numbers if kinds.count(Kind.INTENT_NEW) == len(kinds) else _chosen(kinds, Kind.INTENT_NEW, numbers))
    if Kind.NEW in reports[6::REPORT_BYTES]:
        gone.update(compress(_words(reports, _OUT - 1, _OUT), _ends_a_new(reports)))
    return gone


def _ends_a_new(reports: bytes) -> bytes:
    """For each record 1 if it is the final report on a NEW, else 0."""
    masks = (
        reports[::REPORT_BYTES].translate(_IS_REPORT), reports[6::REPORT_BYTES].translate(_IS_NEW),
        reports[AT_FLAGS::REPORT_BYTES].translate(_IS_FINAL),
    )  # fmt: skip
    kinds, news, finals = (int.from_bytes(mask, "little") for mask in masks)
    return (kinds & news & finals).to_bytes(len(masks[0]), "little")


def _chosen(kinds: bytes | bytearray, kind: int, numbers: list[int]) -> Iterator[int]:
    return (n for k, n in zip(kinds, numbers, strict=True) if k == kind)


def _words(records: bytes, word: int, of: int) -> list[int]:
    with memoryview(records).cast("Q") as words:
        return words[word::of].tolist()


def refusal_status(reason: int, kind: int) -> tuple[int, int]:
    """ExecType and OrdStatus of intake's refusal (FIX: a change is refused by an OrderCancelReject)."""
    if kind in (Kind.MODIFY, Kind.CANCEL):
        unknown = reason == Reason.UNKNOWN_ORDER
        return ExecType.CANCEL_REJECT, OrdStatus.REJECTED if unknown else OrdStatus.NONE
    return ExecType.REJECTED, OrdStatus.REJECTED
