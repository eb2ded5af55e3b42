"""Whatever comes, both ways through intake's core decide the same, and what they decide is in the journal."""

from __future__ import annotations

import copy
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from oms_actors.core.answers import by_upstream, for_upstream, reports_of, runs
from oms_actors.core.hours import ALWAYS
from oms_actors.core.intake import IntakeRules, Piece
from oms_actors.core.requests import Plain, broken_rule, is_plain_new, undecodable
from oms_actors.messages import Kind
from oms_actors.record import decode_report, records
from tests.intake.makers import (
    CLOSED,
    OneByOne,
    core_with,
    decide,
    frames,
    mostly_plain,
    nearly_plain,
    report_records,
    said,
)

cycles = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(1, 2), frames), max_size=3), st.sampled_from([ALWAYS, ALWAYS, CLOSED])),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(mostly_plain | nearly_plain())
def test_by_columns_says_plain_only_where_every_record_would_pass_alone(frame: bytes) -> None:
    plain = Plain(frame).ok
    for at in range(0, len(frame) - 191, 192):
        record = frame[at : at + 192]
        if plain or is_plain_new(record):
            assert undecodable(record) is None
            assert broken_rule(record) is None


@settings(deadline=None)
@given(cycles, st.sampled_from([3, 1000]))
def test_both_ways_decide_the_same_and_the_journal_says_all_of_it(
    cycles: list[tuple[list[tuple[int, bytes]], object]], capacity: int
) -> None:
    core = core_with()
    core.rules = IntakeRules(capacity=capacity)
    sequence, place = 1, 0
    for parts, session in cycles:
        pieces = []
        for number, data in parts:
            place += 16
            pieces.append(Piece(number, place, data))
        batch = decide(core, sequence, pieces, session)  # type: ignore[arg-type]
        other = decide(core, sequence, pieces, session, OneByOne)  # type: ignore[arg-type]
        payload = batch.payload()
        assert payload == other.payload()
        assert said(batch.answers()) == said(other.answers())
        assert (batch.records, batch.accepted, batch.rejected, batch.malformed) == (
            other.records, other.accepted, other.rejected, other.malformed,
        )  # fmt: skip
        _check_payload(payload, batch.records, sequence)
        made_again: dict[int, bytes] = {}
        for piece in reports_of(runs(payload), 22):
            for number, reports in by_upstream(piece).items():
                made_again[number] = made_again.get(number, b"") + reports
        assert made_again == {n: r for n, r in said(batch.answers()).items() if r}
        for number in (1, 2):
            assert for_upstream(payload, 22, number, 0) == made_again.get(number, b"")
        twin = replace(core, ids=set(core.ids), waiting=set(core.waiting), upstreams=copy.deepcopy(core.upstreams))
        core.apply(payload, sequence)
        for record, n in zip(records(payload), range(sequence, sequence + batch.records), strict=True):
            twin.apply(record, n)
        assert twin == core
        assert len(core.waiting) <= capacity
        sequence += batch.records


def _check_payload(payload: bytes, count: int, sequence: int) -> None:
    """Requests in the journal decode; each refused one and each raw one is followed by its one answer."""
    all_records = list(records(payload))
    assert len(all_records) == count
    for i, record in enumerate(all_records):
        if record[0] in (Kind.NEW, Kind.MODIFY, Kind.CANCEL):
            assert undecodable(record) is None
            assert int.from_bytes(record[8:16], "little") == sequence + i
            refused = record[28:30] != b"\0\0"
        else:
            refused = record[0] == Kind.RAW
        if refused:
            answer = all_records[i + 1]
            assert answer[0] == Kind.REPORT
            assert int.from_bytes(answer[8:16], "little") == sequence + i + 1
            if record[0] != Kind.RAW:
                assert answer[96:148] == record[80:132]


@given(st.binary(max_size=1000))
def test_garbage_is_kept_and_answered_and_raises_nothing(data: bytes) -> None:
    core = core_with()
    batch = decide(core, 1, [Piece(1, 64, data)])
    core.apply(batch.payload(), 1)
    assert core.upstreams[1].place == (64 if data else 0)
    assert batch.malformed + batch.accepted + batch.rejected == -(-len(data) // 192)
    kept = [record for record in records(batch.payload()) if record[0] != Kind.REPORT]
    pieces = [data[at : at + 192] for at in range(0, len(data), 192)]
    for record, piece in zip(kept, pieces, strict=True):
        if record[0] == Kind.RAW:
            assert record[32:224].startswith(piece)
            assert int.from_bytes(record[2:4], "little") == len(piece)
    for answer in report_records(b"".join(said(batch.answers()).values())):
        assert decode_report(answer).client_order_id is not None
